"""Times one step of several trials together beside as many steps, and whole runs of one and of five trials.

    python bench/lockstep.py [--methods attention lora full] [--batches 1 2 4 8] [--trials 2 3 5 10] [--runs 5]

The data is the demo's and the model the tiny one, or that of -m. Steps are timed in turns, with the batch of all trials
put together in the same time, as learning does; medians. Runs are whole processes, in turns: one trial, five one after
another, five together.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from stages import palitune

from palitune.config.run_config import RunConfig
from palitune.data import batches
from palitune.infer.loading import learning_params
from palitune.infer.opening import Opened
from palitune.models.arrays import Tree
from palitune.run import preparation
from palitune.run.reproduce import Asked
from palitune.train import loop, schedule
from palitune.train.loop import Attempt

STEPS, TURNS = 12, 7


def attempt_of(run: preparation.Preparation, together: int) -> Attempt:
    setups, config = run.queue.setups.several(together), run.config
    base, more = learning_params(setups.model, config)
    params = Opened(run.model, run.images).params()
    frozen = {path: leaf for path, leaf in params.items() if path not in base} | more
    warmup = schedule.warmup_steps(loop.steps_of(config), config.warmup)
    return Attempt(setups.of(config, frozen), base, config.learning_rate, warmup=warmup, patience=0)


def timed(attempt: Attempt, run: preparation.Preparation, count: int) -> Callable[[], float]:
    """A function that returns milliseconds for each step of so many trials."""
    drawn = list(zip(run.queue.setups.batches(run.config, loop.PASSES[0], 0), range(STEPS + count), strict=False))
    each = [batch for batch, _ in drawn]
    several: Tree = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), (attempt.trainable, attempt.state))
    trainable, state = several if count > 1 else (attempt.trainable, attempt.state)

    def seconds() -> float:
        nonlocal trainable, state
        start = time.perf_counter()
        for step in range(STEPS):
            batch = batches.stacked(each[step : step + count]) if count > 1 else each[step]
            trainable, state, outcome = attempt.setup.step(trainable, state, attempt.setup.frozen, batch)
            jax.device_get(outcome)
        return (time.perf_counter() - start) / STEPS * 1e3

    seconds()
    return seconds


def steps(model: str | None, method: str, size: int, trials: list[int]) -> str:
    """A row: milliseconds of one step, and what a step of several trials takes of as many steps."""
    options = {"data": "set0/set1", "model": model, "method": method, "batch_size": size, "quiet": True}
    run = preparation.prepare(Asked(RunConfig.of(options), frozenset(), None), None, ())
    clocks = {count: timed(attempt_of(run, count), run, count) for count in [1, *trials]}
    found = [{count: clock() for count, clock in clocks.items()} for _ in range(TURNS)]
    shares = [statistics.median(one[count] / (count * one[1]) for one in found) for count in trials]
    alone = statistics.median(one[1] for one in found)
    return f"  {method:10} {size:5} {alone:8.1f} " + " ".join(f"{share:7.2f}" for share in shares)


def runs(folder: Path, model: str | None, count: int) -> None:
    """Seconds of whole runs."""
    kinds = {"one": ("1",), "five, one after another": ("5", "--together", "1"), "five together": ("5",)}
    kept: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(count):
        for name, options in kinds.items():
            start = time.perf_counter()
            chosen = ("-m", model) if model else ()
            palitune(folder, "learn", "-d", "set0/set1", "-w", "run", "--overwrite", *chosen, "--repeat", *options)
            kept[name].append(time.perf_counter() - start)
    for name in kinds:
        ratio = statistics.median(own / one for own, one in zip(kept[name], kept["one"], strict=True))
        print(f"  {name:24} {statistics.median(kept[name]):6.1f} s   {ratio:.2f} times one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="tiny", help="(%(default)s)")
    parser.add_argument("--methods", nargs="+", default=["attention", "lora", "full"], help="(%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], help="(%(default)s)")
    parser.add_argument("--trials", type=int, nargs="+", default=[2, 3, 5, 10], help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="whole runs of each kind (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        palitune(folder, "demo-data", "-o", "set0", "--seed", "0")
        palitune(folder, "split", "-d", "set0/data.jsonl", "-v", "10", "--near-duplicates", "ignore")
        if args.methods and args.batches:
            os.chdir(folder)
            print("  method     batch  one step" + "".join(f" {count:>4} at" for count in args.trials))
            for method in args.methods:
                for size in args.batches:
                    print(steps(args.model, method, size, args.trials), flush=True)
        if args.runs:
            runs(folder, args.model, args.runs)


if __name__ == "__main__":
    main()

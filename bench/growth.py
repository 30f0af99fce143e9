"""How time and memory grow: with records, labels, prompt length, parameters and devices.

    python bench/growth.py [--what records ...] [--rounds 5] [--plot bench/growth.png]

  records     whole commands over 100 to 1,000,000 records of a short text: lint, split, aggregate, and inference with
              the tiny text model (to 100,000); seconds of elapsed time and the peak of resident memory
  labels      1 to 64 yes-or-no questions about a text of 64 tokens, scored in one pass
  prompt      a training step at prompts of 8 to 512 tokens
  parameters  a training step at 0.8 to 300 million parameters
  devices     a training step of `--method full` compiled for 1 to 8 devices: what each holds, and what each sends

The last four are of a Gemma with random weights, in float32, at a batch of 8, of which attention learns; memory is
XLA's own count of temporary bytes, or with parameters of all bytes. An exponent is the slope of the logarithms over the
upper half of a row, where what does not grow no longer counts. With --plot all rows are drawn.
"""

import argparse
import functools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RECORDS = (100, 1_000, 10_000, 100_000, 1_000_000)
LABELS = (1, 2, 4, 8, 16, 32, 64)
PROMPTS = (8, 16, 32, 64, 128, 256, 512)
WIDTHS = (64, 128, 256, 512, 1024, 1344)
DEVICES = (1, 2, 4, 8)
BATCH, TEXT, QUESTION, WIDTH = 8, 64, 8, 256
MOST_ANSWERED = 100_000  # records, by the model
EOS, YES, NO = 1, 5, 6


class Row(NamedTuple):
    """What was measured of one thing: its sizes, and seconds and MB, or what else the names say."""

    what: str
    name: str
    sizes: list[float]
    seconds: list[float]
    megabytes: list[float]
    names: tuple[str, str] = ("s", "MB")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log(values) over log(sizes), by least squares over the upper half."""
    first = len(sizes) // 2 if len(sizes) > 3 else 0
    x, y = [math.log(size) for size in sizes[first:]], [math.log(max(value, 1e-9)) for value in values[first:]]
    return statistics.linear_regression(x, y).slope


# Whole commands ------------------------------------------------------------------------------------------------------


def records(rounds: int) -> Iterator[Row]:
    """Commands over files of records."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spent(folder, "download", "--model", "tinytext")
        found: dict[str, list[tuple[float, float, float]]] = {}
        for count in RECORDS:
            texts = [f"{rng.choice('abcdefgh')} {number}" for number in range(count)]
            answers = [rng.choice(("yes", "no")) for _ in texts]
            with (folder / "data.jsonl").open("w") as file:
                lines = (json.dumps({"text": text, "suffix": one}) for text, one in zip(texts, answers, strict=True))
                file.writelines(f"{line}\n" for line in lines)
            with (folder / "out.tsv").open("w") as file:
                file.write("text\ttarget\tprediction\tyes_score\n")
                rows = zip(texts, answers, strict=True)
                file.writelines(f"{text}\t{one}\t{one}\t{0.9 if one == 'yes' else 0.1}\n" for text, one in rows)
            commands = {
                "lint": ("lint", "data.jsonl"),
                "split": ("split", "-d", "data.jsonl", "-v", "10%", "-n", "set", "--overwrite"),
                "aggregate": ("aggregate", "out.tsv"),
                "inference": ("inference", "-m", "tinytext", "-d", "data.jsonl", "--prompt", "Good?", "-b", "64"),
            }
            for command, arguments in commands.items():
                if command == "inference" and count > MOST_ANSWERED:
                    continue
                times = [spent(folder, *arguments) for _ in range(rounds if count < RECORDS[-2] else 1)]
                seconds, memory = statistics.median(one for one, _ in times), max(one for _, one in times)
                found.setdefault(command, []).append((count, seconds, memory))
                print(f"  {command} {count:,}: {seconds:.2f} s, {memory:.0f} MB", file=sys.stderr, flush=True)
        for command, several in found.items():
            columns = [list(one) for one in zip(*several, strict=True)]
            yield Row("records", command, columns[0], columns[1], columns[2])


def spent(folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds that a command took, and the most memory in MB. Raises RuntimeError: it has failed."""
    environment = {**os.environ, "PALITUNE_HOME": str(folder), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "palitune", *arguments, "--quiet"]
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found_something = arguments[0] == "lint" and process.returncode == 1
    if process.returncode and not found_something:
        raise RuntimeError(f"{arguments}: {process.returncode} {errors}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


# A model -------------------------------------------------------------------------------------------------------------


def model_of(width: int) -> Any:
    """A Gemma of text, six layers deep, with 2,048 words."""
    from palitune.models.spec import GEMMA, GemmaSpec, ModelSpec

    heads = width // 64
    llm = GemmaSpec(
        width=width, depth=6, mlp_dim=8 * width, num_heads=heads, num_kv_heads=1, head_dim=64, vocab_size=2048
    )
    return ModelSpec(None, llm, template=GEMMA)


def step_of(width: int, length: int) -> Any:
    """A training step, as `step.Contestant`."""
    import jax
    import numpy as np
    from step import palitune

    from palitune import trees
    from palitune.data import encode
    from palitune.models import multimodal

    sizes = model_of(width)
    words = np.random.default_rng(0).integers(10, 2048, (BATCH, length + 1)).tolist()
    texts = [encode.causal(row[:length]).answered([row[length], EOS]) for row in words]
    params = trees.flatten(multimodal.init(sizes, jax.random.key(0)))
    return palitune(params, np.zeros((BATCH, 0, width), np.float16), texts, "step", sizes)


def waited_for(program: Callable[..., Any], *arguments: Any) -> None:
    """Runs a program to its end."""
    import jax

    jax.block_until_ready(program(*arguments))


def temporaries(program: Any) -> float:
    """MB, as XLA counts them."""
    return float(program.memory_analysis().temp_size_in_bytes) / 1e6


def median(step: Callable[[], Any], rounds: int) -> float:
    """The median of seconds, after one that is not counted."""
    step()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def labels(rounds: int) -> Iterator[Row]:
    """Questions about a text."""
    import jax
    import numpy as np
    from scoring import causal

    from palitune.data import batches
    from palitune.infer import scoring
    from palitune.models import multimodal

    sizes, rng = model_of(WIDTH), np.random.default_rng(0)
    params = multimodal.init(sizes, jax.random.key(0))
    absent = np.zeros((BATCH, 0, WIDTH), np.float32)
    prompt = causal(rng.integers(10, 2048, (BATCH, TEXT), dtype=np.int32), batches.bucket(TEXT))
    seconds, memory = [], []
    for count in LABELS:
        asked = rng.integers(10, 2048, (count, QUESTION)).tolist()
        tree = scoring.label_tree([[YES], [NO]], EOS, asked)

        def scores(params: Any, tree: Any = tree) -> Any:
            return scoring.log_likelihoods(sizes, params, absent, prompt, tree, relative=True)

        program = jax.jit(scores).lower(params).compile()
        seconds.append(median(functools.partial(waited_for, program, params), rounds))
        memory.append(temporaries(program))
    yield Row("labels", "scoring", list(map(float, LABELS)), seconds, memory)


def prompt(rounds: int) -> Iterator[Row]:
    """Prompts of different lengths."""
    steps = [step_of(WIDTH, length) for length in PROMPTS]
    seconds = [median(step, rounds) for step in steps]
    yield Row("prompt", "step", list(map(float, PROMPTS)), seconds, [step.temporaries / 1e6 for step in steps])


def parameters(rounds: int) -> Iterator[Row]:
    """Models of different sizes."""
    sizes, seconds, memory = [], [], []
    for width in WIDTHS:
        step = step_of(width, TEXT)
        analysis = step.compiled.memory_analysis()
        frozen = step.others[1]
        sizes.append(float(sum(leaf.size for leaf in (*step.trainable.values(), *frozen.values()))))
        memory.append((analysis.argument_size_in_bytes + analysis.temp_size_in_bytes) / 1e6)
        seconds.append(median(step, rounds))
        del step
    yield Row("parameters", "step", sizes, seconds, memory)


def devices(rounds: int) -> Iterator[Row]:
    """The same model and batch on some devices, in a process that has eight."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(max(DEVICES)), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, __file__, "--compile"], env=environment, check=True, capture_output=True, text=True
    )
    sent, memory = json.loads(done.stdout)
    yield Row("devices", "full", list(map(float, DEVICES)), sent, memory, ("MB sent", "MB"))


def compile_for_devices() -> None:
    """Prints MB sent by a device, and MB on it, for each number of devices."""
    import jax
    import jax.numpy as jnp

    from palitune.config import run_config
    from palitune.models import spec
    from palitune.parallel import Placement
    from palitune.train import communication, plan
    from palitune.train.step_shapes import Work

    sizes = model_of(1024)
    stored = {path: jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for path, leaf in spec.expected(sizes).items()}
    settings = run_config.training(method="full", optimizer="sgd", batch_size=BATCH)
    work = Work(sizes, stored, settings, jnp.dtype(jnp.float32), TEXT + 1, 2, False)
    sent, memory = [], []
    for count in DEVICES:
        placement = Placement(jax.devices()[:count]) if count > 1 else None
        prepared = plan.compiled(work._replace(placement=placement), 0)
        (program,) = prepared.step.programs.values()
        sent.append(communication.sent(program.as_text() or "").total() / 1e6)
        memory.append(prepared.memory.peak / 1e6)
    print(json.dumps([sent, memory]))


# What is shown -------------------------------------------------------------------------------------------------------

MEASURED: dict[str, Callable[[int], Iterator[Row]]] = {
    "records": records,
    "labels": labels,
    "prompt": prompt,
    "parameters": parameters,
    "devices": devices,
}


def tell(row: Row) -> None:
    """Prints a row with its exponents."""
    first, second = row.names
    print(f"{row.what}: {row.name}")
    print("  " + " ".join(f"{size:>13,.0f}" for size in row.sizes))
    for name, values in ((first, row.seconds), (second, row.megabytes)):
        sizes = [size for size, value in zip(row.sizes, values, strict=True) if value]
        slope = exponent(sizes, [value for value in values if value])
        print("  " + " ".join(f"{value:>13,.4g}" for value in values) + f"  {name}, exponent {slope:.2f}", flush=True)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draws all rows, one column for each thing that grows."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    whats = list(dict.fromkeys(row.what for row in rows))
    figure, axes = pyplot.subplots(2, len(whats), figsize=(3.2 * len(whats), 5), squeeze=False, layout="constrained")
    for column, what in enumerate(whats):
        own = [row for row in rows if row.what == what]
        for line, axis in enumerate(axes[:, column]):
            for row in own:
                axis.loglog(row.sizes, (row.seconds, row.megabytes)[line], marker="o", markersize=3, label=row.name)
            sizes = own[0].sizes
            if max(sizes) < 10 * len(sizes):  # too few for powers of ten
                axis.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
                axis.set_xticks([], minor=True)
            axis.set_xlabel(what)
            axis.set_ylabel(own[0].names[line])
            axis.grid(visible=True, alpha=0.3)
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="*", choices=list(MEASURED), default=list(MEASURED))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="an image file to write")
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.compile:
        compile_for_devices()
        return
    rows = []
    for what in args.what:
        for row in MEASURED[what](args.rounds):
            tell(row)
            rows.append(row)
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()

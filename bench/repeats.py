"""Measures what repeating a run gains and costs: single runs from five seeds, and the best of five in one process.

    python bench/repeats.py [--sets 5]

Every data set is newly drawn, trained on with the defaults of `palitune learn`, and evaluated on 200 advertisements
that nothing else uses.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
from stages import accuracy, palitune

SEEDS = 5
NEW, NEW_SEED = 200, 1_000_000


def learned(folder: Path, name: str, *arguments: str) -> float:
    """Seconds."""
    start = time.perf_counter()
    palitune(folder, "learn", "-w", name, *arguments)
    return time.perf_counter() - start


def accuracy_of(folder: Path, name: str) -> float:
    return accuracy(palitune(folder, "validate", "-m", name, "new/data.jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=5, help="data sets (default: %(default)s)")
    parser.add_argument("--validation", default="10", help="records for validation (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        palitune(folder, "download", "--model", "tiny")
        palitune(folder, "demo-data", "-o", "new", "--count", str(NEW), "--seed", str(NEW_SEED))
        print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; accuracy on {NEW} new advertisements")
        print("set  single runs                          median  best of 5  seconds: one  five  ratio")
        better, ratios = 0, []
        for number in range(args.sets):
            data = f"set{number}"
            palitune(folder, "demo-data", "-o", data, "--seed", str(number))
            palitune(folder, "split", "-d", f"{data}/data.jsonl", "-v", args.validation, "-n", "split")
            split = ("-d", f"{data}/split")
            if not number:
                learned(folder, "warm-up", *split)  # programs and image tokens are then in the cache, as on most days
            times, singles = [], []
            for seed in range(SEEDS):
                times.append(learned(folder, f"{data}-{seed}", *split, "--seed", str(seed)))
                singles.append(accuracy_of(folder, f"{data}-{seed}"))
            repeated = learned(folder, f"{data}-best", *split, "--repeat", str(SEEDS))
            best = accuracy_of(folder, f"{data}-best")
            one, middle = statistics.median(times), statistics.median(singles)
            better += best > middle
            ratios.append(repeated / one)
            shown = " ".join(f"{value:.3f}" for value in singles)
            costs = f"{one:12.1f} {repeated:5.1f}  {ratios[-1]:5.2f}"
            print(f"{number:3}  {shown:35}  {middle:6.3f}  {best:9.3f}  {costs}", flush=True)
        cost = statistics.median(ratios)
        print(f"better than the median single run: {better} of {args.sets}; median cost {cost:.2f} runs")


if __name__ == "__main__":
    main()

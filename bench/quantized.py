"""Measures what quantized weights cost in accuracy: adapters beside whole and beside 4-bit weights, seed by seed.

    python bench/quantized.py [--task adverts ...] [--seeds 5] [--first-seed 0] [--methods lora qlora]

Every seed draws its own data, on which each method is trained with the same seed; both are evaluated on new records. Of
several labels it is the share of records with all of them right. The last lines have each method's mean with its
standard error, and how far the second is from the first in standard errors of the first.
"""

import argparse
import os
import re
import statistics
import tempfile
from pathlib import Path

import jax
from stages import palitune

NEW_SEED = 1_000_000
COLUMNS = ("--label-columns", "obscene,violent,insult,personal", "--questions")
# Model, file of records, and settings of learning.
TASKS = {
    "adverts": ("tiny", "data.jsonl", ()),
    "sentiment": ("tinytext", "data.jsonl", ("-b", "8", "--epochs", "5")),
    "emoji": ("tinytext", "data.tsv", ("-b", "8", "--epochs", "15")),
    "toxicity": ("tinytext", "data.csv", ("-b", "4", "--epochs", "4")),
    "chat": ("tinytext", "data.jsonl", ("-b", "4", "--epochs", "5")),
}


def accuracy(printed: str) -> float:
    """The mean of all accuracies in what validation prints; of several labels, the share of records with all right."""
    return statistics.fmean(map(float, re.findall(r"(?:accuracy|exact match):\s+([0-9.]+)", printed)))


def drawn(folder: Path, task: str, seed: int, output: str) -> list[str]:
    """Draws a task's data; returns the options that tell its columns."""
    which = () if task == "adverts" else ("--task", task)
    palitune(folder, "demo-data", *which, "-o", output, "--seed", str(seed))
    return [*COLUMNS, f"{output}/questions.tsv"] if task == "toxicity" else []


def measure(folder: Path, task: str, seeds: range, methods: list[str]) -> None:
    model, file, settings = TASKS[task]
    palitune(folder, "download", "--model", model)
    columns = drawn(folder, task, NEW_SEED, "new")
    found: dict[str, list[float]] = {method: [] for method in methods}
    print(f"{task}: accuracy on new records")
    print("seed", *(f"{method:>9}" for method in methods), flush=True)
    for seed in seeds:
        data = f"data{seed}"
        own = drawn(folder, task, seed, data)
        palitune(folder, "split", "-d", f"{data}/{file}", "-v", "10", "-n", "set", "--seed", str(seed), *own)
        for method in methods:
            options = ("--method", method, "--seed", str(seed), *settings, *own)
            palitune(folder, "learn", "-m", model, "-d", f"{data}/set", "-w", "run", "--overwrite", *options)
            found[method].append(accuracy(palitune(folder, "validate", "-m", "run", f"new/{file}", *columns)))
        print(f"{seed:4}", *(f"{found[method][-1]:9.4f}" for method in methods), flush=True)
    means = [statistics.fmean(found[method]) for method in methods]
    errors = [statistics.stdev(found[method]) / len(seeds) ** 0.5 for method in methods]
    print("mean", *(f"{mean:9.4f}" for mean in means))
    print("s.e.", *(f"{error:9.4f}" for error in errors))
    print(f"{methods[1]} is {(means[1] - means[0]) / errors[0]:+.2f} standard errors from {methods[0]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="to add seeds to those of an earlier run")
    parser.add_argument("--methods", nargs=2, default=["lora", "qlora"])
    args = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}, {os.cpu_count()} CPUs")
    for task in args.task:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), task, range(args.first_seed, args.first_seed + args.seeds), args.methods)


if __name__ == "__main__":
    main()

"""Measures the effect of --balance: trains on data with 85 % yes, evaluates on as many of each label.

    python bench/balance.py [--seeds 5]

Every seed draws its own data. Balanced accuracy is the mean of the shares of each kind that are right; a model that
always says yes has 0.5.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import jax
from stages import counts, palitune

YES, NO = 82, 14  # of the 96 to learn from
NEW, NEW_SEED = 240, 1_000_000


def chosen(source: Path, yes: int, no: int) -> list[str]:
    """Lines of a file with so many of each label."""
    lines = source.read_text().splitlines()
    by_label = {label: [line for line in lines if json.loads(line)["suffix"] == label] for label in ("yes", "no")}
    return [*by_label["yes"][:yes], *by_label["no"][:no]]


def balanced_accuracy(block: str) -> float:
    tp, tn, fp, fn = counts(block)
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", default="512", help="shown in a pass (default: %(default)s)")
    args = parser.parse_args()
    ways = ("none", "weights", "sample")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        palitune(folder, "download", "--model", "tiny")
        palitune(folder, "demo-data", "-o", "new", "--count", str(NEW), "--seed", str(NEW_SEED))
        (folder / "new/balanced.jsonl").write_text("\n".join(chosen(folder / "new/data.jsonl", 100, 100)) + "\n")
        print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; {args.examples} examples; balanced accuracy")
        print("seed", *(f"{way:>8}" for way in ways))
        found: dict[str, list[float]] = {way: [] for way in ways}
        for seed in range(args.seeds):
            data = f"set{seed}"
            palitune(folder, "demo-data", "-o", data, "--count", "160", "--seed", str(seed))
            (folder / data / "skewed.jsonl").write_text("\n".join(chosen(folder / data / "data.jsonl", YES, NO)) + "\n")
            palitune(folder, "split", "-d", f"{data}/skewed.jsonl", "-v", "16", "-n", "split", "--seed", str(seed))
            for way in ways:
                run = f"{data}-{way}"
                options = ("--balance", way, "--seed", str(seed), "--examples", args.examples)
                palitune(folder, "learn", "-d", f"{data}/split", "-w", run, *options)
                found[way].append(balanced_accuracy(palitune(folder, "validate", "-m", run, "new/balanced.jsonl")))
            print(f"{seed:4}", *(f"{found[way][-1]:8.3f}" for way in ways), flush=True)
        print("mean", *(f"{statistics.fmean(found[way]):8.3f}" for way in ways))


if __name__ == "__main__":
    main()

"""Measures whether `palitune iterate` tells signal from noise, and whether what it claims is true.

    python bench/iterate.py noise|equal|claims [--seeds 20] [--runs 5] [--budget 10m] [--rows bench/iterate.tsv]

* noise: labels are dealt out again at random, so that there is nothing to learn. How often is it "worth it"?
* equal: the only other candidate is the recipe from another seed. How often is it called better?
* claims: with `--budget` on the demo's data, the accuracy of the result on 1,000 new ones, beside the mean of five
  single runs of the recipe that learn from 72 of the same 96 and are evaluated on the other 24 while they learn, and
  whether the lower bound that the loop names is true of the result.

Each row is one seed; rows that are there already are not made again. The table of all of them is printed at the end.
"""

import argparse
import csv
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from stages import accuracy, palitune

NEW, NEW_SEED, SINGLES = 1000, 2_000_000, 5
COLUMNS = ("kind", "seed", "said", "low", "accuracy", "singles", "runs")
BETTER = "It is better than the recipe by more than chance"
Row = Mapping[str, str]


def drawn(folder: Path, seed: int) -> Path:
    """The file of a data set."""
    palitune(folder, "demo-data", "-o", f"set{seed}", "--seed", str(seed))
    return folder / f"set{seed}" / "data.jsonl"


def shuffled(file: Path, seed: int) -> Path:
    """The same records with each other's labels."""
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    order = np.random.default_rng(seed).permutation(len(records))
    other = file.with_name("shuffled.jsonl")
    labels = [records[place]["suffix"] for place in order]
    lines = [json.dumps(one | {"suffix": label}) for one, label in zip(records, labels, strict=True)]
    other.write_text("\n".join(lines) + "\n", "utf-8")
    return other


def noise(folder: Path, seed: int, args: argparse.Namespace) -> dict[str, object]:
    said = palitune(folder, "iterate", "-d", str(shuffled(drawn(folder, seed), seed)), *limits(args, seed))
    return {"said": "worth it" if said.startswith("Worth it") else "not worth it"}


def equal(folder: Path, seed: int, args: argparse.Namespace) -> dict[str, object]:
    (folder / "candidates.txt").write_text(f"seed={1000 + seed}\n")
    chosen = ("--candidates", "candidates.txt", *limits(args, seed))
    said = palitune(folder, "iterate", "-d", str(drawn(folder, seed)), *chosen)
    return {"said": "better" if BETTER in said else "as good"}


def limits(args: argparse.Namespace, seed: int) -> tuple[str, ...]:
    return "--runs", str(args.runs), "--seed", str(seed), "-w", "looped", "--overwrite"


def claims(folder: Path, seed: int, args: argparse.Namespace) -> dict[str, object]:
    file = drawn(folder, seed)
    palitune(folder, "demo-data", "-o", "new", "--count", str(NEW), "--seed", str(NEW_SEED + seed), "--overwrite")
    new = str(folder / "new" / "data.jsonl")
    said = palitune(
        *(folder, "iterate", "-d", str(file), "--budget", args.budget, "--seed", str(seed), "-w", "looped"),
        "--overwrite",
    )
    reached = accuracy(palitune(folder, "validate", "-m", "looped", new))
    palitune(folder, "split", "-d", str(file), "-v", "24", "-n", f"split{seed}", "--near-duplicates", "ignore")
    singles = []
    for number in range(SINGLES):
        split = str(file.parent / f"split{seed}")
        palitune(folder, "learn", "-d", split, "--seed", str(number), "-w", "single", "--overwrite")
        singles.append(accuracy(palitune(folder, "validate", "-m", "single", new)))
    steps = (folder / "checkpoints" / "looped.iterate" / "steps.jsonl").read_text("utf-8")
    return {
        "said": said.partition(":")[0],
        "low": re.search(r"95 %: ([\d.]+) to", said)[1],  # type: ignore[index]
        "accuracy": f"{reached:.4f}",
        "singles": f"{np.mean(singles):.4f}",
        "runs": steps.count('"command": "palitune learn '),
    }


KINDS = {"noise": noise, "equal": equal, "claims": claims}


def summary(rows: Sequence[Row], kind: str) -> list[str]:
    """What the rows of a kind come to."""
    said = [row["said"] for row in rows]
    counts = ", ".join(f"{said.count(one)} {one}" for one in sorted(set(said)))
    lines = [f"{kind}: {len(rows)} seeds; {counts}"]
    if kind == "claims":
        reached, singles, low = (
            np.array([float(row[name]) for row in rows]) for name in ("accuracy", "singles", "low")
        )
        lines.append(
            f"  accuracy on new ones {reached.mean():.4f}, of single runs {singles.mean():.4f}; at least as good in "
            f"{int((reached >= singles).sum())}; its own lower bound is true in {int((reached >= low).sum())}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--seeds", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of noise and equal (%(default)s)")
    parser.add_argument("--budget", default="10m", help="of claims (%(default)s)")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_suffix(".tsv"), help="(%(default)s)")
    args = parser.parse_args()
    rows = list(csv.DictReader(args.rows.open(), delimiter="\t")) if args.rows.exists() else []
    there = {(row["kind"], row["seed"]) for row in rows}
    with args.rows.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        if not rows:
            writer.writeheader()
        for seed in range(args.seeds):
            if (args.kind, str(seed)) in there:
                continue
            with tempfile.TemporaryDirectory() as name:
                palitune(Path(name), "download", "--model", "tiny")
                row = {"kind": args.kind, "seed": seed, **KINDS[args.kind](Path(name), seed, args)}
            writer.writerow(row)
            file.flush()
            print(*row.values(), flush=True)
    rows = list(csv.DictReader(args.rows.open(), delimiter="\t"))
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    for kind in sorted({row["kind"] for row in rows}):
        print("\n".join(summary([row for row in rows if row["kind"] == kind], kind)))


if __name__ == "__main__":
    main()

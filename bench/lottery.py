"""Measures what several runs are worth together: the accuracy of single runs, and of everything they can become.

    python bench/lottery.py [--data adverts digits digits-longer] [--sets 30] [--validation 10 24] [--rows FILE]

Each row is one data set that nothing else uses. Its single runs are the members of the ensemble that `palitune learn
--repeat 5` makes, which are the runs from these seeds (tests/test_combine.py). They, the mean of their probabilities,
the mean of their weights, the one with the best validation loss and the one that they teach answer the same new
records: 1,000 advertisements, or the digits that are left. Rows that are there already are not made again; the table of
all of them is printed at the end. "digits-longer" is "digits" by another recipe: ten classes are hardly learned in
three epochs, and the advice at the end of such a run is to show each record more often.

Times are those of whole processes, one single run beside one of each kind, in turn.
"""

import argparse
import csv
import os
import re
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from stages import palitune

SEEDS, NEW, NEW_SEED = 5, 1000, 1_000_000
DIGITS = 200  # of the 1,797, to learn from and to evaluate on while learning
KINDS = ("ensemble", "soup", "best", "distil")
COLUMNS = ("data", "set", "validation", *(f"single{n}" for n in range(SEEDS)), *KINDS, "one_s", "five_s", "distil_s")
Row = Mapping[str, str]


def draw_adverts(folder: Path, number: int) -> tuple[Path, Path]:
    """The file of a data set, and the one of new records."""
    data, new = folder / f"set{number}", folder / f"new{number}"
    palitune(folder, "demo-data", "-o", data.name, "--seed", str(number))
    palitune(folder, "demo-data", "-o", new.name, "--count", str(NEW), "--seed", str(NEW_SEED + number))
    return data / "data.jsonl", new / "data.jsonl"


def draw_digits(folder: Path, number: int) -> tuple[Path, Path]:
    """scikit-learn's digits (8 by 8 pixels, of the UCI repository) as images, parted at random by the number."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    images = folder / "digits"
    if not images.is_dir():
        images.mkdir()
        for place, pixels in enumerate(found.images):
            image = Image.fromarray((255 - pixels * 15.9).astype(np.uint8)).convert("RGB")
            image.resize((64, 64), Image.Resampling.BICUBIC).save(images / f"{place}.png")
    order = np.random.default_rng(number).permutation(len(found.target))
    files = folder / f"digits{number}.tsv", folder / f"other-digits{number}.tsv"
    for file, places in zip(files, (order[:DIGITS], order[DIGITS:]), strict=True):
        file.write_text("".join(f"digits/{place}.png\t{found.target[place]}\n" for place in places))
    return files


DRAWN = {"adverts": draw_adverts, "digits": draw_digits, "digits-longer": draw_digits}
RECIPES = {"digits-longer": ("--epochs", "20")}  # beside the defaults


def learned(folder: Path, name: str, *arguments: str) -> tuple[float, str]:
    """Seconds, and what was printed."""
    start = time.perf_counter()
    printed = palitune(folder, "learn", "-w", name, "--overwrite", *arguments)
    return time.perf_counter() - start, printed


def losses_of(printed: str) -> dict[int, float]:
    """The validation loss of each trial by its seed."""
    rows = re.findall(r"^ +\d+ +(\d+) +\d+ +\d+ +(\d+\.\d+)", printed, re.MULTILINE)
    return {int(seed): float(loss) for seed, loss in rows}


def accuracies(folder: Path, name: str, file: Path, losses: Mapping[int, float]) -> dict[str, float]:
    """Of the members of an ensemble, of all of them together, of their mean, and of the best by validation loss."""
    from palitune.checkpoint import manifest
    from palitune.data import dataset_files
    from palitune.evaluate.confusion import is_right
    from palitune.infer.predictor import Predictor
    from palitune.models import ensemble
    from palitune.run import combination

    path = folder / "checkpoints" / f"{name}.npz"
    predictor = Predictor.load(str(path), quiet=True)
    records = dataset_files.load(file, labels=None)

    def accuracy(params: Mapping[str, jax.Array]) -> float:
        said = predictor.predict(records, params=params)
        return float(np.mean([is_right(one.text, one.example.label) for one in said]))

    shared = {path: leaf for path, leaf in predictor.params.items() if not ensemble.is_own(path)}
    own = {path.removeprefix(ensemble.MEMBERS): leaf for path, leaf in predictor.params.items() if path not in shared}
    members = [{path: np.asarray(leaf[n]) for path, leaf in own.items()} for n in range(SEEDS)]
    soup = {path: jax.device_put(leaf) for path, leaf in combination.soup(members).items()}
    found = {"ensemble": accuracy(predictor.params), "soup": accuracy({**shared, **soup})}
    seeds = [int(str(one["seed"])) for one in manifest.read(path)["combined"]["trials"]]
    singles = {
        seed: accuracy({**shared, **{path: leaf[n] for path, leaf in own.items()}}) for n, seed in enumerate(seeds)
    }
    found["best"] = singles[min(losses, key=losses.__getitem__)]
    return found | {f"single{seed}": value for seed, value in singles.items()}


def measured(folder: Path, data: str, number: int, validation: int) -> dict[str, object]:
    """One row."""
    file, new = DRAWN[data](folder, number)
    split = f"split{number}-{validation}"
    palitune(folder, "split", "-d", str(file), "-v", str(validation), "-n", split, "--near-duplicates", "ignore")
    chosen = ("-d", str(file.parent / split), *RECIPES.get(data, ()))
    one, _ = learned(folder, "one", *chosen)
    five, printed = learned(folder, "five", *chosen, "--repeat", str(SEEDS))
    distil, _ = learned(folder, "distil", *chosen, "--repeat", str(SEEDS), "--combine", "distil")
    found = accuracies(folder, "five", new, losses_of(printed))
    block = palitune(folder, "validate", "-m", "distil", str(new))
    found["distil"] = float(re.search(r"accuracy: +([\d.]+)", block)[1])  # type: ignore[index]
    times = {"one_s": one, "five_s": five, "distil_s": distil}
    row = {name: f"{value:.4f}" for name, value in found.items()} | {name: f"{s:.1f}" for name, s in times.items()}
    return {"data": data, "set": number, "validation": validation, **row}


def summary(rows: Sequence[Row]) -> list[str]:
    """For each kind of what five runs become, how it compares with the median of the five and with the best of them."""
    singles = np.array([[float(row[f"single{n}"]) for n in range(SEEDS)] for row in rows])
    median, hindsight = np.median(singles, axis=1), singles.max(axis=1)
    lines = [f"  {len(rows)} sets; median single run {median.mean():.4f}, best with hindsight {hindsight.mean():.4f}"]
    for kind in KINDS:
        gain = np.array([float(row[kind]) for row in rows]) - median
        share = gain.mean() / (hindsight - median).mean()
        better, same, worst = int((gain > 1e-9).sum()), int((np.abs(gain) <= 1e-9).sum()), gain.min()
        lines.append(
            f"  {kind:8}  gain {gain.mean():+.4f} ({share:4.0%} of the best's)   better in {better}, same in {same}, "
            f"worst {worst:+.4f}"
        )
    for name in ("five", "distil"):
        ratios = [float(row[f"{name}_s"]) / float(row["one_s"]) for row in rows]
        lines.append(f"  {name}: {statistics.median(ratios):.2f} times the seconds of a single run (median)")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=sorted(DRAWN), default=["adverts"], help="(%(default)s)")
    parser.add_argument("--sets", type=int, default=30, help="data sets (%(default)s)")
    parser.add_argument("--validation", type=int, nargs="+", default=[10, 24], help="records for it (%(default)s)")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_suffix(".tsv"), help="(%(default)s)")
    args = parser.parse_args()
    rows = list(csv.DictReader(args.rows.open(), delimiter="\t")) if args.rows.exists() else []
    there = {(row["data"], row["set"], row["validation"]) for row in rows}
    with tempfile.TemporaryDirectory() as name, args.rows.open("a", newline="") as file:
        folder = Path(name)
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        if not rows:
            writer.writeheader()
        palitune(folder, "download", "--model", "tiny")
        os.environ["PALITUNE_HOME"] = str(folder)  # of what is measured in this process
        for data in args.data:
            for number in range(args.sets):
                for validation in args.validation:
                    if (data, str(number), str(validation)) not in there:
                        row = measured(folder, data, number, validation)
                        writer.writerow(row)
                        file.flush()
                        print(*(row[column] for column in COLUMNS), flush=True)
    rows = list(csv.DictReader(args.rows.open(), delimiter="\t"))
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    for data, validation in sorted({(row["data"], int(row["validation"])) for row in rows}):
        print(f"{data}, {validation} records for validation")
        chosen = [row for row in rows if (row["data"], int(row["validation"])) == (data, validation)]
        print("\n".join(summary(chosen)))


if __name__ == "__main__":
    main()

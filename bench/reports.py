"""Measures how long a person waits for report and compare: whole processes, as the shell sees them.

    python bench/reports.py [--records 200] [--times 5]

Draws advertisements, makes up two models' answers to them, and prints the median seconds of each command. The goal is 3
seconds for 200 records on two quiet cores.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from stages import palitune


def answers(folder: Path, name: str, wrong: float) -> None:
    """A file of answers to the drawn records, a share of them wrong."""
    rng, lines = random.Random(name), []
    for line in (folder / "data" / "data.jsonl").read_text().splitlines():
        record = json.loads(line)
        right = rng.random() >= wrong
        said = record["suffix"] if right else {"yes": "no", "no": "yes"}[record["suffix"]]
        p = rng.uniform(0.5, 1) if said == "yes" else rng.uniform(0, 0.5)
        lines.append(f"{record['image']}\t{right}\t{p:.6f}\t{record['suffix']}\t{said}\n")
    (folder / "data" / name).write_text("".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        palitune(folder, "demo-data", "-o", "data", "--count", str(args.records))
        answers(folder, "before.tsv", 0.2)
        answers(folder, "after.tsv", 0.1)
        for command in (
            ["report", "data/after.tsv", "-o", "page.html", "--overwrite"],
            ["report", "data/after.tsv", "--before", "data/before.tsv", "-o", "page.html", "--overwrite"],
            ["report", "data/after.tsv", "--text"],
            ["compare", "data/before.tsv", "data/after.tsv"],
        ):
            seconds = []
            for _ in range(args.times):
                start = time.perf_counter()
                palitune(folder, *command)
                seconds.append(time.perf_counter() - start)
            print(f"{statistics.median(seconds):6.2f} s  palitune {' '.join(command)}", flush=True)


if __name__ == "__main__":
    main()

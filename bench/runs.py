"""Measures how long a person waits for the table of many runs: whole processes, as the shell sees them.

    python bench/runs.py [--runs 500] [--times 5]

Learns twice with the tiny model, copies the folders of these runs with other settings and dates until there are as many
as asked for, with damaged, foreign and running ones among them, and prints the median seconds of `palitune runs` and of
what else reads all of them. The goal for the table is 2 seconds for 500 runs.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stages import palitune

from palitune.storage import locks

STEPS = 2_000  # lines of the metrics of every tenth run, which are longer
# Every so many runs one folder is spoiled, each in another way.
EVERY = 20


def changed(folder: Path, number: int, rng: random.Random) -> None:
    """Gives the copy of a run other settings, another date and, to some, longer metrics."""
    content = json.loads((folder / "config.json").read_text())
    own = {"learning_rate": rng.choice([0.003, 0.01, 0.03]), "batch_size": rng.choice([2, 4, 8]), "seed": number}
    content["config"] |= own
    (folder / "config.json").write_text(json.dumps(content, indent=2))
    cost = json.loads((folder / "cost.json").read_text())
    cost["began"] = f"2026-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:00:00+00:00"
    (folder / "cost.json").write_text(json.dumps(cost))
    if number % 10 == 0:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        steps = [line for line in lines if '"event"' not in line]
        more = steps[:1] + steps[1:-1] * (STEPS // len(steps)) + steps[-1:]
        (folder / "metrics.jsonl").write_text("\n".join([*more, *(one for one in lines if one not in steps)]) + "\n")


def cut(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(path.read_bytes()[:500])


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("of somebody else\n")


def older(folder: Path) -> None:
    (folder / "config.json").write_text('{"palitune": "0.0.1", "settings": {}}\n')


def rubbish(folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(random.Random(0).randbytes(5_000))


SPOILT: tuple[Callable[[Path], None], ...] = (cut, empty, older, rubbish)


def fill(folder: Path, count: int, held: contextlib.ExitStack) -> None:
    """Makes runs until there are so many, of which every `EVERY`th is spoiled or at work."""
    rng, real = random.Random(0), [folder / "a.run", folder / "b.run"]
    for number in range(count - len(real)):
        target = folder / f"trial-{number:04}.run"
        shutil.copytree(real[number % 2], target)
        shutil.copy(real[number % 2].with_suffix(".npz"), target.with_suffix(".npz"))
        changed(target, number, rng)
        place = number // EVERY % (len(SPOILT) + 1)
        if number % EVERY == 0 and place < len(SPOILT):
            SPOILT[place](target)
        elif number % EVERY == 0:
            held.enter_context(locks.exclusive(target / "lock", "a run", keep=True))


def seconds(folder: Path, times: int, *arguments: str) -> list[float]:
    """The seconds of each of several processes."""
    environment = {**os.environ, "PALITUNE_HOME": str(folder), "COLUMNS": "160"}
    found = []
    for _ in range(times):
        start = time.perf_counter()
        command = [sys.executable, "-m", "palitune", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as held:
        folder = Path(name)
        palitune(folder, "download", "--model", "tiny")
        palitune(folder, "demo-data")
        palitune(folder, "split", "-v", "10", "-n", "set1")
        for run, more in (("a", []), ("b", ["--seed", "1"])):
            palitune(folder, "learn", "-d", "set1", "-w", run, *more)
        fill(folder / "checkpoints", args.runs, held)
        size = sum(path.stat().st_size for path in (folder / "checkpoints").glob("*.run/metrics.jsonl"))
        busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
        print(f"{args.runs} runs, {size / 1e6:.0f} MB of metrics; load averages before: {busy}", flush=True)
        for command in (
            ["runs"],
            ["runs", "--json"],
            ["runs", "best"],
            ["report", "--runs", "--overwrite"],
            ["--help"],
        ):
            taken = seconds(folder, 1 if "report" in command else args.times, *command)  # which draws for a while
            shown = " ".join(f"{one:.2f}" for one in sorted(taken))
            print(f"{statistics.median(taken):6.2f} s  palitune {' '.join(command):26} ({shown})", flush=True)


if __name__ == "__main__":
    main()

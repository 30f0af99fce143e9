"""The demo's four jobs on texts over several seeds: what does fine-tuning the tiny text model give?

    python bench/texts.py [--task sentiment|emoji|toxicity|short|chat] [--seeds 5]

Each seed draws its own records, splits them and learns with the settings of docs/text.md. The figures are of newly
drawn records, which no seed learns from: macro F of three classes, top-1 accuracy of 25 emoji, macro F of four rare
labels with 0.5 and with the thresholds that are chosen on the validation set, and the share of a chat's tokens that
the model would have chosen. `short` is toxicity with 240 steps in place of 640, where thresholds matter more.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
from stages import palitune

NEW_SEED = 10_000  # far from the seeds of the training sets
LABELS = ("--label-columns", "obscene,violent,insult,personal", "--questions", "new/questions.tsv")


class Task(NamedTuple):
    """A job: its file, how it is read and learned, and what its figure is called.

    Attributes:
      valid: records of the validation set.
      bars: the figure is to be at most the first before fine-tuning, and at least the second after it.
    """

    data: str
    reading: tuple[str, ...]
    learning: tuple[str, ...]
    valid: str
    figure: str
    found: Callable[[str], float]
    bars: tuple[float, float]


def number(pattern: str) -> Callable[[str], float]:
    """Reads the number that stands behind something in a result block."""

    def read(block: str) -> float:
        found = re.search(pattern + r" +([\d.]+)", block)
        if found is None:
            raise ValueError(f"there is no {pattern} in {block!r}")
        return float(found[1])

    return read


MACRO_F = number(r"  macro +[\d.]+ +[\d.]+")
TASKS = {
    "sentiment": Task(
        "data.jsonl", ("--map", "1=positive", "0=normal", "-1=negative"), ("-b", "8", "-t", "5"), "60",
        "macro F", number("F-measure:"), (0.45, 0.85),
    ),
    "emoji": Task("data.tsv", (), ("-b", "8", "-t", "15"), "25", "top-1 accuracy", number("accuracy:"), (0.08, 0.5)),
    "toxicity": Task("data.csv", LABELS, ("-b", "4", "-t", "4"), "160", "macro F", MACRO_F, (1.0, 0.6)),
    "short": Task("data.csv", LABELS, ("-b", "8", "-t", "3"), "160", "macro F", MACRO_F, (1.0, 0.6)),
    "chat": Task(
        "data.jsonl", (), ("-b", "4", "-t", "5", "--method", "full", "--optimizer", "adamw", "-r", "0.001"), "30",
        "token accuracy", number("token accuracy:"), (1.0, 0.9),
    ),
}  # fmt: skip


def thresholds(folder: Path, task: Task, run: str, valid: str) -> None:
    """Stores a threshold for each label with a model, chosen on its validation set."""
    answers = palitune(folder, "inference", "-m", run, "-d", valid, "--jsonl", *task.reading)
    (folder / "answers.jsonl").write_text(answers, "utf-8")
    palitune(folder, "threshold", "answers.jsonl", "--f-measure", "-m", run)


def measure(folder: Path, name: str, seeds: int) -> None:
    task = TASKS[name]
    drawn = "toxicity" if name == "short" else name
    palitune(folder, "demo-data", "--task", drawn, "-o", "new", "--seed", str(NEW_SEED), "--overwrite")
    new = ("validate", f"new/{task.data}", *task.reading, "-m")
    before, passed = task.found(palitune(folder, *new, "tinytext")), 0
    chosen = "  with thresholds" if drawn == "toxicity" else ""
    print(f"{name}, {task.figure}, before fine-tuning: {before:.3f}\nseed  after{chosen}  seconds of learning")
    for seed in range(seeds):
        names = (str(seed), "--overwrite", "--task", drawn, "-o", "data")
        palitune(folder, "demo-data", "--seed", *names)
        split = ("-d", f"data/{task.data}", "-v", task.valid, "-n", "one", "--seed", str(seed), "--overwrite")
        palitune(folder, "split", *split, *task.reading)
        start = time.perf_counter()
        typed = ("learn", "-d", "data/one", "-m", "tinytext", "-w", "one", "--seed", str(seed), "--overwrite")
        palitune(folder, *typed, *task.learning, *task.reading)
        seconds = time.perf_counter() - start
        after, raised = task.found(palitune(folder, *new, "one")), ""
        if chosen:
            thresholds(folder, task, "one", f"data/one/valid{Path(task.data).suffix}")
            raised = f"  {task.found(palitune(folder, *new, 'one')):15.3f}"
        passed += before <= task.bars[0] and after >= task.bars[1]
        print(f"{seed:4}  {after:5.3f}{raised}  {seconds:19.1f}", flush=True)
    print(f"at most {task.bars[0]} before and at least {task.bars[1]} after: {passed} of {seeds} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, help="one of them (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    with tempfile.TemporaryDirectory() as name:
        palitune(Path(name), "download", "--model", "tinytext")
        for task in [args.task] if args.task else TASKS:
            measure(Path(name), task, args.seeds)


if __name__ == "__main__":
    main()

"""What the lines of data alone tell of a run that they would spoil, and of what it can show."""

import collections
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data.records import LABELS, Record

LEVELS = ("error", "warning", "note")
LOPSIDED = 0.8  # share of one label
CONFIDENCE = 0.95


class Finding(NamedTuple):
    """Something that a person should know."""

    level: str  # one of LEVELS
    check: str
    where: str  # file:line, or a file
    what: str


def is_training(path: Path) -> bool:
    """Whether a file is there to learn from, by its name."""
    return path.stem.lower().startswith("train")


def of_records(sets: Mapping[Path, Sequence[Record]], identity: Callable[[Record], Hashable]) -> Iterator[Finding]:
    """Repeated pictures, contradictory labels, leaks and labels that cannot teach.

    Args:
      identity: equal for records that show the same picture.
    """
    first: dict[Hashable, tuple[Path, Record]] = {}  # of each picture
    asked: dict[Hashable, Record] = {}  # of each picture and question
    for path, records in sets.items():
        for record in records:
            picture = identity(record)
            home, earlier = first.setdefault(picture, (path, record))
            if home != path:
                what = f"{record.name} is also in {earlier.where}: what is learned from cannot judge"
                yield Finding("error", "leak", record.where, what)
            before = asked.setdefault((picture, record.prefix), record)
            if before is not record and before.suffix != record.suffix:
                what = f'{record.name} is "{record.suffix}" here and "{before.suffix}" in {before.where}'
                yield Finding("error", "two labels", record.where, what)
            elif before is not record and home == path:
                yield Finding("warning", "twice", record.where, f"{record.name} is there already, in {before.where}")
        yield from _of_labels(path, records)


def _of_labels(path: Path, records: Sequence[Record]) -> Iterator[Finding]:
    labels = collections.Counter(record.suffix for record in records)
    spellings = collections.defaultdict(list)
    for label in labels:
        spellings[" ".join(label.split()).lower()].append(label)
    for several in spellings.values():
        if len(several) > 1:
            listed = ", ".join(f'"{label}" ({labels[label]})' for label in several)
            yield Finding("warning", "spelling", str(path), f"labels that differ in case or blanks alone: {listed}")
    strange = [label for label in labels if label not in LABELS]
    if strange and len(strange) < len(labels):
        for record in records:
            if record.suffix not in LABELS:
                what = f'"{record.suffix[:40]}" is neither yes nor no, as other labels are: learning refuses it'
                yield Finding("error", "label", record.where, what)
    elif strange:
        listed = ", ".join(f'"{label[:40]}"' for label in strange[:5])
        what = f"learning takes yes and no, and here are {listed}: palitune convert --rename gives labels other names"
        yield Finding("warning", "label", str(path), what)
    if len(labels) == 1 and len(records) > 1:
        (label,) = labels
        yield Finding("error", "one label", str(path), f'every label is "{label}": there is nothing to tell apart')


def verdicts(sets: Mapping[Path, Sequence[Record]], teaches: Callable[[Path], bool] = is_training) -> list[str]:
    """What the labels' shares and the number of records allow to be known, a line or two for each file.

    Args:
      teaches: whether a file is there to learn from, so that the number of its records says nothing of accuracy.
    """
    lines = []
    for path, records in sets.items():
        if not records:
            continue
        label, count = collections.Counter(record.suffix for record in records).most_common(1)[0]
        share = count / len(records)
        advice = " (--balance weights helps)" if LOPSIDED <= share < 1 and label in LABELS else ""
        lines.append(
            f'{path}: {100 * share:.0f} % {label}: a model that always says "{label}" scores {share:.2f}{advice}'
        )
        if not teaches(path):
            low, high = interval(round(0.9 * len(records)), len(records))
            what = f"judged by {len(records)} records, an accuracy of {round(0.9 * len(records)) / len(records):.2f}"
            lines.append(f"{path}: {what} can be anything from {low:.2f} to {high:.2f}")
    return lines


def interval(right: int, total: int) -> tuple[float, float]:
    """The Wilson score interval of a share, with `CONFIDENCE`."""
    from scipy.stats import binomtest

    found = binomtest(right, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)

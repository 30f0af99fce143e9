"""What the lines of data alone tell of a run that they would spoil, and of what it can show."""

import collections
import math
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data.example import Example
from palitune.data.formats import error_hints
from palitune.data.invisible_characters import UNSEEN, shown
from palitune.data.labels import LABELS, plain
from palitune.data.split import subset_names
from palitune.errors import listed

LEVELS = ("error", "warning", "note")
LOPSIDED = 0.8  # share of one label
CONFIDENCE, Z = 0.95, 1.959963984540054  # of a normal distribution so much is within -Z and Z


class Finding(NamedTuple):
    """Something that a person should know.

    Attributes:
      others: `file:line` of the records that it is about too.
    """

    level: str  # one of LEVELS
    check: str
    where: str  # file:line, or a file
    what: str
    others: tuple[str, ...] = ()


def is_training(path: Path) -> bool:
    """Whether a file is there to learn from, by its name."""
    return subset_names.of([path])[path] == subset_names.TRAIN


def of_records(sets: Mapping[Path, Sequence[Example]], identity: Callable[[Example], Hashable]) -> Iterator[Finding]:
    """Repeated pictures, contradictory labels, leaks and labels that cannot teach.

    Args:
      identity: equal for records that show the same picture.
    """
    first: dict[Hashable, tuple[Path, Example]] = {}  # of each picture
    asked: dict[Hashable, Example] = {}  # of each picture and question
    for path, records in sets.items():
        for record in records:
            picture = identity(record)
            home, earlier = first.setdefault(picture, (path, record))
            if home != path:
                what = f"{record.image.name} is also in {earlier.where}: what is learned from cannot judge"
                yield Finding("error", "leak", record.where, what)
            before = asked.setdefault((picture, record.prompt), record)
            if before is not record and before.label != record.label:
                what = f'{record.image.name} is "{record.label}" here and "{before.label}" in {before.where}'
                yield Finding("error", "two labels", record.where, what)
            elif before is not record and home == path:
                yield Finding(
                    "warning", "twice", record.where, f"{record.image.name} is there already, in {before.where}"
                )
        yield from _of_labels(path, records)


def _of_labels(path: Path, records: Sequence[Example]) -> Iterator[Finding]:
    labels = collections.Counter(record.label for record in records)
    spellings = collections.defaultdict(list)
    for label in labels:
        spellings[_seen(label)].append(label)
    for several in spellings.values():
        if len(several) > 1:
            named = listed([f"{shown(label)} ({labels[label]})" for label in several])
            what = f"labels that differ in case, blanks, width or unseen characters alone: {named}"
            yield Finding("warning", "spelling", str(path), what)
    strange = [label for label in labels if label not in LABELS]
    if strange and len(strange) < len(labels):
        for record in records:
            if record.label not in LABELS:
                what = f"{shown(record.label)} is neither yes nor no, as other labels are: learning refuses it"
                yield Finding("error", "label", record.where, what)
    elif strange:
        named = listed([shown(label) for label in strange])
        rename = error_hints.of_label(strange[0]) or "palitune convert --rename"
        what = f"learning takes yes and no, and here are {named}: {rename} gives labels other names"
        yield Finding("warning", "label", str(path), what)
    if len(labels) == 1 and len(records) > 1:
        (label,) = labels
        yield Finding("error", "one label", str(path), f'every label is "{label}": there is nothing to tell apart')


def _seen(label: str) -> str:
    """A label as people see it: without case, width, and what is invisible."""
    wide = UNSEEN.sub(" ", label) if not label.isascii() else label
    return plain(unicodedata.normalize("NFKC", wide)).casefold()


def verdicts(sets: Mapping[Path, Sequence[Example]], teaches: Callable[[Path], bool] = is_training) -> list[str]:
    """What the labels' shares and the number of records allow to be known, a line or two for each file.

    Args:
      teaches: whether a file is there to learn from, so that the number of its records says nothing of accuracy.
    """
    lines = []
    for path, records in sets.items():
        if not records:
            continue
        label, count = collections.Counter(record.label for record in records).most_common(1)[0]
        share = count / len(records)
        advice = " (--balance weights helps)" if LOPSIDED <= share < 1 and label in LABELS else ""
        lines.append(
            f'{path}: {100 * share:.0f} % {label}: a model that always says "{label}" scores {share:.2f}{advice}'
        )
        if not teaches(path):
            right = round(0.9 * len(records))
            low, high = interval(right, len(records))
            of, ones = "records" if len(records) > 1 else "record", "right ones" if right > 1 else "right one"
            what = f"of {len(records)} {of}, {right} {ones} would mean an accuracy from {low:.2f} to {high:.2f}"
            lines.append(f"{path}: {what}")
    return lines


def interval(right: int, total: int) -> tuple[float, float]:
    """The Wilson score interval of a share, with `CONFIDENCE`."""
    share = right / total
    width = 2 * (total + Z**2)
    middle = (2 * total * share + Z**2) / width
    reach = Z / width * math.sqrt(4 * total * share * (1 - share) + Z**2)
    return 0.0 if right == 0 else middle - reach, 1.0 if right == total else middle + reach

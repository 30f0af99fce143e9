"""Evaluations of a run's checkpoint after the run, on other files: a line of JSON for each, in its folder.

Imports nothing heavy, because a list of all runs reads it.
"""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path

from palitune.confidence_interval import Figure
from palitune.errors import StorageError
from palitune.evaluate import count_figures
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.past_run import FIGURES, DataFile, FileEvaluation, Worth
from palitune.run.folder import LONGEST_LINE
from palitune.storage import append_file, files

# Titles of figures of three and more classes, or of several labels, without what says that they are means.
NAMES: dict[str, str] = {title: name for name, title in FIGURES.items()}
LARGEST = 1 << 53


def append(path: Path, one: FileEvaluation) -> None:
    """Adds an evaluation to the file.

    Raises:
      OutputExistsError: another process is writing it.
      StorageError: it cannot be written.
    """
    row = {
        "date": datetime.datetime.fromtimestamp(one.date, datetime.UTC).isoformat(timespec="seconds"),
        "data": {**one.data._asdict(), "seen": one.seen},
        "asked": dict(one.asked),
        "records": one.worth.records,
        "counts": None if one.worth.counts is None else vars(one.worth.counts),
        "figures": {name: list(figure) for name, figure in one.worth.figures.items()},
    }
    if path.is_symlink():  # which `append_file` follows, because a user may have named it
        raise StorageError("this is a symbolic link, and links are not followed", where=str(path))
    with append_file.exclusive(path) as file:
        file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def read(path: Path) -> tuple[FileEvaluation, ...]:
    """The latest evaluations of a file, the last one last; lines that are none are left out."""
    try:
        with files.open_to_read(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LONGEST_LINE))
            lines = file.read(LONGEST_LINE).splitlines()
    except OSError:
        return ()
    found = map(_evaluation, lines if size <= LONGEST_LINE else lines[1:])
    return tuple(one for one in found if one is not None)


def _evaluation(line: bytes) -> FileEvaluation | None:
    try:
        row = json.loads(line)
        data, seen = dict(row["data"]), count(row["data"]["seen"])
        file = DataFile(text(data["file"]), count(data["records"]), text(data["sha256"]), text(data["images"]))
        date = datetime.datetime.fromisoformat(row["date"]).timestamp()
        return FileEvaluation(date, file, seen, worth(row), dict(row["asked"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def worth(row: Mapping[str, object]) -> Worth:
    """The figures of a line of JSON: of counts where it has some. Raises ValueError."""
    counts, figures = row.get("counts"), row.get("figures")
    if isinstance(counts, dict):
        matrix = Confusion(**{name: count(counts.get(name)) for name in ("tp", "tn", "fp", "fn")})
        return Worth(count_figures.of_counts(matrix), matrix, matrix.tp + matrix.tn + matrix.fp + matrix.fn)
    if not isinstance(figures, dict):
        raise ValueError("no figures")
    found = {name_of(str(title)): figure(value) for title, value in figures.items()}
    return Worth({name: one for name, one in found.items() if name in FIGURES}, None, count(row.get("records")))


def name_of(title: str) -> str:
    """What settings call a figure that a run's metrics have under its title: means over labels by the same name."""
    return NAMES.get(title.removesuffix(" (macro)"), title)


def figure(value: object) -> Figure:
    """A figure as JSON has it. Raises ValueError."""
    if not isinstance(value, list) or len(value) != len(Figure._fields):
        raise ValueError("no figure")
    return Figure(*(None if one is None else number(one) for one in value))


def number(value: object) -> float:
    """A number of JSON that can be computed with. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST < value < LARGEST:
        raise ValueError("no number")
    return float(value)


def count(value: object) -> int:
    """A whole number of JSON. Raises ValueError."""
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError("no count")
    return value


def text(value: object) -> str:
    """A text of JSON. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("no text")
    return value

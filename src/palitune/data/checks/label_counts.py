"""Columns of yes and no: how many of each there are, and fewer records so that they are in proportion."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palitune import randomness
from palitune.data.example_files import Reader
from palitune.data.formats import csv_lines
from palitune.data.formats.json_lines import parse_object
from palitune.data.formats.lines import STDIN, Line
from palitune.errors import BadDataError

YES, NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0")
MOST_NAMES = 50  # of columns, for messages
Ints = np.ndarray[Any, Any]


class Table(NamedTuple):
    """Lines with yes/no columns.

    Attributes:
      head: the header of a CSV, to be written first.
      lines: as they were, each with its end.
      values: int8[N, C]: 1 for yes, 0 for no, -1 for anything else.
      numbers: of the lines in their file.
    """

    head: bytes
    lines: list[bytes]
    names: list[str]
    values: Ints
    path: Path
    numbers: list[int]


def value(text: object) -> int:
    """1 for yes, 0 for no, -1 for anything else."""
    plain = str(text).strip().lower()
    return 1 if plain in YES else 0 if plain in NO else -1


def read(path: Path, columns: Sequence[str] | None) -> Table:
    """The lines of JSONL (keys are columns), of TSV (its label, or columns by number), or of CSV with a header.

    Args:
      columns: which ones; without it all that say yes or no in every line.

    Raises:
      MissingInputError, BadDataError: it cannot be read, or has no such columns.
    """
    head, rows = csv_lines.read(path, columns) if csv_lines.is_csv(path) else (b"", _rows(path))
    lines, numbers, found = [], [], _Values(columns)
    for raw, number, cells in rows:
        lines.append(raw)
        numbers.append(number)
        found.add(cells)
    if not lines:
        raise BadDataError("there is no line below the header", where=str(path))
    there = ", ".join(found.names)[:200]
    if not found.values:
        hint = f"Name some with --columns; there are {there}"
        if path == STDIN and list(found.names) == ["1"]:
            hint = "A table with commas is read from a file and not from standard input"
        raise BadDataError("no column says yes or no in every line", where=str(path), hint=hint)
    if missing := [name for name in found.values if name not in found.present]:
        raise BadDataError(f"no column {missing[0]}; there are {there}", where=str(path))
    values = np.array([np.frombuffer(column, np.int8) for column in found.values.values()]).T
    return Table(head, lines, list(found.values), values, path, numbers)


class _Values:
    """Values by column, of those that are wanted, or else that say yes or no in every row so far.

    Attributes:
      names: of the first columns that there are, for messages.
    """

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self.wanted = wanted
        self.values: dict[str, bytearray] = {name: bytearray() for name in wanted or ()}
        self.present: set[str] = set()
        self.names: dict[str, None] = {}
        self.is_first = True

    def add(self, row: Mapping[str, Any]) -> None:
        if len(self.names) < MOST_NAMES:
            self.names.update(dict.fromkeys(itertools.islice(row, MOST_NAMES)))
        if self.is_first and self.wanted is None:
            self.values = {name: bytearray() for name in row}
        self.is_first = False
        self.present.update(row.keys() & self.values.keys())
        others = []
        for name, column in self.values.items():
            said = value(row.get(name, ""))
            column.append(said & 0xFF)  # -1 as int8
            if said < 0 and self.wanted is None:
                others.append(name)
        for name in others:
            del self.values[name]


def _rows(path: Path) -> Iterator[tuple[bytes, int, dict[str, Any]]]:
    """Lines with their ends, their numbers, and what they say by column."""
    reader = Reader(path)
    return ((line[2] + b"\n", line[0], _row(reader, line)) for line in reader)


def _row(reader: Reader, line: Line) -> dict[str, Any]:
    """A line's columns by name: keys of JSON, "label" of records in TSV, else numbers from 1."""
    where, text = reader.text(line)
    if reader.kind == "jsonl":
        return parse_object(text, where)
    columns = text.split("\t")
    if len(columns) in (2, 5) or (len(columns) > 2 and not columns[-1]):
        return {"label": reader.example(line).label}
    return {str(number): column for number, column in enumerate(columns, 1)}


def thin(table: Table, target: float, drop_yes: bool, seed: int) -> Ints:
    """bool[N]: the lines to keep, so that each column's share of yes comes near `target`.

    Only lines without any yes are dropped, as many as bring the mean distance of all columns' shares from the target to
    its lowest; where less is as good, less. With `drop_yes` also lines go, one by one, of which all yeses are in
    columns that are above the target even with every other line kept.

    Raises:
      BadDataError: a value is neither yes nor no.
    """
    values = table.values
    if (values < 0).any():
        line, column = np.argwhere(values < 0)[0]
        where, hint = f"{table.path}:{table.numbers[line]}", "Name other columns with --columns"
        raise BadDataError(f"neither yes nor no in {table.names[column]}", where=where, hint=hint)
    rng = randomness.generator(seed, "thin")
    keep = np.ones(len(values), bool)
    has_yes = values.any(axis=1)
    if drop_yes:
        counts, total = values.sum(axis=0, dtype=np.int64), len(values)
        for line in rng.permutation(np.flatnonzero(has_yes)):
            if (counts[values[line] == 1] > target * total).all():
                keep[line] = False
                counts -= values[line]
                total -= 1
    none = rng.permutation(np.flatnonzero(~has_yes))
    counts, some = values[keep].sum(axis=0, dtype=np.int64), int((keep & has_yes).sum())
    kept = np.arange(len(none), -1, -1)  # the most first: of equally good numbers it is chosen
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / (some + kept)[:, None]
    distance = np.abs(np.nan_to_num(shares) - target).mean(axis=1)
    keep[none[kept[np.argmin(np.round(distance, 12))] :]] = False
    return keep

"""Columns of yes and no in JSONL, TSV and CSV files, as arrays to be counted."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palitune import labels
from palitune.data.example_files import Reader
from palitune.data.formats import csv_lines, table_rows
from palitune.data.formats.json_lines import parse_object
from palitune.data.formats.lines import STDIN, Line
from palitune.errors import BadDataError

OTHER, MISSING = -1, -2  # neither yes nor no; unknown, where a record has several labels or a named column is empty
YES, NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0")
MOST_NAMES = 50  # columns that a message names


class Table(NamedTuple):
    """The lines of a file and their yes/no columns.

    Attributes:
      head: the header of a CSV, which is written first; else empty.
      lines: the lines as they are in the file, each with its end.
      names: the columns.
      values: int8[N, C]: 1 for yes, 0 for no, `MISSING` for what is unknown, `OTHER` for anything else.
      path: the file.
      numbers: the number of each line in the file.
    """

    head: bytes
    lines: list[bytes]
    names: list[str]
    values: NDArray[np.int8]
    path: Path
    numbers: list[int]


class NoColumnError(BadDataError):
    """No column says yes or no in every line.

    Attributes:
      content: everything that was read, so that standard input can be read in another way.
    """

    content = b""


def value(text: object) -> int:
    """Returns 1 for a text that means yes, 0 for one that means no, and `OTHER` for anything else."""
    plain = str(text).strip().lower()
    return 1 if plain in YES else 0 if plain in NO else OTHER


def read(path: Path, columns: Sequence[str] | None, positive: str | None = None) -> Table:
    """Reads JSONL (its keys are columns), TSV (its label, or columns by number), or CSV with a header.

    Args:
      columns: the columns to read; None reads all that say yes or no in every line, or the positive label somewhere.
      positive: the label that counts as yes, and any other as no; None is yes and no themselves.

    Raises:
      MissingInputError, BadDataError: the file cannot be read, or does not have these columns; `NoColumnError` where
        none were named and none says yes or no.
    """
    reader = _Rows(path)
    head, rows = csv_lines.read(path, columns) if csv_lines.is_csv(path) else (b"", _rows(reader))
    lines, numbers, found = [], [], _Values(columns)
    for raw, number, cells in rows:
        lines.append(raw)
        numbers.append(number)
        found.add(cells if positive is None else _against_rest(cells, positive))
    if not lines:
        raise BadDataError("there is no line below the header", where=str(path))
    head = reader.table.head if reader.table is not None else head
    there = ", ".join(found.names)[:200]
    if positive is not None and columns is None:
        found.values = {name: column for name, column in found.values.items() if 1 in column}
        if not found.values:
            raise BadDataError(f"no line says {positive} in any column; there are {there}", where=str(path))
    if not found.values:
        hint = f"Name some with --columns; there are {there}"
        if path == STDIN and list(found.names) == ["1"]:
            hint = "A table with commas is read from a file and not from standard input"
        error = NoColumnError("no column says yes or no in every line", where=str(path), hint=hint)
        error.content = head + b"".join(lines)
        raise error
    if missing := [name for name in found.values if name not in found.present]:
        raise BadDataError(f"no column {missing[0]}; there are {there}", where=str(path))
    values = np.array([np.frombuffer(column, np.int8) for column in found.values.values()]).T
    return Table(head, lines, list(found.values), values, path, numbers)


def _against_rest(row: Mapping[str, object], positive: str) -> dict[str, object]:
    """A row in which the positive label is yes and any other text no; what is unknown stays so."""
    said: dict[str, object] = {
        name: cell if cell is None else "yes" if labels.plain(str(cell)) == labels.plain(positive) else "no"
        for name, cell in row.items()
    }
    return LabelledRow(said) if isinstance(row, LabelledRow) else said


class LabelledRow(dict[str, object]):
    """A row with several labels, each of which is a column; one that is None or not there is unknown."""


def _of_object(fields: dict[str, object]) -> dict[str, object]:
    """The columns of a JSON object: its keys, and the names of its `labels`."""
    labels = fields.get("labels")
    if not isinstance(labels, dict):
        return fields
    return LabelledRow({key: value for key, value in fields.items() if key != "labels"} | labels)


class _Values:
    """The values of the wanted columns, or of those that say yes or no in every row so far.

    Attributes:
      names: the first columns of the file, for messages.
    """

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self.wanted = wanted
        self.values: dict[str, bytearray] = {name: bytearray() for name in wanted or ()}
        self.present: set[str] = set()
        self.names: dict[str, None] = {}
        self.is_first = True

    def add(self, row: Mapping[str, object]) -> None:
        if len(self.names) < MOST_NAMES:
            self.names.update(dict.fromkeys(itertools.islice(row, MOST_NAMES)))
        if self.is_first and self.wanted is None:
            self.values = {name: bytearray() for name in row}
        self.is_first = False
        self.present.update(row.keys() & self.values.keys())
        others = []
        for name, column in self.values.items():
            cell = row.get(name)
            # Nothing in a column that was named is an unknown label; in one that was not, it says that it is none.
            is_empty = self.wanted is not None and isinstance(cell, str) and not cell.strip()
            is_unknown = is_empty or (cell is None and isinstance(row, LabelledRow))
            said = MISSING if is_unknown else value("" if name not in row else cell)
            column.append(said & 0xFF)  # as int8
            if said == OTHER and self.wanted is None:
                others.append(name)
        for name in others:
            del self.values[name]


class _Rows(Reader):
    """Rows whose columns need not be those of records."""

    def header(self, text: str, where: str) -> tuple[tuple[str, ...], str] | None:
        return self.fields.header(text, where)


def _rows(reader: Reader) -> Iterator[tuple[bytes, int, dict[str, object]]]:
    """Returns each line with its end, its number, and its values by column."""
    return ((line[2] + b"\n", line[0], _row(reader, line)) for line in reader)


def _row(reader: Reader, line: Line) -> dict[str, object]:
    """Returns the columns of a line by name: keys of JSON, "label" of an example in TSV, else numbers from 1."""
    where, text = reader.text(line)
    if reader.kind == "jsonl":
        return _of_object(parse_object(text, where))
    if reader.table is not None:
        cells = table_rows.cells_of(text, reader.table.separator, where)
        return {**table_rows.fitted(cells, reader.table.columns, where)}
    columns = text.split("\t")
    if len(columns) in (2, 5) or (len(columns) > 2 and not columns[-1]):
        return {"label": reader.example(line).label}
    return {str(number): column for number, column in enumerate(columns, 1)}

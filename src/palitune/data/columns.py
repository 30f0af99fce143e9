"""Columns of yes and no: how many of each there are, and fewer records so that they are in proportion."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palitune import config
from palitune.data.records import STDIN, Line, Reader, parse_object, require_file
from palitune.errors import BadDataError, MissingInputError

YES, NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0")
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
    head, lines, numbers, rows = _rows(path)
    if not lines:
        raise BadDataError("the file is empty", where=str(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    if columns is None:
        values = {name: [value(row.get(name, "")) for row in rows] for name in names}
        chosen = [name for name, found in values.items() if min(found) >= 0]
        if not chosen:
            hint = f"Name some with --columns; there are {', '.join(names)[:200]}"
            raise BadDataError("no column says yes or no in every line", where=str(path), hint=hint)
    else:
        missing = [name for name in columns if name not in names]
        if missing:
            what = f"no column {missing[0]}; there are {', '.join(names)[:200]}"
            raise BadDataError(what, where=str(path))
        chosen = list(columns)
        values = {name: [value(row.get(name, "")) for row in rows] for name in chosen}
    return Table(head, lines, chosen, np.array([values[name] for name in chosen], np.int8).T, path, numbers)


def _rows(path: Path) -> tuple[bytes, list[bytes], list[int], list[dict[str, Any]]]:
    if _is_csv(path):
        return _csv_rows(path)
    reader = Reader(path)
    lines, numbers, rows = [], [], []
    for line in reader:
        lines.append(line[2] + b"\n")
        numbers.append(line[0])
        rows.append(_row(reader, line))
    return b"", lines, numbers, rows


def _row(reader: Reader, line: Line) -> dict[str, Any]:
    """A line's columns by name: keys of JSON, "label" of records in TSV, else numbers from 1."""
    where, text = reader.text(line)
    if reader.kind == "jsonl":
        return parse_object(text, where)
    columns = text.split("\t")
    if len(columns) in (2, 5):
        return {"label": reader.record(line).suffix}
    return {str(number): column for number, column in enumerate(columns, 1)}


def _is_csv(path: Path) -> bool:
    if path == STDIN:
        return False
    require_file(path)
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return not first.lstrip().startswith((b"{", b"[")) and b"\t" not in first and (b"," in first or b";" in first)


def _csv_rows(path: Path) -> tuple[bytes, list[bytes], list[int], list[dict[str, Any]]]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadDataError("not UTF-8 text", where=str(path), hint="Save the file as UTF-8") from None
    # Each row as it is in the file, which may be several lines.
    physical = io.StringIO(text, newline="").readlines()
    if physical and not physical[-1].endswith(("\n", "\r")):
        physical[-1] += "\n"
    separator = ";" if physical and physical[0].count(";") > physical[0].count(",") else ","
    rows = csv.reader(physical, delimiter=separator, strict=True)
    lines, numbers, found = [], [], []
    try:
        columns = [column.strip() for column in next(rows)]
        if len(set(columns)) < len(columns):
            raise BadDataError("two columns have the same name", where=f"{path}:1")
        head = raw[: len(raw) - len(text.encode())] + "".join(physical[: rows.line_num]).encode()
        before = rows.line_num
        for row in rows:
            whole = "".join(physical[before : rows.line_num])
            before = rows.line_num
            if not row:
                continue
            if len(row) != len(columns):
                what = f"{len(row)} columns, the header has {len(columns)}"
                raise BadDataError(what, where=f"{path}:{rows.line_num}")
            found.append(dict(zip(columns, row, strict=True)))
            lines.append(whole.encode())
            numbers.append(rows.line_num)
    except csv.Error as error:
        raise BadDataError(f"broken CSV ({error})", where=f"{path}:{rows.line_num}") from None
    return head, lines, numbers, found


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
    rng = config.generator(seed, "thin")
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

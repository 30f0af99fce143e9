"""Parquet tables: read as the same table in CSV, by its rules, and written from lines of JSON. Needs pyarrow."""

import contextlib
import csv
import io
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from palitune import console
from palitune.errors import BadDataError, ConfigurationError, listed

ENDING = ".parquet"
ROWS = 10_000  # that are in memory at a time
INSTALL = "Install it: pip install 'palitune[ray]'"


def pyarrow(name: str) -> tuple[ModuleType, ModuleType]:
    """pyarrow and pyarrow.parquet. Raises ConfigurationError: they are not installed; `name` is the table's file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        what = "Parquet needs pyarrow, which is not installed"
        raise ConfigurationError(what, where=name, hint=INSTALL) from None
    return pyarrow, pyarrow.parquet


@contextlib.contextmanager
def as_csv(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """A copy of a table as CSV in UTF-8, written a few rows at a time. Columns of bytes are left out, and named.

    Args:
      file: the table, which can be read from any place on.
      name: of the file, for messages.

    Raises:
      ConfigurationError: pyarrow is not installed.
      BadDataError: it is damaged.
    """
    arrow, parquet = pyarrow(name)
    with tempfile.TemporaryFile() as copy:
        text = io.TextIOWrapper(copy, "utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        try:
            table = parquet.ParquetFile(file)
            columns = [field.name for field in table.schema_arrow if not _has_bytes(arrow, field.type)]
            if dropped := [field.name for field in table.schema_arrow if field.name not in columns]:
                what = "the columns with bytes are" if len(dropped) > 1 else "the column with bytes is"
                console.note(f"{name}: {what} left out, because images are files: {listed(dropped)}")
            beside = ["", ""] if len(columns) == 1 else []  # a line with one name is no header
            rows.writerow([*columns, *beside])
            for part in table.iter_batches(ROWS, columns=columns):
                cells = [[_cell(value) for value in column.to_pylist()] for column in part.columns]
                rows.writerows((*row, *beside) for row in zip(*cells, strict=True))
        except (arrow.ArrowException, OSError, UnicodeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadDataError(f"this is a Parquet table, and damaged ({reason})", where=name) from None
        text.detach()
        copy.seek(0)
        yield copy


def _has_bytes(arrow: ModuleType, kind: Any) -> bool:
    """Whether a column's type is bytes, or has bytes in it."""
    types = arrow.types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_has_bytes(arrow, kind.field(number).type) for number in range(kind.num_fields))


def _cell(value: object) -> str:
    """A value as a cell of CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def write(lines: Path, out: Path) -> None:
    """Writes a table of a file with an object of JSON on each line, every key a column, some rows at a time.

    A column is of numbers, of yes and no, or else of texts; lists and objects are texts of JSON.

    Raises:
      ConfigurationError: pyarrow is not installed.
      OSError: it cannot be written.
    """
    arrow, parquet = pyarrow(str(out))
    kinds: dict[str, set[type]] = {}
    for row in _objects(lines):
        for key, value in row.items():
            kinds.setdefault(key, set()).add(type(value))
    schema = arrow.schema([(key, _type(arrow, found - {type(None)})) for key, found in kinds.items()])
    with parquet.ParquetWriter(out, schema) as writer:
        rows = _objects(lines)
        while part := list(itertools.islice(rows, ROWS)):
            columns = [[_value(field.type, row.get(field.name)) for row in part] for field in schema]
            arrays = [arrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))


def _objects(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open("rb") as file:
        yield from map(json.loads, file)


def _type(arrow: ModuleType, kinds: set[type]) -> Any:
    if kinds == {bool}:
        return arrow.bool_()
    if kinds and kinds <= {int, float}:
        return arrow.float64() if float in kinds else arrow.int64()
    return arrow.string()


def _value(kind: Any, value: object) -> object:
    if value is None or str(kind) != "string" or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

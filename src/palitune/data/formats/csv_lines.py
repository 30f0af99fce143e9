"""The lines of a CSV with their cells, so that some of the lines can be written again byte for byte."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data import file_signatures
from palitune.data.formats.lines import MARK, STDIN, require_file
from palitune.errors import BadDataError, MissingInputError

SEP = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's first line
IMAGE = re.compile(r"\.(jpe?g|jfif|a?png|gif|webp|bmp|tiff?|heic|avif)$", re.IGNORECASE)
ANSWERS = re.compile(r"(yes|no|true|false|[01](\.0+)?)$", re.IGNORECASE)


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      raw: its line or lines, with their end.
      number: the number of its last line in the file.
      cells: by column; columns without a name are left out.
    """

    raw: bytes
    number: int
    cells: dict[str, str]


def is_csv(path: Path) -> bool:
    """Returns whether the first line of a file has commas or semicolons, and no tabs or JSON.

    Raises:
      MissingInputError, BadDataError: it cannot be read, or is not text.
    """
    if path == STDIN:
        return False
    require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if (found := file_signatures.recognised(head[: file_signatures.HEAD])) is not None:
        raise BadDataError(f"this is {found.what}", where=str(path), hint=found.hint)
    first = head.removeprefix(MARK).lstrip().split(b"\n", 1)[0]
    return not first.startswith((b"{", b"[")) and b"\t" not in first and (b"," in first or b";" in first)


def read(path: Path, named: Sequence[str] | None) -> tuple[bytes, Iterator[Row]]:
    """Returns the header line (and what precedes it), and the rows.

    Args:
      named: columns that were asked for; if the first line has them, it is a header.

    Raises:
      BadDataError: the file is not UTF-8, or the first line is an example and not a header.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise BadDataError("not UTF-8 text", where=f"{path}:{number}", hint="Save the file as UTF-8") from None
    mark = raw[: len(MARK)] if raw.startswith(MARK) else b""
    del raw
    told = SEP.match(text)
    lines = io.StringIO(text[told.end() :] if told else text, newline="").readlines()
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += "\n"
    first = lines[0] if lines else ""
    separator = told[1] if told else ";" if first.count(";") > first.count(",") else ","
    table = _Table(path, lines, separator, 1 if told else 0)
    columns = table.header(named)
    return mark + (told[0] if told else "").encode() + table.last().encode(), table.rows(columns)


class _Table:
    def __init__(self, path: Path, lines: list[str], separator: str, before: int) -> None:
        self.path, self.lines, self.skipped = path, lines, before
        plain = (line.removeprefix("\ufeff") for line in lines)  # of each file of which it was put together
        self.reader = csv.reader(plain, delimiter=separator, strict=True, skipinitialspace=True)
        self.start = 0  # the first physical line of the last row

    @property
    def where(self) -> str:
        return f"{self.path}:{self.skipped + self.reader.line_num}"

    def _next(self) -> list[str] | None:
        self.start = self.reader.line_num
        try:
            return [cell.strip() for cell in next(self.reader)]
        except StopIteration:
            return None
        except csv.Error as error:
            raise BadDataError(f"broken CSV ({error})", where=self.where) from None

    def last(self) -> str:
        """The last row as it is in the file."""
        return "".join(self.lines[self.start : self.reader.line_num]).removeprefix("\ufeff")

    def header(self, named: Sequence[str] | None) -> list[str]:
        columns = self._next() or []
        names = [column for column in columns if column]
        if len(set(names)) < len(names):
            raise BadDataError("two columns have the same name", where=self.where)
        record = next((name for name in names if ANSWERS.match(name) or IMAGE.search(name)), None)
        if record is not None and not (named and set(named) <= set(names)):
            what = f'the first line is a record and no header: it says "{record[:40]}"'
            hint = "Write one above it, such as image,label; if it is one, name columns of it with --columns"
            raise BadDataError(what, where=self.where, hint=hint)
        return columns

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        while (cells := self._next()) is not None:
            if not any(cells):
                continue
            if len(cells) > len(columns) and not any(cells[len(columns) :]):  # commas behind the last column
                cells = cells[: len(columns)]
            elif len(cells) < len(columns) and not any(columns[len(cells) :]):
                cells += [""] * (len(columns) - len(cells))
            if len(cells) != len(columns):
                what = f"{len(cells)} columns, the header has {len(columns)}"
                raise BadDataError(what, where=self.where)
            if cells == list(columns):
                hint = "Remove this line: it stays where files were put together"
                raise BadDataError("the header is here once more", where=self.where, hint=hint)
            named = {name: cell for name, cell in zip(columns, cells, strict=True) if name}
            yield Row(self.last().encode(), self.skipped + self.reader.line_num, named)

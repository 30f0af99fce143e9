"""The rows of a table with a header, one at a time, each with its bytes, so that it can be written again as it is."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from palitune.errors import BadDataError

SEPARATORS = ("\t", ",", ";", "|")
EXCEL = re.compile(rb'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's own first line, which names the separator
LONGEST_ROW = 1 << 20  # bytes
MARK = b"\xef\xbb\xbf"

Row = tuple[int, int, bytes]  # as `lines.Line`: number, bytes before it, and the row without its end


class Table(NamedTuple):
    """A table.

    Attributes:
      head: the bytes of everything above the first row, with the line's end.
      columns: the names of its columns; some may be empty.
      separator: what is between its cells.
    """

    head: bytes
    columns: tuple[str, ...]
    separator: str


def cells_of(text: str, separator: str, where: str) -> list[str]:
    """The cells of one row. Raises BadDataError: the quotation marks of a cell are not closed, or the like."""
    csv.field_size_limit(LONGEST_ROW)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        hint = "A cell that begins with a quotation mark ends with one, and those inside are doubled"
        raise BadDataError(f"broken CSV ({error})", where=where, hint=hint) from None
    if len(found) > 1:
        raise BadDataError("a row ends within a line", where=where)
    return found[0] if found else []


def row_of(cells: Sequence[str], separator: str) -> bytes:
    """A row without its end."""
    made = io.StringIO(newline="")
    csv.writer(made, delimiter=separator, lineterminator="").writerow(cells)
    return made.getvalue().encode()


def fitted(cells: list[str], columns: Sequence[str], where: str) -> dict[str, str]:
    """Cells by the names of their columns. Raises BadDataError: there are more or fewer than columns."""
    count = len(columns)
    if len(cells) > count and not any(cells[count:]):  # separators behind the last column
        cells = cells[:count]
    elif len(cells) < count and not any(columns[len(cells) :]):
        cells = cells + [""] * (count - len(cells))
    if len(cells) != count:
        raise BadDataError(f"{len(cells)} columns, the header has {count}", where=where)
    return {name: cell for name, cell in zip(columns, cells, strict=True) if name}


def rows(file: IO[bytes], table: Table, offset: int, number: int, name: str) -> Iterator[Row]:
    """The rows of a table behind its header, without empty ones and without headers of files that were joined.

    Args:
      file: behind the header.
      offset: bytes up to there.
      number: of the header's last line.
      name: of the file, for messages.

    Raises:
      BadDataError: a row is longer than `LONGEST_ROW`, as where a quotation mark is not closed.
    """
    separator = table.separator.encode()
    is_empty = True
    again = table.head.rstrip(b"\r\n").rpartition(b"\n")[2]
    while raw := file.readline(LONGEST_ROW + 2):
        start, first = offset, number + 1
        number += 1
        whole = raw
        if b'"' in raw:
            while _is_open(whole, separator) and len(whole) <= LONGEST_ROW and (more := file.readline(LONGEST_ROW)):
                whole += more
                number += 1
        if len(whole) > LONGEST_ROW:
            hint = "Is a quotation mark not closed? A cell that begins with one ends with one"
            raise BadDataError(f"the row is longer than {LONGEST_ROW:,} bytes", where=f"{name}:{first}", hint=hint)
        offset += len(whole)
        while whole.startswith(MARK):
            whole = whole[len(MARK) :]
            start += len(MARK)
        found = whole.rstrip(b"\r\n")
        if found.strip(separator + b" \t\r\n") and found != again:
            is_empty = False
            yield first, start, found
    if is_empty:
        hint = "It needs one record a line"
        raise BadDataError("this looks like a header, and no record is below it", where=f"{name}:{number}", hint=hint)


def _is_open(row: bytes, separator: bytes) -> bool:
    """Whether a row ends inside of a cell in quotation marks."""
    place, end = 0, len(row)
    while place < end:
        if row[place : place + 1] == b'"':
            place += 1
            while True:
                close = row.find(b'"', place)
                if close < 0:
                    return True
                if row[close + 1 : close + 2] != b'"':
                    place = close + 1
                    break
                place = close + 2
        following = row.find(separator, place)
        if following < 0:
            return False
        place = following + 1
    return False

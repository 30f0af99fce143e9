"""The lines of a file of text: one at a time, within limits, with their places."""

import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from palitune.data import file_signatures
from palitune.data.file_signatures import PARQUET, UTF16, FileKind
from palitune.data.formats import error_hints, parquet, table_rows
from palitune.data.formats.table_rows import Table
from palitune.errors import BadDataError, MissingInputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LONGEST = 2000  # characters of a name, a question or a label; attention's memory grows with the square
LONGEST_CONTENT = 100_000  # characters of a text that is asked about; its tokens are limited where a model is known
LONGEST_LINE = 1 << 20  # bytes without embedded images; no example comes near it, and what does is none
LONGEST_WITH_IMAGES = 32 << 20  # bytes of a line with embedded images
STDIN = Path("-")
KINDS = ("jsonl", "tsv", "csv")
MARK = b"\xef\xbb\xbf"  # a byte-order mark of UTF-8
BLANK = MARK + b" \t\r\n"
JSON_START = re.compile(rb"\s*\{\s*(\"|\}|$)")

# An embedded image; some write JSON with a backslash before each slash.
EMBEDDED = re.compile(rb"data:image\\?/[A-Za-z0-9+/=;,:.\\-]*")

# Number, bytes before it in the file, and the line without its end; what is longer than `LONGEST_LINE` is cut there, or
# at `LONGEST_WITH_IMAGES` where an embedded image begins before.
Line = tuple[int, int, bytes]


class Lines:
    """The lines of a file or of standard input. Keeps one at a time.

    Attributes:
      kind: "jsonl", "tsv" or "csv"; known from the first line on.
      table: its header, if it is a table with one; known from the first line on.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        """`name` is the file's in messages."""
        self.path = path
        self.name = name or ("stdin" if path == STDIN else str(path))
        self.kind: str | None = None
        self.table: Table | None = None

    def __iter__(self) -> Iterator[Line]:
        """The lines.

        Raises:
          MissingInputError: there is no such file.
          BadDataError: it holds no line, or is in another encoding than UTF-8.
        """
        offset = number = 0
        found = False
        with _opened(self.path) as original, contextlib.ExitStack() as stack:
            file: IO[bytes] = original
            kind = _foreign(original, self.name)
            if kind == UTF16:
                file = stack.enter_context(_in_utf8(original, self.name))
            elif kind == PARQUET:
                file = stack.enter_context(parquet.as_csv(original, self.name))
            readline = file.readline
            while raw := readline(LONGEST_LINE + 2):
                number += 1
                if len(raw) > LONGEST_LINE and not raw.endswith(b"\n") and EMBEDDED.search(raw):
                    raw += readline(LONGEST_WITH_IMAGES + 2 - len(raw))
                length = len(raw)
                while raw.startswith(MARK):  # of each file of which this one was put together
                    raw = raw[len(MARK) :]
                start = offset + length - len(raw)
                if length > LONGEST_LINE and not raw.endswith(b"\n"):
                    while (rest := readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                        length += len(rest)
                    length += len(rest)
                offset += length
                raw = raw.rstrip(b"\r\n")
                if not raw or raw.isspace():
                    continue
                if not found:
                    found = True
                    self.kind = "jsonl" if JSON_START.match(raw) else "tsv"
                    if self.kind == "tsv" and table_rows.EXCEL.match(raw + b"\n"):
                        second = readline(LONGEST_LINE)
                        number, offset, raw = number + 1, offset + len(second), raw + b"\n" + second.rstrip(b"\r\n")
                    if self.kind == "tsv" and (table := self._table(raw, MARK if start else b"", number)) is not None:
                        yield from table_rows.rows(file, table, offset, number, self.name)
                        break
                    if kind is not None:
                        hint = UTF16.hint if kind == UTF16 else "--text-column or --image-column names one"
                        what = "" if kind == UTF16 else ", and no column is an image or a text"
                        raise BadDataError(f"this is {kind.what}{what}", where=self.name, hint=hint)
                yield number, start, raw
        if not found:
            raise BadDataError("the file is empty", where=self.name, hint="It needs one record a line")

    def header(self, text: str, where: str) -> tuple[tuple[str, ...], str] | None:
        """The names of columns and what separates them, if a first line is the header of a table; else None."""
        return None

    def _table(self, raw: bytes, mark: bytes, number: int) -> Table | None:
        """The table that a first line is the header of, which is kept; None if it is none."""
        try:
            text = raw.rpartition(b"\n")[2].decode()
        except UnicodeDecodeError:  # which is said of the line
            return None
        found = self.header(text, f"{self.name}:{number}")
        if found is not None:
            self.table = Table(mark + raw + b"\n", *found)
            self.kind = "tsv" if self.table.separator == "\t" else "csv"
        return self.table

    def text(self, line: Line) -> tuple[str, str]:
        """`file:line` and the line as text. Raises BadDataError: it is not UTF-8, too long, or has a NUL character."""
        number, _, raw = line
        where = f"{self.name}:{number}"
        if len(raw) > LONGEST_LINE:
            _refuse_long(raw, where)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise BadDataError("not UTF-8 text", where=where, hint=_of_encoding(raw)) from None
        if "\0" in text:
            raise BadDataError("the line has a NUL character", where=where)
        return where, text


class _Replayed(io.RawIOBase):
    """A beginning, and behind it the rest of a stream."""

    def __init__(self, beginning: bytes, rest: io.FileIO) -> None:
        self.beginning, self.rest = memoryview(beginning), rest

    def readable(self) -> bool:
        """It can."""
        return True

    def readinto(self, target: "WriteableBuffer") -> int:
        """Fills a buffer, and returns with how many bytes."""
        view = memoryview(target)
        if not self.beginning:
            return self.rest.readinto(view) or 0
        part = self.beginning[: len(view)]
        view[: len(part)] = part
        self.beginning = self.beginning[len(part) :]
        return len(part)


_read_ahead = bytearray()  # the beginning of standard input, for whoever reads it next


def first_of_stdin() -> bytes:
    """The first line of standard input that is not blank; whoever reads it next gets everything nevertheless.

    Raises:
      MissingInputError: it is closed.
    """
    with _opened(STDIN).detach() as source:
        while part := source.read(1 << 16):
            _read_ahead.extend(part)
            if len(_read_ahead) > LONGEST_LINE or (b"\n" in part and b"\n" in _read_ahead.lstrip(BLANK)):
                break
    return bytes(_read_ahead.lstrip(BLANK).partition(b"\n")[0])


def _refuse_long(raw: bytes, where: str) -> None:
    """Raises BadDataError for a line that is too long: even without embedded images, or because of them."""
    if len(raw) > LONGEST_WITH_IMAGES:
        hint = "palitune convert takes images out of chats into files"
        raise BadDataError(f"the line is longer than {LONGEST_WITH_IMAGES:,} bytes", where=where, hint=hint)
    embedded = sum(found.end() - found.start() for found in EMBEDDED.finditer(raw))
    if len(raw) - embedded > LONGEST_LINE:
        more = " without its embedded images" if embedded else ""
        raise BadDataError(f"the line is longer than {LONGEST_LINE:,} bytes{more}", where=where)


def _opened(path: Path) -> io.BufferedReader:
    if path == STDIN:
        if sys.stdin is None:
            raise MissingInputError("standard input is closed", hint="Name a file")
        source = io.FileIO(sys.stdin.fileno(), closefd=False)
        if _read_ahead:
            beginning = bytes(_read_ahead)
            _read_ahead.clear()
            return io.BufferedReader(_Replayed(beginning, source), 1 << 16)
        return io.BufferedReader(source, 1 << 16)
    try:
        if path.is_dir():
            raise MissingInputError("cannot be read: it is a folder", where=str(path), hint=error_hints.of_folder(path))
        if path.is_char_device() or path.is_block_device():  # which may never end
            raise MissingInputError("not a file of records", where=str(path))
        return io.BufferedReader(io.FileIO(path), 1 << 18)
    except FileNotFoundError:
        raise MissingInputError("no such file", where=str(path), hint=error_hints.of_missing(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MissingInputError(f"cannot be read: {reason}", where=str(path)) from None


def _foreign(file: io.BufferedReader, name: str) -> FileKind | None:
    """UTF-16, as spreadsheets save tables, or Parquet, which is not standard input; None for a text.

    Raises:
      BadDataError: by its first bytes it is no text of examples; says what it is.
    """
    found = file_signatures.recognised(file.peek(file_signatures.HEAD)[: file_signatures.HEAD])
    if found is not None and found != UTF16 and not (found == PARQUET and file.seekable()):
        raise BadDataError(f"this is {found.what}", where=name, hint=found.hint)
    return found


def is_copied(path: Path) -> bool:
    """Whether a file is a table in UTF-16 or Parquet: what is read of it is a copy. Raises as `Lines.__iter__`."""
    with _opened(path) as file:
        return file_signatures.recognised(file.peek(file_signatures.HEAD)[: file_signatures.HEAD]) in (UTF16, PARQUET)


@contextlib.contextmanager
def _in_utf8(file: io.BufferedReader, name: str) -> Iterator[IO[bytes]]:
    """A copy of a file in UTF-16 that is UTF-8. Raises BadDataError: it is no text."""
    head = file.peek(2)[:2]
    kind = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le" if head[1:] == b"\0" else "utf-16-be"
    with tempfile.TemporaryFile() as copy:
        text = io.TextIOWrapper(file, kind, newline="")
        try:
            while part := text.read(1 << 18):
                copy.write(part.encode())
        except UnicodeError:
            raise BadDataError(f"this is {UTF16.what}, and damaged", where=name, hint=UTF16.hint) from None
        text.detach()
        copy.seek(0)
        yield copy


def _of_encoding(line: bytes) -> str:
    """What to do about a line that is not UTF-8."""
    try:
        line.decode("cp932")
    except UnicodeError:
        return "Save the file as UTF-8"
    return "Save the file as UTF-8; if it is Shift-JIS, palitune convert --encoding cp932 FILE > NEW.jsonl reads it"


def require_file(path: Path) -> None:
    """Raises MissingInputError unless a path can be read more than once."""
    if not path.exists():
        raise MissingInputError("no such file", where=str(path), hint=error_hints.of_missing(path))
    if path.is_dir():
        raise MissingInputError("cannot be read: it is a folder", where=str(path), hint=error_hints.of_folder(path))
    if not path.is_file():
        hint = "Use - for standard input, or write it into a file first"
        raise MissingInputError("not a file, and it is read more than once", where=str(path), hint=hint)

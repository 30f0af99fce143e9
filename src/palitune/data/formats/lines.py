"""The lines of a file of text: one at a time, within limits, with their places."""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from palitune.data import file_signatures
from palitune.data.formats import error_hints
from palitune.errors import BadDataError, MissingInputError

LONGEST = 2000  # characters of a name, a question or a label; attention's memory grows with the square
LONGEST_CONTENT = 100_000  # characters of a text that is asked about; its tokens are limited where a model is known
LONGEST_LINE = 1 << 20  # bytes; no example comes near it, and what does is none
STDIN = Path("-")
KINDS = ("jsonl", "tsv")
MARK = b"\xef\xbb\xbf"  # a byte-order mark of UTF-8
JSON_START = re.compile(rb"\s*\{\s*(\"|\}|$)")

# Number, bytes before it in the file, and the line without its end; what is longer than `LONGEST_LINE` is cut.
Line = tuple[int, int, bytes]


class Lines:
    """The lines of a file or of standard input. Keeps one at a time.

    Attributes:
      kind: "jsonl" or "tsv"; known from the first line on.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        """`name` is the file's in messages."""
        self.path = path
        self.name = name or ("stdin" if path == STDIN else str(path))
        self.kind: str | None = None

    def __iter__(self) -> Iterator[Line]:
        """The lines.

        Raises:
          MissingInputError: there is no such file.
          BadDataError: it holds no line, or is in another encoding than UTF-8.
        """
        offset = number = 0
        found = False
        with _opened(self.path) as file:
            readline = file.readline
            _refuse_foreign(file, self.name)
            while raw := readline(LONGEST_LINE + 2):
                number += 1
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
                yield number, start, raw
        if not found:
            raise BadDataError("the file is empty", where=self.name, hint="It needs one record a line")

    def text(self, line: Line) -> tuple[str, str]:
        """`file:line` and the line as text. Raises BadDataError: it is not UTF-8, too long, or has a NUL character."""
        number, _, raw = line
        where = f"{self.name}:{number}"
        if len(raw) > LONGEST_LINE:
            raise BadDataError(f"the line is longer than {LONGEST_LINE:,} bytes", where=where)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise BadDataError("not UTF-8 text", where=where, hint="Save the file as UTF-8") from None
        if "\0" in text:
            raise BadDataError("the line has a NUL character", where=where)
        return where, text


def _opened(path: Path) -> io.BufferedReader:
    if path == STDIN:
        if sys.stdin is None:
            raise MissingInputError("standard input is closed", hint="Name a file")
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), 1 << 16)
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


def _refuse_foreign(file: io.BufferedReader, name: str) -> None:
    """Raises BadDataError, with the kind of the file, if by its first bytes it is not a text of examples."""
    if (found := file_signatures.recognised(file.peek(file_signatures.HEAD)[: file_signatures.HEAD])) is not None:
        raise BadDataError(f"this is {found.what}", where=name, hint=found.hint)


def require_file(path: Path) -> None:
    """Raises MissingInputError unless a path can be read more than once."""
    if not path.exists():
        raise MissingInputError("no such file", where=str(path), hint=error_hints.of_missing(path))
    if path.is_dir():
        raise MissingInputError("cannot be read: it is a folder", where=str(path), hint=error_hints.of_folder(path))
    if not path.is_file():
        hint = "Use - for standard input, or write it into a file first"
        raise MissingInputError("not a file, and it is read more than once", where=str(path), hint=hint)

"""Text files of other programs: their encoding, their lines, and their whole text."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from palitune.data import file_signatures
from palitune.data.formats.lines import require_file
from palitune.data.formats.options import Options
from palitune.errors import BadDataError, MissingInputError, UsageError

LARGEST = 1 << 30  # bytes of a file that is read whole
LONGEST_LINE = 64 << 20  # bytes of a line, which may have an image inside
MARK = "\ufeff"  # a byte-order mark, which joined files have in their middle too


def head_of(path: Path) -> bytes:
    """Returns the first bytes of a file. Raises MissingInputError if it cannot be read."""
    require_file(path)
    try:
        with path.open("rb") as file:
            return file.read(file_signatures.HEAD)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def encoding_of(path: Path, options: Options) -> str:
    """Returns the encoding of a text file: the one that was asked for, the one of its byte-order mark, or UTF-8.

    Raises:
      BadDataError: by its first bytes, the file is not text.
      UsageError: there is no encoding of this name.
    """
    head = head_of(path)
    found = file_signatures.recognised(head)
    if found is not None and found != file_signatures.UTF16:
        raise BadDataError(f"this is {found.what}", where=str(path), hint=found.hint)
    if options.encoding:
        try:
            b"a".decode(codecs.lookup(options.encoding).name, "replace")
        except (LookupError, UnicodeError, ValueError):
            hint = "cp932 is Shift-JIS, utf-16 what Excel calls Unicode text"
            raise UsageError(f"--encoding: there is no {options.encoding}", hint=hint) from None
        return options.encoding
    if found is None:
        return "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"


def read_text(path: Path, options: Options) -> str:
    """Returns the text of a whole file.

    Raises:
      MissingInputError, BadDataError: it cannot be read, is too large, is not text, or has another encoding.
    """
    encoding = encoding_of(path, options)
    try:
        if path.stat().st_size > LARGEST:
            raise BadDataError(f"larger than {LARGEST:,} bytes", where=str(path))
        raw = path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        return raw.decode(encoding).removeprefix(MARK)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        where = f"{path}:{raw.count(10, 0, start) + 1}"
        line = raw[raw.rfind(b"\n", 0, start) + 1 :].partition(b"\n")[0]
        raise BadDataError(_not(encoding), where=where, hint=other_encoding(line)) from None


def _not(encoding: str) -> str:
    return "not UTF-8 text" if encoding == "utf-8-sig" else f"not {encoding} text"


def other_encoding(line: bytes) -> str:
    """Returns what to do about a line that is not UTF-8."""
    try:
        line.decode("cp932")
    except UnicodeError:
        return "Save the file as UTF-8, or name its encoding with --encoding"
    return "If it is Shift-JIS, --encoding cp932 reads it; else save the file as UTF-8"


def read_lines(path: Path, options: Options) -> Iterator[tuple[str, str]]:
    """Yields lines that are not empty, with `file:line`; lines that are not text are lost. Raises as `read_text`."""
    encoding = encoding_of(path, options)
    if encoding != "utf-8-sig":
        for number, line in enumerate(read_text(path, options).split("\n"), 1):
            if line.strip():
                yield f"{path}:{number}", line.rstrip("\r").removeprefix(MARK)
        return
    number = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                where = f"{path}:{number}"
                if len(raw) > LONGEST_LINE:
                    while not raw.endswith(b"\n") and (raw := file.readline(LONGEST_LINE)):
                        pass
                    options.lose(f"a line is longer than {LONGEST_LINE:,} bytes", where)
                    continue
                try:
                    line = raw.decode().rstrip("\r\n").removeprefix(MARK)
                except UnicodeDecodeError:
                    options.lose("not UTF-8 text", where, hint=other_encoding(raw))
                    continue
                if line.strip():
                    yield where, line
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def starts_with(path: Path, character: str, options: Options) -> bool:
    """Returns whether the first character other than blanks is this one. Raises as `read_text`."""
    encoding = encoding_of(path, options)
    start = head_of(path).decode(encoding, "replace").removeprefix(MARK)
    return start.lstrip().startswith(character)

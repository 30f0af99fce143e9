"""Labelled pictures as lines of text: JSONL, or TSV without a header; which of them, the first line tells.

JSONL: `{"image": "images/a.jpg", "prefix": "", "suffix": "yes"}`, and any other keys.
TSV: `image, label`, or as inference writes it `image, correct, p_yes, label, answer`.
"""

import io
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune.data import file_signatures
from palitune.data.formats import error_hints
from palitune.data.formats.json_lines import RECORD
from palitune.data.formats.json_lines import parse_object as parse_object
from palitune.data.formats.json_lines import to_json as to_json
from palitune.data.image_folders import ImageFolders
from palitune.data.invisible_characters import shown
from palitune.data.labels import LABELS as LABELS
from palitune.data.labels import plain, plain_set
from palitune.errors import BadDataError, MissingInputError

LONGEST = 2000  # characters of a text; attention's memory grows with the square
LONGEST_LINE = 1 << 20  # bytes; no record comes near it, and what does is no record
STDIN = Path("-")
KINDS = ("jsonl", "tsv")
NOWHERE = Path()
MARK = b"\xef\xbb\xbf"  # a byte-order mark of UTF-8
JSON_START = re.compile(rb"\s*\{\s*(\"|\}|$)")
HEADS = ("image", "file", "filename", "file_name", "path", "image_path", "picture")  # of tables' columns
LABEL_HEADS = ("suffix", "label", "answer", "class", "caption", "target")


class Record(NamedTuple):
    """One line.

    Attributes:
      name: the picture as the line names it.
      suffix: the right answer; empty where none is known.
      where: `file:line`, for messages.
      answer: what a model said, where the line tells; with `p_yes`, how sure of yes it was, from 0 to 1.
      fields: of a line of JSON everything, unknown keys too.
      image: the picture's file, once it has been looked for.
    """

    name: str
    prefix: str
    suffix: str
    where: str
    answer: str | None = None
    p_yes: float | None = None
    fields: dict[str, Any] = {}  # noqa: RUF012 (shared by all records of a TSV, and never changed)
    image: Path = NOWHERE


# Number, bytes before it in the file, and the line without its end; what is longer than `LONGEST_LINE` is cut.
Line = tuple[int, int, bytes]


class Reader:
    """The lines of a file, and records of them. Keeps one line at a time.

    Attributes:
      kind: "jsonl" or "tsv"; known from the first line on.
    """

    def __init__(self, path: Path, labelled: bool = True, name: str | None = None) -> None:
        """Args:
        path: a file, or `-` for standard input.
        labelled: a record needs a label.
        name: of the file in messages.
        """
        self.path, self.labelled = path, labelled
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

    def records(self) -> Iterator[tuple[Line, Record]]:
        """All lines with their records. Raises as `__iter__` and `record`."""
        lines, record = self.__iter__(), self.record
        try:
            for line in lines:
                yield line, record(line)
        finally:
            lines.close()  # type: ignore[attr-defined]  # and the file with it, whoever keeps the error

    def record(self, line: Line) -> Record:
        """Raises BadDataError: the line is no record."""
        where, text = self.text(line)
        if self.kind == "jsonl":
            return parse_json(text, where, self.labelled)
        return parse_tsv(text, where, self.labelled)

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
    """Raises BadDataError: by its first bytes the file is no text of records, and what it is instead."""
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


def stream(path: Path, labelled: bool = True) -> Iterator[Record]:
    """The records of a file or of standard input, one after another.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: the file is empty, or a line is no record.
    """
    return (record for _, record in Reader(path, labelled).records())


def read(path: Path, folders: ImageFolders | None = None) -> list[Record]:
    """All records of a file, with their pictures' files. Raises as `stream` and `ImageFolders.locate`."""
    folders = folders or ImageFolders.beside(path)
    return [record._replace(image=folders.locate(record.name, record.where)) for record in stream(path)]


def parse_json(text: str, where: str, labelled: bool = True) -> Record:
    """A record from one line of JSON.

    Raises:
      BadDataError: as `parse_object`; `image` or `suffix` is missing or not text.
    """
    fields = parse_object(text, where)
    get: Any = fields.get
    name, suffix, prefix = get("image"), get("suffix"), get("prefix", "")
    usual = type(name) is str and type(prefix) is str and suffix in LABELS and len(text) < LONGEST
    if not usual or not name or name.isspace() or "\\u" in text:
        name = _text(fields, "image", where)
        suffix = _label(_text(fields, "suffix", where)) if labelled or suffix not in (None, "") else ""
        prefix = _text(fields, "prefix", where) if fields.get("prefix") is not None else ""
        _check_characters(fields, where)
    answer, p_yes = get("answer"), get("p_yes")
    if type(answer) is not str or type(p_yes) not in (int, float) or not 0 <= p_yes <= 1:
        answer = p_yes = None  # keys of somebody else's
    return Record(name, prefix, suffix, where, answer, p_yes, fields)


def _text(fields: dict[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if type(value) is str and 0 < len(value) <= LONGEST and (key == "prefix" or not value.isspace()):
        return value
    if key not in fields:
        raise BadDataError(f'the record has no "{key}"', where=where, hint=error_hints.of_keys(fields))
    if not isinstance(value, str):
        what = f'"{key}" must be text, not {json.dumps(value, ensure_ascii=False)[:40]}'
        raise BadDataError(what, where=where, hint=error_hints.of_value(key, value))
    if len(value) > LONGEST:
        what = f'"{key}" has {len(value):,} characters, {LONGEST:,} are allowed'
        raise BadDataError(what, where=where, hint=error_hints.of_long_value(key, value))
    if key != "prefix":
        raise BadDataError(f'"{key}" is empty', where=where, hint=RECORD)
    return value


def _check_characters(fields: dict[str, Any], where: str) -> None:
    """What JSON can write with \\u and no file's name can hold."""
    for key in ("image", "suffix", "prefix"):
        value = fields.get(key) or ""
        if "\0" in value:
            raise BadDataError(f'"{key}" has a NUL character', where=where)


def _label(text: str) -> str:
    """Answers are compared without regard to case, so "Yes" is learned as "yes"."""
    said = plain(text)
    return said if said in LABELS else text


def parse_tsv(text: str, where: str, labelled: bool = True) -> Record:
    """A record from one line of `image, label` or `image, correct, p_yes, label, answer`.

    What spreadsheets make of such lines is read too: TRUE, 0,93, and tabs behind the last column.

    Raises:
      BadDataError: other columns, or an empty one.
    """
    columns = text.split("\t")
    if len(columns) > 2 and not columns[-1]:
        columns = _without_empty(columns)
    answer = p_yes = None
    if len(columns) == 2:
        name, suffix = columns
    elif len(columns) == 5:
        name, correct, share, suffix, answer = columns
        p_yes = _share(share)
        if correct.upper() not in error_hints.VERDICTS or p_yes is None:
            _refuse_head(name, suffix, where)
            raise BadDataError(
                "of five columns the second is True or False and the third a number from 0 to 1",
                where=where,
                hint=error_hints.TSV,
            )
    elif len(columns) == 1 and not labelled:
        name, suffix = text, ""
    else:
        columns_found = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        raise BadDataError(f"{columns_found} between tabs", where=where, hint=error_hints.of_columns(columns))
    _refuse_head(name, suffix, where)
    if not name or name.isspace():
        raise BadDataError("the image's name is empty", where=where, hint=error_hints.TSV)
    if labelled and (not suffix or suffix.isspace()):
        raise BadDataError("the label is empty", where=where, hint=error_hints.TSV)
    if len(text) > LONGEST:
        for what, value in (("the image's name", name), ("the label", suffix), ("the answer", answer or "")):
            if len(value) > LONGEST:
                raise BadDataError(f"{what} has {len(value):,} characters, {LONGEST:,} are allowed", where=where)
    return Record(name, "", suffix if suffix in LABELS else _label(suffix), where, answer, p_yes)


def _without_empty(columns: list[str]) -> list[str]:
    """Without what spreadsheets leave behind the last column."""
    used = next((number for number in range(len(columns), 0, -1) if columns[number - 1]), 0)
    wanted = 2 if used <= 2 else 5
    return columns[:wanted] if used <= wanted <= len(columns) else columns


def _refuse_head(name: str, suffix: str, where: str) -> None:
    if name.lower() in HEADS and suffix.lower() in LABEL_HEADS:
        hint = "palitune convert reads tables that have one"
        raise BadDataError("this looks like a header", where=where, hint=hint)


def _share(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))  # where numbers are written with a comma
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def require_labels(records: Sequence[Record], labels: Sequence[str] = LABELS) -> None:
    """Raises BadDataError at the first suffix that is none of the labels: a confusion matrix needs known classes."""
    known = plain_set(labels)
    for record in records:
        if record.suffix not in known and plain(record.suffix) not in known:
            none_of = "neither yes nor no" if tuple(labels) == LABELS else f"none of {', '.join(labels)}"
            hint = error_hints.YES_OR_NO if tuple(labels) == LABELS else "--labels names others"
            if renamed := error_hints.of_label(record.suffix):
                hint = f"A confusion matrix needs yes or no: {renamed}"
            raise BadDataError(f"suffix {shown(record.suffix)} is {none_of}", where=record.where, hint=hint)


def to_tsv(record: Record) -> str:
    """A line of TSV. Raises BadDataError where a name or a label has a tab or a line break, which TSV cannot hold."""
    for what, value in (("image's name", record.name), ("label", record.suffix)):
        if "\t" in value or "\n" in value or "\r" in value:
            raise BadDataError(f"the {what} has a tab or a line break", where=record.where, hint="Use JSONL")
    return f"{record.name}\t{record.suffix}"


def to_answer(record: Record, correct: bool, p_yes: float, answer: str) -> str:
    """The line that inference writes: image, correct, p_yes, label, answer. Raises as `to_tsv`.

    An answer is written as it is; tabs and line breaks, which would end its column, are blanks.
    """
    _, _, label = to_tsv(record).rpartition("\t")
    said = re.sub(r"[\t\r\n]+", " ", answer).strip(" ") if re.search(r"[\t\r\n]", answer) else answer
    return f"{record.name}\t{correct if label else ''}\t{p_yes:.6f}\t{label}\t{said}"

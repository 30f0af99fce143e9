"""Labelled pictures as lines of JSON: `{"image": "images/a.jpg", "prefix": "", "suffix": "yes"}`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune.errors import BadDataError, MissingInputError

LABELS = ("yes", "no")
LONGEST = 2000  # characters of a text; attention's memory grows with the square


class Record(NamedTuple):
    """One line. `where` is its `file:line`, for messages."""

    image: Path
    prefix: str
    suffix: str
    where: str


def read_lines(path: Path) -> list[tuple[str, str]]:
    """(`file:line`, text) of every line that is not blank.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is not UTF-8, or holds no line.
    """
    try:
        if path.is_char_device() or path.is_block_device():  # which may never end
            raise MissingInputError("not a file of records", where=str(path))
        raw = path.read_bytes()
    except FileNotFoundError:
        raise MissingInputError("no such file", where=str(path)) from None
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    lines = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        where = f"{path}:{number}"
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise BadDataError("not UTF-8 text", where=where, hint="Save the file as UTF-8") from None
        if text.strip():
            lines.append((where, text))
    if not lines:
        raise BadDataError("the file is empty", where=str(path), hint="It needs one JSON record a line")
    return lines


def parse(text: str, where: str, folders: Sequence[Path]) -> Record:
    """A record from one line of JSON. Its image is looked for in `folders`, in order.

    Raises:
      BadDataError: broken JSON, or `image` or `suffix` missing or not text.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError of its own for numbers of thousands of digits
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise BadDataError(f"broken JSON ({detail})", where=where, hint=_example()) from None
    if not isinstance(fields, dict):
        raise BadDataError("a record must be a JSON object", where=where, hint=_example())
    image, suffix = _text(fields, "image", where), _text(fields, "suffix", where)
    prefix = _text(fields, "prefix", where) if fields.get("prefix") is not None else ""
    if "\0" in image:
        raise BadDataError("the image's name has a NUL character", where=where)
    # Answers are compared without regard to case, so "Yes" is learned as "yes".
    if suffix.strip().lower() in LABELS:
        suffix = suffix.strip().lower()
    candidates = [folder / image for folder in folders]
    found = next((path for path in candidates if _exists(path)), candidates[0])
    return Record(found, prefix, suffix, where)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than the system allows
        return False


def _text(fields: dict[str, Any], key: str, where: str) -> str:
    if key not in fields:
        raise BadDataError(f'the record has no "{key}"', where=where, hint=_example())
    value = fields[key]
    if not isinstance(value, str):
        raise BadDataError(f'"{key}" must be text, not {json.dumps(value)[:40]}', where=where, hint=_example())
    if key != "prefix" and not value.strip():
        raise BadDataError(f'"{key}" is empty', where=where, hint=_example())
    if len(value) > LONGEST:
        raise BadDataError(f'"{key}" has {len(value):,} characters, {LONGEST:,} are allowed', where=where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadDataError(f'"{key}" has half of a surrogate pair, which is no character', where=where) from None
    return value


def _example() -> str:
    return 'A record is a line like {"prefix":"","suffix":"no","image":"images/NG_image101.jpg"}'


def read(path: Path, images: Path | None = None) -> list[Record]:
    """All records of a file. Images are relative to `images`, or else to the file's folder or the one above it."""
    folders = [images] if images is not None else [path.parent, path.resolve().parent.parent]
    return [parse(text, where, folders) for where, text in read_lines(path)]


def require_labels(records: Sequence[Record]) -> None:
    """Raises BadDataError at the first suffix that is neither yes nor no: a confusion matrix has two classes."""
    for record in records:
        if record.suffix not in LABELS:
            hint = "A confusion matrix needs yes or no"
            raise BadDataError(f'suffix "{record.suffix[:40]}" is neither yes nor no', where=record.where, hint=hint)

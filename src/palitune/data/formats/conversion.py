"""What the readers of other people's formats share.

Fields are a dictionary with `image`, `suffix`, where there is a question `prefix`, and whatever else was there.
"""

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune.data import file_signatures
from palitune.data.formats import json_lines
from palitune.data.formats.conversion_losses import Losses
from palitune.data.formats.embedded_images import Embedded
from palitune.data.formats.lines import require_file
from palitune.errors import BadDataError, MissingInputError, UsageError, listed

Fields = dict[str, Any]
Lists = dict[str, Iterable[Any]]  # what one JSON object holds
Found = Iterator[tuple[str, Fields]]  # where a record is, for messages, and its fields
LARGEST = 1 << 30  # bytes of a file that is read whole
LONGEST_LINE = 64 << 20  # bytes of a line, which may have an image inside
MARK = "\ufeff"  # a byte-order mark, which joined files have in their middle too
NO_VALUES = ("", "nan", "<na>", "#n/a", "null")  # what tables say where there is nothing
OWN = ("image", "prefix", "suffix")


class Options(NamedTuple):
    """What a format may need to be told."""

    image: str | None = None  # columns of a table, or keys of tasks
    label: str | None = None  # also the control of Label Studio
    prefix: str | None = None
    annotations: Path | None = None  # the second file of VQA
    embedded: Embedded | None = None  # where images go that are inside of the file
    losses: Losses | None = None  # what cannot be carried over is counted here; without it the first one is an error
    majority: bool = False  # of several people's answers the most frequent
    turns: bool = False  # a record for each question of a chat
    encoding: str | None = None
    formulas: bool = False  # cells of a CSV are what they are
    numbers: bool = False  # "id" is the source's own count of its tasks

    def lose(self, what: str, where: str, detail: str = "", hint: str = "", missing: bool = False) -> None:
        """Counts what cannot be carried over. Raises BadDataError or MissingInputError where nobody counts."""
        if self.losses is None:
            error = MissingInputError if missing else BadDataError
            raise error(f"{what}: {detail}" if detail else what, where=where, hint=hint or None)
        self.losses.add(what, where, detail, hint, missing)

    def remark(self, what: str, where: str, detail: str = "", hint: str = "") -> None:
        if self.losses is not None:
            self.losses.remark(what, where, detail, hint)


def head_of(path: Path) -> bytes:
    """First bytes of a file. Raises MissingInputError: it cannot be read."""
    require_file(path)
    try:
        with path.open("rb") as file:
            return file.read(file_signatures.HEAD)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def encoding_of(path: Path, options: Options) -> str:
    """The encoding of a text: what was asked for, what its byte-order mark says, or UTF-8.

    Raises:
      BadDataError: by its first bytes it is something else than text.
      UsageError: there is no such encoding.
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


def text(path: Path, options: Options) -> str:
    """A whole file.

    Raises:
      MissingInputError, BadDataError: it cannot be read, is too large, is no text, or in another encoding.
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
    """What to do about a line that is not in UTF-8."""
    try:
        line.decode("cp932")
    except UnicodeError:
        return "Save the file as UTF-8, or name its encoding with --encoding"
    return "If it is Shift-JIS, --encoding cp932 reads it; else save the file as UTF-8"


def lines(path: Path, options: Options) -> Iterator[tuple[str, str]]:
    """The lines that are not empty, with `file:line`; those that are no text are lost. Raises as `text`."""
    encoding = encoding_of(path, options)
    if encoding != "utf-8-sig":
        for number, line in enumerate(text(path, options).split("\n"), 1):
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


def parsed(path: Path, options: Options) -> Any:
    """A file that is one JSON value. Raises as `text`, and BadDataError for broken JSON."""
    try:
        return json.loads(text(path, options), **json_lines.STRICT)
    except json.JSONDecodeError as error:
        hint = None
        if error.msg == "Extra data":
            hint = "There are several JSON values, and not one a line: jq -c . FILE writes them so"
        raise BadDataError(f"broken JSON ({error.msg})", where=f"{path}:{error.lineno}", hint=hint) from None
    except RecursionError:
        raise BadDataError("broken JSON (nested too deeply)", where=str(path)) from None
    except ValueError as error:
        raise BadDataError(f"broken JSON ({str(error).partition(';')[0][:80]})", where=str(path)) from None


def lists_of(path: Path, options: Options, *keys: str) -> Fields:
    """A file that is one JSON object with lists under these keys. Raises as `parsed`."""
    found = parsed(path, options)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in keys):
        there = f"; there are {', '.join(map(str, found))[:200] or 'none'}" if isinstance(found, dict) else ""
        raise BadDataError(f"it must be an object with lists {' and '.join(keys)}{there}", where=str(path))
    return found


def entries(found: Fields, key: str, path: Path, *wanted: str) -> Iterator[tuple[str, Fields]]:
    """The objects of one of these lists, each with texts or numbers under the wanted keys. Raises BadDataError."""
    for number, entry in enumerate(found[key], 1):
        where = f"{path}: {key} {number}"
        if not isinstance(entry, dict):
            raise BadDataError("it must be an object", where=where)
        for name in wanted:
            if name not in entry:
                raise BadDataError(f"there is no {name}; there are {', '.join(entry)[:200] or 'none'}", where=where)
            if not isinstance(entry[name], (str, int)) or isinstance(entry[name], bool):
                raise BadDataError(f"{name} must be text or a number", where=where)
        yield where, entry


def numbered(found: Fields, key: str, path: Path, number: str, name: str) -> dict[str | int, Fields]:
    """Objects by their number. Raises as `entries`, and BadDataError: two of one number with different names."""
    by_number: dict[str | int, Fields] = {}
    for where, entry in entries(found, key, path, number, name):
        if by_number.setdefault(entry[number], entry)[name] != entry[name]:
            what = f"{number} {entry[number]} is there twice, with different {name}"
            raise BadDataError(what, where=where)
    return by_number


def label_text(value: Any) -> str | None:
    """A label as text, whatever kind of value says it; None for one that says nothing, or is no single label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and len(value) == 1:
        return label_text(value[0])
    return value if isinstance(value, str) and value.strip().lower() not in NO_VALUES else None


def agreed(values: list[str], what: str, where: str, options: Options, hint: str = "") -> str | None:
    """The label that several sources agree on, or with `majority` the most frequent; None where it is lost.

    Args:
      what: the kind of loss.
    """
    counts = Counter(value.strip() for value in values).most_common()
    if len(counts) == 1:
        return values[0]
    said = listed([f"{count} {value[:40]}" for value, count in counts])
    if not options.majority:
        more = "--majority takes the most frequent one"
        options.lose(what, where, said, f"{hint}; {more}" if hint else more)
        return None
    if counts[0][1] == counts[1][1]:
        options.lose("no answer is the most frequent", where, said)
        return None
    return counts[0][0]


def with_rest(fields: Fields, rest: Mapping[str, Any], where: str, options: Options) -> Fields:
    """Fields with what else was there; a key that has another meaning in records is lost."""
    for key, value in rest.items():
        if key not in OWN:
            fields[key] = value
        elif value not in ("", None):
            hint = "Give it another name first"
            options.lose(f'another "{key}" has no place in a record', where, str(value)[:80], hint)
    return fields


def starts_with(path: Path, character: str, options: Options) -> bool:
    """Whether the first character that is no blank is this one. Raises as `text`."""
    encoding = encoding_of(path, options)
    start = head_of(path).decode(encoding, "replace").removeprefix(MARK)
    return start.lstrip().startswith(character)

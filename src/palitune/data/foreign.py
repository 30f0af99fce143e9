"""What the readers of other people's formats share.

Fields are a dictionary with `image`, `suffix`, where there is a question `prefix`, and whatever else was there.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from palitune.data.records import require_file
from palitune.errors import BadDataError, MissingInputError

Fields = dict[str, Any]
LARGEST = 1 << 30  # bytes of a file that is read whole


class Options(NamedTuple):
    """What a format may need to be told."""

    image: str | None = None  # columns of a table, or keys of tasks
    label: str | None = None
    prefix: str | None = None
    annotations: Path | None = None  # the second file of VQA
    pictures: Path | None = None  # where embedded pictures go


def text(path: Path) -> str:
    """A whole file. Raises MissingInputError or BadDataError: it cannot be read, is too large, or is not UTF-8."""
    require_file(path)
    try:
        if path.stat().st_size > LARGEST:
            raise BadDataError(f"larger than {LARGEST:,} bytes", where=str(path))
        raw = path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadDataError("this is UTF-16 text", where=str(path), hint="Save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise BadDataError("not UTF-8 text", where=f"{path}:{number}", hint="Save the file as UTF-8") from None


def parsed(path: Path) -> Any:
    """A file that is one JSON value. Raises as `text`, and BadDataError for broken JSON."""
    try:
        return json.loads(text(path))
    except json.JSONDecodeError as error:
        raise BadDataError(f"broken JSON ({error.msg})", where=f"{path}:{error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"broken JSON ({str(error)[:80]})", where=str(path)) from None


def lists_of(path: Path, *keys: str) -> Fields:
    """A file that is one JSON object with lists under these keys. Raises as `parsed`."""
    found = parsed(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in keys):
        raise BadDataError(f"it must be an object with lists {' and '.join(keys)}", where=str(path))
    return found


def entries(found: Fields, key: str, path: Path, *wanted: str) -> Iterator[Fields]:
    """The objects of one of these lists, each with texts or numbers under the wanted keys. Raises BadDataError."""
    for number, entry in enumerate(found[key], 1):
        if not isinstance(entry, dict) or not all(name in entry for name in wanted):
            raise BadDataError(f"{key} {number} has no {' or no '.join(wanted)}", where=str(path))
        if not all(isinstance(entry[name], (str, int)) for name in wanted):
            raise BadDataError(f"{key} {number}: {' and '.join(wanted)} must be texts or numbers", where=str(path))
        yield entry

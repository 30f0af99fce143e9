"""JSON documents: a file that is one JSON value, and objects in its lists."""

import json
from collections.abc import Iterator
from pathlib import Path

from palitune.data.formats import json_lines, text_files
from palitune.data.formats.options import Fields, Options
from palitune.errors import BadDataError


def read_json(path: Path, options: Options) -> object:
    """Returns the value of a file that is one JSON value. Raises as `read_text`, and BadDataError for broken JSON."""
    try:
        return json.loads(text_files.read_text(path, options), **json_lines.STRICT)
    except json.JSONDecodeError as error:
        hint = None
        if error.msg == "Extra data":
            hint = "There are several JSON values, and not one a line: jq -c . FILE writes them so"
        raise BadDataError(f"broken JSON ({error.msg})", where=f"{path}:{error.lineno}", hint=hint) from None
    except RecursionError:
        raise BadDataError("broken JSON (nested too deeply)", where=str(path)) from None
    except ValueError as error:
        raise BadDataError(f"broken JSON ({str(error).partition(';')[0][:80]})", where=str(path)) from None


def read_lists(path: Path, options: Options, *keys: str) -> Fields:
    """Returns the value of a file that is one JSON object with lists under these keys. Raises as `read_json`."""
    found = read_json(path, options)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in keys):
        there = f"; there are {', '.join(map(str, found))[:200] or 'none'}" if isinstance(found, dict) else ""
        raise BadDataError(f"it must be an object with lists {' and '.join(keys)}{there}", where=str(path))
    return found


def entries(found: Fields, key: str, path: Path, *wanted: str) -> Iterator[tuple[str, Fields]]:
    """Yields the objects of one of these lists; raises BadDataError if one has no text or number at a wanted key."""
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


def by_number(found: Fields, key: str, path: Path, number: str, name: str) -> dict[str | int, Fields]:
    """Returns objects by number. Raises as `entries`, and BadDataError if two of one number have different names."""
    by_number: dict[str | int, Fields] = {}
    for where, entry in entries(found, key, path, number, name):
        if by_number.setdefault(entry[number], entry)[name] != entry[name]:
            what = f"{number} {entry[number]} is there twice, with different {name}"
            raise BadDataError(what, where=where)
    return by_number

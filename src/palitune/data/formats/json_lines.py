"""A line of JSON as an object, and back; stricter than Python's own parser, as JSON and examples require."""

import collections
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from palitune.errors import BadDataError

Fields = dict[str, Any]  # a JSON object
DEEPEST = 100  # levels of objects and lists
RECORD = 'A record is a line like {"prefix":"","suffix":"no","image":"images/NG_image101.jpg"}'
BACKSLASH = r"JSON reads a backslash as the beginning of an escape: write / or \\ in names like images\\a.jpg"
WHOLE = "palitune convert reads what is one JSON value from beginning to end"
JOINED = "Two lines are one here: were files put together of which one has no line break at its end?"


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a value in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f'the key "{twice[:40]}" is there twice')
    return fields


class _Numbers(TypedDict):
    parse_constant: Callable[[str], None]
    parse_float: Callable[[str], float]


class _Strict(_Numbers):
    object_pairs_hook: Callable[[list[tuple[str, object]]], dict[str, object]]


_numbers: _Numbers = {"parse_constant": _no_number, "parse_float": _finite}
STRICT: _Strict = {**_numbers, "object_pairs_hook": _once}  # for `json.loads`; raises ValueError
# `scan_once` is three times as quick as `decode`, which looks for blanks.
_scan = json.JSONDecoder(**_numbers).scan_once  # type: ignore[attr-defined]
_scan_once = json.JSONDecoder(**STRICT).scan_once  # type: ignore[attr-defined]


def parse_object(text: str, where: str) -> Fields:
    """Returns the object of a line. Raises BadDataError for broken JSON, another value, or a repeated key."""
    hint = None
    try:
        text = text.strip(" \t\r\n")
        fields, end = _scan(text, 0)
        if end != len(text):
            hint = _of_rest(text[end:])
            raise ValueError(f"something follows its end, at column {end + 1}")
        # As many colons as keys: none of them was lost to another of the same name. Else it is parsed again.
        if type(fields) is dict and len(fields) != text.count(":"):
            fields, _ = _scan_once(text, 0)
    except (ValueError, RecursionError, StopIteration) as error:
        if isinstance(error, RecursionError):
            detail = "nested too deeply"
        elif isinstance(error, StopIteration):
            detail = f"no value at column {error.value + 1}"
        else:
            detail = str(error).partition(";")[0]  # numbers of thousands of digits have an error of their own
        hint = hint or _of_error(detail, text)
        raise BadDataError(f"broken JSON ({detail})", where=where, hint=hint or RECORD) from None
    if type(fields) is not dict:
        raise BadDataError("a record must be a JSON object", where=where, hint=f"{RECORD}. {WHOLE}")
    if text.count("{") + text.count("[") > DEEPEST and _is_deeper(fields):
        raise BadDataError("broken JSON (nested too deeply)", where=where, hint=RECORD)
    if "\\ud" in text or "\\uD" in text:
        try:
            to_json(fields).encode()
        except UnicodeEncodeError:
            what = "the line has half of a surrogate pair, which is not a character"
            raise BadDataError(what, where=where) from None
    return fields


def _of_rest(rest: str) -> str | None:
    """Returns a hint for text after the object."""
    if rest.lstrip().startswith(("{", "\ufeff")):
        mark = " There is a byte-order mark (BOM) between them" if "\ufeff" in rest[:8] else ""
        return f"{JOINED}{mark}"
    return "A line is one record, without a comma behind it" if rest.strip() == "," else None


def _of_error(detail: str, text: str) -> str | None:
    """Returns a hint for a line that is not JSON, or None."""
    if "escape" in detail:
        return BACKSLASH
    if text.rstrip() in ("{", "[", "[{") or (text.endswith((",", "{", "[")) and text.count('"') <= 4):
        return f"{RECORD}. {WHOLE}"
    if text.startswith(("{'", "{ '")):
        return f"Python's quotes are not JSON: write them with json.dumps. {RECORD}"
    return None


def _is_deeper(fields: Mapping[str, object]) -> bool:
    """Returns whether there is something `DEEPEST` levels down."""
    level: list[object] = [fields]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for one in level:
            values = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            inner += [value for value in values if isinstance(value, (dict, list))]
        if not inner:
            return False
        level = inner
    return True


def to_json(fields: object) -> str:
    """Returns a value as a line of JSONL."""
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

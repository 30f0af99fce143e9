"""Examples as lines of JSON: `{"image": "images/a.jpg", "prefix": "", "suffix": "yes"}`, and any other keys."""

import json
from typing import Any

from palitune.data.example import Example, simple
from palitune.data.formats import error_hints
from palitune.data.formats.json_lines import RECORD, Fields, parse_object
from palitune.data.formats.lines import LONGEST
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.labels import LABELS, canonical


def parse(text: str, where: str, labelled: bool = True) -> Example:
    """The example of one line of JSON.

    Raises:
      BadDataError: as `parse_object`; `image` or `suffix` is missing or not text.
    """
    fields = parse_object(text, where)
    get: Any = fields.get
    name, suffix, prefix = get("image"), get("suffix"), get("prefix", "")
    usual = type(name) is str and type(prefix) is str and suffix in LABELS and len(text) < LONGEST
    if not usual or not name or name.isspace() or "\\u" in text:
        name = _text(fields, "image", where)
        suffix = canonical(_text(fields, "suffix", where)) if labelled or suffix not in (None, "") else ""
        prefix = _text(fields, "prefix", where) if fields.get("prefix") is not None else ""
        _check_characters(fields, where)
    return simple(name, prefix, suffix, where, fields)


def prediction(example: Example) -> Prediction | None:
    """What a model said of the example, where its line tells; keys of somebody else's are not a prediction."""
    answer, p_yes = example.fields.get("answer"), example.fields.get("p_yes")
    if type(answer) is not str or type(p_yes) is bool or not isinstance(p_yes, (int, float)) or not 0 <= p_yes <= 1:
        return None
    return Prediction(example, example.target, answer, p_yes)


def _text(fields: Fields, key: str, where: str) -> str:
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


def _check_characters(fields: Fields, where: str) -> None:
    """What JSON can write with \\u and no file's name can hold."""
    for key in ("image", "suffix", "prefix"):
        value = fields.get(key) or ""
        if "\0" in value:
            raise BadDataError(f'"{key}" has a NUL character', where=where)

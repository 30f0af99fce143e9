"""Examples as lines of JSON: `{"image": "images/a.jpg", "prefix": "", "suffix": "yes"}`, and any other keys.

In place of an image, or beside it, there may be a text that is asked about: `{"text": "Well done!", "label": "yes"}`.
"""

import json
from typing import Any

from palitune.data.example import Content, Example, Message, simple, simple_text
from palitune.data.formats import chat_examples, error_hints, label_values
from palitune.data.formats.json_lines import RECORD, Fields, parse_object
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.label_values import NO_NAMES, LabelNames
from palitune.data.formats.lines import LONGEST, LONGEST_CONTENT
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.labels import LABELS, canonical

ABOUT = ("image", "text", "prefix")
LABEL_KEYS = ("suffix", "label")  # the first that is there


def parse(text: str, where: str, labelled: bool = True) -> Example:
    """The example of one line of JSON.

    Raises:
      BadDataError: as `parse_object`; `image` or `suffix` is missing or not text.
    """
    fields = parse_object(text, where)
    get: Any = fields.get
    name, suffix, prefix = get("image"), get("suffix"), get("prefix", "")
    usual = type(name) is str and type(prefix) is str and suffix in LABELS and len(text) < LONGEST
    if not usual or not name or "text" in fields or name.isspace() or "\\u" in text:
        return of_fields(fields, where, labelled)
    return simple(name, prefix, suffix, where, fields)


def of_fields(fields: Fields, where: str, labelled: bool = True) -> Example:
    """The example of an object. Raises BadDataError as `parse`."""
    suffix = fields.get("suffix")
    if "messages" in fields and fields.get("image") is None:
        return chat_examples.of_fields(fields, where, labelled)
    if label_values.are_in(fields):
        return of_several(fields, where)
    if "text" in fields or (fields.get("image") is None and fields.get("prefix")):
        return _with_text(fields, where, labelled)
    name = _text(fields, "image", where)
    suffix = canonical(_text(fields, "suffix", where)) if labelled or suffix not in (None, "") else ""
    prefix = _text(fields, "prefix", where) if fields.get("prefix") is not None else ""
    _check_characters(fields, where)
    return simple(name, prefix, suffix, where, fields)


def of_several(fields: Fields, where: str, asked: LabelNames = NO_NAMES, renaming: Renaming | None = None) -> Example:
    """The example of an object with several labels, each of which is a target; the object gets them as `labels`.

    Raises:
      BadDataError: as `parse`, and as `label_values.answers_of`.
    """
    about = of_fields({key: fields[key] for key in ABOUT if fields.get(key) is not None}, where, labelled=False)
    answers = label_values.answers_of(fields, asked, renaming, where)
    targets = label_values.targets_of(answers, asked.questions, bool(about.images))
    return about._replace(targets=targets, fields={**fields, "labels": answers})


def _with_text(fields: Fields, where: str, labelled: bool) -> Example:
    """The example of an object with a text, or of a question that stands for itself.

    In tables of texts and images an empty cell stands for what is not there.
    """
    content = _text(fields, "text", where, LONGEST_CONTENT) if fields.get("text") not in (None, "") else ""
    prefix = _text(fields, "prefix", where, LONGEST_CONTENT) if fields.get("prefix") is not None else ""
    label = _label(fields, where, labelled)
    name = _text(fields, "image", where) if fields.get("image") not in (None, "") else ""
    _check_characters(fields, where)
    if not (content or name or prefix.strip()):
        raise BadDataError('"text" is empty', where=where, hint=RECORD)
    if not name:
        return simple_text(content, prefix, label, where, fields)
    about = simple(name, prefix, label, where, fields)
    if not content:
        return about
    image, *question = about.messages[0].parts
    return about._replace(messages=(Message("user", (image, Content(content), *question)),))


def _label(fields: Fields, where: str, labelled: bool) -> str:
    """The label beside a text, which may be a number or a truth value too; empty where there may be none."""
    key = next((key for key in LABEL_KEYS if fields.get(key) not in (None, "")), None)
    if key is None and not labelled:
        return ""
    value = fields.get(key or "suffix")
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return canonical(_text(fields, key or "suffix", where, LONGEST_CONTENT))


def prediction(example: Example) -> Prediction | None:
    """What a model said of the example, where its line tells; keys of somebody else's are not a prediction."""
    answer, p_yes = example.fields.get("answer"), example.fields.get("p_yes")
    if type(answer) is str and p_yes is None and "p_yes" in example.fields:  # of free text there is none
        return Prediction(example, example.target, answer)
    if type(answer) is not str or type(p_yes) is bool or not isinstance(p_yes, (int, float)) or not 0 <= p_yes <= 1:
        return None
    return Prediction(example, example.target, answer, p_yes)


def _text(fields: Fields, key: str, where: str, most: int = LONGEST) -> str:
    value = fields.get(key)
    if type(value) is str and 0 < len(value) <= most and (key == "prefix" or not value.isspace()):
        return value
    if key not in fields:
        raise BadDataError(f'the record has no "{key}"', where=where, hint=error_hints.of_keys(fields))
    if not isinstance(value, str):
        what = f'"{key}" must be text, not {json.dumps(value, ensure_ascii=False)[:40]}'
        raise BadDataError(what, where=where, hint=error_hints.of_value(key, value))
    if len(value) > most:
        what = f'"{key}" has {len(value):,} characters, {most:,} are allowed'
        raise BadDataError(what, where=where, hint=error_hints.of_long_value(key, value))
    if key != "prefix":
        raise BadDataError(f'"{key}" is empty', where=where, hint=RECORD)
    return value


def _check_characters(fields: Fields, where: str) -> None:
    """What JSON can write with \\u and no file's name can hold."""
    for key in ("image", "text", "suffix", "label", "prefix"):
        value = fields.get(key) or ""
        if isinstance(value, str) and "\0" in value:
            raise BadDataError(f'"{key}" has a NUL character', where=where)

"""Reads any format as the fields of examples (`options.Fields`), and checks them."""

import math
from collections.abc import Callable
from pathlib import Path

from palitune.data.formats import (
    chat_messages,
    coco,
    csv_table,
    json_examples,
    json_lines,
    label_folders,
    label_studio,
    label_values,
    vqa,
)
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.lines import LONGEST, LONGEST_CONTENT
from palitune.data.formats.options import Fields, Found, Options
from palitune.errors import BadDataError, UsageError
from palitune.labels import LABELS

FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
DEEPEST = json_lines.DEEPEST - 2  # levels of lists and objects in a value, so that what is written can be read
NAMES = {"suffix": "label", "prefix": "question"}  # of keys, in messages
READERS: dict[str, Callable[[Path, Options], Found]] = {
    "jsonl": json_examples.read,
    "tsv": json_examples.read_tsv,
    "csv": csv_table.read,
    "folders": label_folders.read,
    "labelstudio": label_studio.read,
    "coco": coco.read,
    "vqa": vqa.read,
    "messages": chat_messages.read,
}


def read(path: Path, kind: str, options: Options) -> Found:
    """Yields the fields of each example in a file or folder, with where it is.

    Raises:
      MissingInputError, BadDataError: it cannot be read, or is not in this format.
    """
    return READERS[kind](path, options)


def settled(found: Found, names: Renaming, source: str, options: Options) -> Found:
    """Yields the sound examples, with their labels renamed, and yes and no in lower case.

    Embedded images are written into files. What is not an example is counted as a loss.

    Raises:
      BadDataError: there is no example at all.
    """
    sound = 0
    for where, fields in found:
        problem = _problem(fields)
        if problem is not None:
            options.lose(problem[0], where, problem[1])
            continue
        fixed = _fixed(fields, names, where, options)
        if fixed is None:
            continue
        sound += 1
        yield where, fixed
    if not sound and not (options.losses and options.losses.count and not options.losses.drop):
        raise BadDataError("there is no record in it", where=source)


def _fixed(fields: Fields, names: Renaming, where: str, options: Options) -> Fields | None:
    """An example's fields with its labels renamed and its image in a file; None where that is not possible."""
    fixed: Fields = {}
    if "image" in fields:
        image = _image(fields["image"], where, options)
        if image is None:
            return None
        if len(image) > LONGEST:
            options.lose(f"a text is longer than {LONGEST:,} characters", where, "the image's name")
            return None
        fixed["image"] = image
    if _is_chat(fields):
        return fields
    if "suffix" in fields:
        label = names(fields["suffix"])
        plain = label.strip().lower()
        fixed["suffix"] = plain if plain in LABELS else label
    else:
        try:
            fixed["labels"] = label_values.answers_of({"labels": fields["labels"]}, label_values.NO_NAMES, names, where)
        except BadDataError as error:
            options.lose("a label is neither yes nor no", where, error.what, "--rename OLD=yes gives it another name")
            return None
    prefix = fields.get("prefix") or ""
    if prefix or "image" in fields:
        return fields | {"prefix": prefix} | fixed
    about = {"text": fields["text"]} if "text" in fields else {}
    return about | {key: value for key, value in fields.items() if key != "prefix"} | fixed


def _is_chat(fields: Fields) -> bool:
    return "messages" in fields and "suffix" not in fields


def _problem(fields: Fields) -> tuple[str, str] | None:
    """Returns why fields are not an example (a kind of loss and a detail), or None."""
    about = [key for key in ("image", "text", "prefix") if key in fields] or ["image"]
    of_image = "image" in fields
    is_several = "suffix" not in fields and isinstance(fields.get("labels"), dict)
    needed = () if _is_chat(fields) else about[:1] if is_several else (about[0], "suffix")
    for key in needed:
        value = fields.get(key)
        if not isinstance(value, str) or not value.strip():
            return f"the {NAMES.get(key, key)} is empty or no text", repr(value)[:80]
    if not isinstance(fields.get("prefix"), (str, type(None))):
        return "the question is no text", repr(fields["prefix"])[:80]
    most = LONGEST if of_image else LONGEST_CONTENT
    texts = ("suffix", "prefix") if of_image else ("suffix", "prefix", "text")
    for key in texts:
        if len(fields.get(key) or "") > most:
            return f"a text is longer than {most:,} characters", f'"{key}" has {len(fields[key]):,}'
    if any("\0" in (fields.get(key) or "") for key in (*texts, *(["image"] if of_image else []))):
        return "there is a NUL character in a text", ""
    if any(isinstance(value, (dict, list)) and _depth(value) > DEEPEST for value in fields.values()):
        return f"a value is nested more than {DEEPEST} levels deep", ""
    if any(isinstance(value, float) and not math.isfinite(value) for value in fields.values()):
        return "a value is not a number", ""
    try:
        to_json(fields).encode()
    except (UnicodeEncodeError, ValueError):
        return "there is something in it that is no text in UTF-8 and no number", ""
    return None


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        depth += 1
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [one for some in inner for one in some if isinstance(one, (dict, list))]
    return depth


def _image(image: str, where: str, options: Options) -> str | None:
    """Returns the name of an image, and writes an embedded one into a file; None if that is not possible."""
    if image.startswith("data:"):
        if options.embedded is None:
            raise UsageError("images are embedded: say with --pictures FOLDER where they go", where=where)
        try:
            return options.embedded.save(image, where)
        except BadDataError as error:
            options.lose(error.what, where)
            return None
    if image.startswith(("http://", "https://", "s3://", "gs://", "azure-blob://")):
        hint = "Download them, and put the files' names there"
        options.remark("images are addresses on the network, and palitune reads files", where, image[:200], hint)
    return image

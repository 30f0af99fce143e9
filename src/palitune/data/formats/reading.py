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
    options,
    vqa,
)
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.lines import LONGEST
from palitune.data.formats.options import Fields, Found, Options
from palitune.errors import BadDataError, UsageError
from palitune.labels import LABELS

FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
DEEPEST = json_lines.DEEPEST - 2  # levels of lists and objects in a value, so that what is written can be read
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
        image = _image(fields["image"], where, options)
        if image is None:
            continue
        if len(image) > LONGEST:
            options.lose(f"a text is longer than {LONGEST:,} characters", where, "the image's name")
            continue
        label = names(fields["suffix"])
        plain = label.strip().lower()
        fixed = {"prefix": fields.get("prefix") or "", "suffix": plain if plain in LABELS else label, "image": image}
        sound += 1
        yield where, fields | fixed
    if not sound and not (options.losses and options.losses.count and not options.losses.drop):
        raise BadDataError("there is no record in it", where=source)


def _problem(fields: Fields) -> tuple[str, str] | None:
    """Returns why fields are not an example (a kind of loss and a detail), or None."""
    for key in ("image", "suffix"):
        value = fields.get(key)
        if not isinstance(value, str) or not value.strip():
            return f"the {'image' if key == 'image' else 'label'} is empty or no text", repr(value)[:80]
    if not isinstance(fields.get("prefix"), (str, type(None))):
        return "the question is no text", repr(fields["prefix"])[:80]
    for key in ("suffix", "prefix"):
        if len(fields.get(key) or "") > LONGEST:
            return f"a text is longer than {LONGEST:,} characters", f'"{key}" has {len(fields[key]):,}'
    if any("\0" in (fields.get(key) or "") for key in options.OWN):
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

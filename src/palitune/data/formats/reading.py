"""Other people's formats, read into fields of records (`foreign.Fields`)."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palitune.data.formats import (
    chat_messages,
    coco,
    column_roles,
    conversion,
    csv_table,
    json_lines,
    json_records,
    label_folders,
    label_studio,
    vqa,
)
from palitune.data.formats.conversion import Fields, Found, Options
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.lines import LONGEST, require_file
from palitune.data.formats.tsv import HEADS
from palitune.data.labels import LABELS
from palitune.errors import BadDataError, MissingInputError, UsageError

FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
REST = 1 << 14  # bytes after the first line that are read to tell the format
DEEPEST = json_lines.DEEPEST - 2  # levels of lists and objects in a value, so that what is written can be read
READERS: dict[str, Callable[[Path, Options], Found]] = {
    "jsonl": json_records.read,
    "tsv": json_records.read_tsv,
    "csv": csv_table.read,
    "folders": label_folders.read,
    "labelstudio": label_studio.read,
    "coco": coco.read,
    "vqa": vqa.read,
    "messages": chat_messages.read,
}


def detect(path: Path, options: Options | None = None) -> str:
    """The format of a file or folder. Raises BadDataError if it is none that is known."""
    if path.is_dir():
        return "folders"
    require_file(path)
    options = options or Options()
    encoding = conversion.encoding_of(path, options)
    try:
        with path.open("rb") as file:
            raw = file.readline(conversion.LONGEST_LINE) + file.read(REST)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    head = raw.decode(encoding, "replace").removeprefix(conversion.MARK).lstrip()
    if not head:
        raise BadDataError("the file is empty", where=str(path))
    if head[0] == "[":
        return _of_list(path, options)
    if head[0] == "{":
        return _of_objects(head, path, options)
    first = head.split("\n", 1)[0]
    cells = [cell.strip(' "').lower() for cell in csv_table.first_cells(head)]
    if len(cells) > 1 and any(cell in column_roles.NAMES for cell in cells):
        return "csv"
    return "csv" if "\t" not in first or any(cell in HEADS for cell in cells) or csv_table.EXCEL.match(head) else "tsv"


def _of_list(path: Path, options: Options) -> str:
    """One JSON list: of Label Studio's tasks, or of records."""
    values = conversion.parsed(path, options)
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        names = {"str": "texts", "list": "lists", "int": "numbers", "float": "numbers", "bool": "truth values"}
        kinds = sorted({names.get(type(value).__name__, "nulls") for value in values}) or ["nothing"]
        what = f"a list of {' and '.join(kinds)}, which are no records"
        hint = 'A record is an object such as {"image": "a.jpg", "suffix": "yes"}'
        raise BadDataError(what, where=str(path), hint=hint)
    keys = {key for one in objects for key in one}
    if keys & label_studio.MARKS or (keys & {"choice", "choices"} and "suffix" not in keys):
        return "labelstudio"
    if "messages" in keys:
        hint = f"One a line is read: jq -c '.[]' {path.name} > chats.jsonl"
        raise BadDataError("a list of chats", where=str(path), hint=hint)
    return "jsonl"


def _of_objects(head: str, path: Path, options: Options) -> str:
    """JSON's objects, a line each, or one over the whole file."""
    first, _, rest = head.partition("\n")
    value: Any = None
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not _is_file(value) and (rest.strip() or _is_record(value, options)):
        return "messages" if "messages" in value else "jsonl"
    if value is None and (first.rstrip().endswith("}") or rest.lstrip().startswith("{")):
        return "jsonl"  # the first line is broken, and is named
    value = conversion.parsed(path, options)
    if not isinstance(value, dict) or not _is_file(value):
        listed = ", ".join(map(str, value))[:200] or "none"
        what = f"one JSON object with keys {listed}: neither records, a line each, nor a format that is known"
        raise BadDataError(what, where=str(path), hint=_advice(value))
    lists = [value[key] for key in ("annotations", "questions") if isinstance(value.get(key), list)]
    if "questions" in value:
        return "vqa"
    if any(isinstance(one, dict) and "question_id" in one for some in lists for one in some[:5]):
        hint = "Name the questions' file, and this one with --annotations"
        raise BadDataError("these are VQA's answers without the questions", where=str(path), hint=hint)
    return "coco"


def _is_file(value: Fields) -> bool:
    """Whether this is a whole data set in one object."""
    return any(isinstance(value.get(key), list) for key in ("images", "annotations", "questions")) and not (
        {"suffix", "messages"} & set(value)
    )


def _is_record(value: Fields, options: Options) -> bool:
    """Whether some text or number of this object may be a record's, or it is a chat."""
    named = "messages" in value or options.image is not None or options.label is not None
    return named or any(
        key.lower() in column_roles.NAMES and not isinstance(one, (dict, list)) for key, one in value.items()
    )


def _advice(value: Fields) -> str:
    if value and all(isinstance(one, dict) for one in value.values()):
        return "If pandas wrote it: to_json(FILE, orient='records', lines=True)"
    inner = next(
        (key for key, one in value.items() if isinstance(one, list) and one and isinstance(one[0], dict)), None
    )
    if inner is not None:
        return f"If its records are under {inner[:40]}: jq -c '.{inner[:40]}[]' FILE writes them a line each"
    return "If it is a record: jq -c . FILE writes it on one line"


def read(path: Path, kind: str, options: Options) -> Found:
    """The records of a file or folder, each with where it is.

    Raises:
      MissingInputError, BadDataError: it cannot be read, or is not of this format.
    """
    return READERS[kind](path, options)


def settled(found: Found, names: Renaming, source: str, options: Options) -> Found:
    """Sound records, their labels by other names; yes and no come out in lower case.

    Images inside of the data are written out. What is no record is lost.

    Raises:
      BadDataError: there is no record at all.
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
    """Why fields are no record: a kind, and a detail."""
    for key in ("image", "suffix"):
        value = fields.get(key)
        if not isinstance(value, str) or not value.strip():
            return f"the {'image' if key == 'image' else 'label'} is empty or no text", repr(value)[:80]
    if not isinstance(fields.get("prefix"), (str, type(None))):
        return "the question is no text", repr(fields["prefix"])[:80]
    for key in ("suffix", "prefix"):
        if len(fields.get(key) or "") > LONGEST:
            return f"a text is longer than {LONGEST:,} characters", f'"{key}" has {len(fields[key]):,}'
    if any("\0" in (fields.get(key) or "") for key in conversion.OWN):
        return "there is a NUL character in a text", ""
    if any(isinstance(value, (dict, list)) and _depth(value) > DEEPEST for value in fields.values()):
        return f"a value is nested more than {DEEPEST} levels deep", ""
    if any(isinstance(value, float) and not math.isfinite(value) for value in fields.values()):
        return "a value is no number", ""
    try:
        to_json(fields).encode()
    except (UnicodeEncodeError, ValueError):
        return "there is something in it that is no text in UTF-8 and no number", ""
    return None


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        depth += 1
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [one for some in inner for one in some if isinstance(one, (dict, list))]
    return depth


def _image(image: str, where: str, options: Options) -> str | None:
    """The name of an image; what is inside of the data is written out. None where that cannot be."""
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

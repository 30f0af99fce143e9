"""Which format a file or folder is in, by its content."""

import json
from pathlib import Path

from palitune.data.formats import column_roles, csv_table, json_documents, label_studio, text_files
from palitune.data.formats.lines import require_file
from palitune.data.formats.options import Fields, Options
from palitune.data.formats.tsv import HEADS
from palitune.errors import BadDataError, MissingInputError

REST = 1 << 14  # bytes after the first line that are read to tell the format


def detect(path: Path, options: Options | None = None) -> str:
    """Returns the format of a file or folder, one of `reading.FORMATS`. Raises BadDataError if it is not known."""
    if path.is_dir():
        return "folders"
    require_file(path)
    options = options or Options()
    encoding = text_files.encoding_of(path, options)
    try:
        with path.open("rb") as file:
            raw = file.readline(text_files.LONGEST_LINE) + file.read(REST)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    head = raw.decode(encoding, "replace").removeprefix(text_files.MARK).lstrip()
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
    if len(cells) > 2 and any(cell in column_roles.TEXT_NAMES for cell in cells):
        return "csv"
    named = {name.lower() for name in (options.image, options.text, options.label, *options.labels) if name}
    if named & set(cells):
        return "csv"
    return "csv" if "\t" not in first or any(cell in HEADS for cell in cells) or csv_table.EXCEL.match(head) else "tsv"


def _of_list(path: Path, options: Options) -> str:
    """Recognises a JSON list: of Label Studio's tasks, or of examples."""
    values = json_documents.read_json(path, options)
    assert isinstance(values, list), "the file starts with ["
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
    """Recognises JSON objects, one on each line, or one that is the whole file."""
    first, _, rest = head.partition("\n")
    value: object = None
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not _is_file(value) and (rest.strip() or _is_record(value, options)):
        return "messages" if "messages" in value else "jsonl"
    if value is None and (first.rstrip().endswith("}") or rest.lstrip().startswith("{")):
        return "jsonl"  # the first line is broken, and is named
    document = json_documents.read_json(path, options)
    assert isinstance(document, dict), "the file starts with {"
    if not _is_file(document):
        listed = ", ".join(document)[:200] or "none"
        what = f"one JSON object with keys {listed}: neither records, a line each, nor a format that is known"
        raise BadDataError(what, where=str(path), hint=_advice(document))
    lists = [document[key] for key in ("annotations", "questions") if isinstance(document.get(key), list)]
    if "questions" in document:
        return "vqa"
    if any(isinstance(one, dict) and "question_id" in one for some in lists for one in some[:5]):
        hint = "Name the questions' file, and this one with --annotations"
        raise BadDataError("these are VQA's answers without the questions", where=str(path), hint=hint)
    return "coco"


def _is_file(value: Fields) -> bool:
    """Returns whether an object is a whole data set."""
    return any(isinstance(value.get(key), list) for key in ("images", "annotations", "questions")) and not (
        {"suffix", "messages"} & set(value)
    )


def _is_record(value: Fields, options: Options) -> bool:
    """Returns whether an object may be an example or a chat."""
    named = "messages" in value or bool(options.image or options.label or options.text or options.labels)
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

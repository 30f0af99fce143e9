"""Other people's formats, read into fields of records.

Fields are a dictionary with `image`, `suffix`, where there is a question `prefix`, and whatever else was there.
"""

import base64
import binascii
import csv
import hashlib
import io
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune import files
from palitune.data.records import HEADS, LABEL_HEADS, LABELS, Record, require_file, stream, to_json
from palitune.errors import BadDataError, MissingInputError, UsageError

Fields = dict[str, Any]
FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
LARGEST = 1 << 30  # bytes of a file that is read whole
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
PREFIX_COLUMNS = ("prefix", "prompt", "question")
CAPTION = "caption en"  # what PaliGemma is asked for captions


class Options(NamedTuple):
    """What a format may need to be told."""

    image: str | None = None  # columns of a table, or keys of tasks
    label: str | None = None
    prefix: str | None = None
    annotations: Path | None = None  # the second file of VQA
    pictures: Path | None = None  # where embedded pictures go


def detect(path: Path) -> str:
    """The format of a file or folder. Raises BadDataError if it is none that is known."""
    if path.is_dir():
        return "folders"
    require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    first = head.split(b"\n", 1)[0]
    if head[:1] == b"[":
        return "labelstudio"
    if head[:1] == b"{":
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and {"image", "suffix"} & set(value):
            return "jsonl"
        if isinstance(value, dict) and "messages" in value:
            return "messages"
        return "vqa" if b'"question"' in head or b'"questions"' in head else "coco"
    columns = [column.strip(b' "\r').lower().decode("utf-8", "replace") for column in re.split(rb"[,;\t]", first)]
    if any(column in HEADS for column in columns) or b"\t" not in first:
        return "csv"
    return "tsv"


def read(path: Path, kind: str, options: Options) -> Iterator[Fields]:
    """The records of a file or folder.

    Raises:
      MissingInputError, BadDataError: it cannot be read, or is not of this format.
    """
    readers: dict[str, Callable[[Path, Options], Iterator[Fields]]] = {
        "jsonl": _read_lines,
        "tsv": _read_lines,
        "csv": _read_csv,
        "folders": _read_folders,
        "labelstudio": _read_label_studio,
        "coco": _read_coco,
        "vqa": _read_vqa,
        "messages": _read_messages,
    }
    return readers[kind](path, options)


def fields_of(record: Record) -> Fields:
    """A record as fields; of a TSV with answers these too."""
    if record.fields:
        return record.fields
    fields: Fields = {"prefix": record.prefix, "suffix": record.suffix, "image": record.name}
    if record.answer is not None:
        fields |= {"p_yes": record.p_yes, "answer": record.answer}
    return fields


def _read_lines(path: Path, options: Options) -> Iterator[Fields]:
    return (fields_of(record) for record in stream(path))


def _text(path: Path) -> str:
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


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise BadDataError(f"broken JSON ({error.msg})", where=f"{path}:{error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"broken JSON ({str(error)[:80]})", where=str(path)) from None


def _read_csv(path: Path, options: Options) -> Iterator[Fields]:
    """A table with a header; what separates its columns, the header tells."""
    text = _text(path)
    if "\0" in text:
        raise BadDataError(
            "the file has a NUL character", where=f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}"
        )
    head = text.split("\n", 1)[0]
    separator = max((",", ";", "\t"), key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [column.strip() for column in next(rows, [])]
        image = _column(columns, options.image, HEADS, "--image-column", path)
        label = _column(columns, options.label, LABEL_HEADS, "--label-column", path)
        prefix = None
        if options.prefix or any(name.lower() in PREFIX_COLUMNS for name in columns):
            prefix = _column(columns, options.prefix, PREFIX_COLUMNS, "--prefix-column", path)
        if len(set(columns)) < len(columns):
            raise BadDataError("two columns have the same name", where=f"{path}:1")
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if not row:
                continue
            if len(row) != len(columns):
                raise BadDataError(f"{len(row)} columns, the header has {len(columns)}", where=where)
            named = {"prefix": row[prefix] if prefix is not None else "", "suffix": row[label], "image": row[image]}
            if not named["suffix"].strip() or not named["image"].strip():
                raise BadDataError("the image or the label is empty", where=where)
            rest = {name: row[i] for i, name in enumerate(columns) if i not in (image, label, prefix) and name}
            yield named | {name: value for name, value in rest.items() if name not in named}
    except csv.Error as error:
        raise BadDataError(f"broken CSV ({error})", where=f"{path}:{rows.line_num}") from None


def _column(columns: Sequence[str], wanted: str | None, usual: Sequence[str], option: str, path: Path) -> int:
    lower = [column.lower() for column in columns]
    names = (wanted.lower(),) if wanted else usual
    for name in names:
        if name in lower:
            return lower.index(name)
    listed = ", ".join(columns)[:200] or "none"
    what = f"no column {wanted}" if wanted else f"no column named {', '.join(usual[:3])} or the like"
    raise BadDataError(f"{what}; there are {listed}", where=f"{path}:1", hint=f"Name it with {option}")


def _read_folders(path: Path, options: Options) -> Iterator[Fields]:
    """A folder for each label, with pictures at any depth."""
    if not path.is_dir():
        raise BadDataError("not a folder", where=str(path))
    labels = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    count = 0
    for folder in labels:
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in PICTURES and file.is_file():
                count += 1
                yield {"prefix": "", "suffix": folder.name, "image": file.relative_to(path).as_posix()}
    if not count:
        hint = f"It needs a folder for each label, with files {', '.join(PICTURES)}"
        raise BadDataError("no pictures in folders here", where=str(path), hint=hint)


def _read_label_studio(path: Path, options: Options) -> Iterator[Fields]:
    """Label Studio's exports JSON and JSON-MIN. https://labelstud.io/guide/export"""
    tasks = _json(path)
    if not isinstance(tasks, list):
        raise BadDataError("Label Studio's export is a list of tasks", where=str(path))
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {number}"
        if not isinstance(task, dict):
            raise BadDataError("a task must be an object", where=where)
        data = task.get("data", task)
        if not isinstance(data, dict):
            raise BadDataError('"data" must be an object', where=where)
        image = data.get(options.image) if options.image else next((data[key] for key in HEADS if key in data), None)
        if not isinstance(image, str) or not image:
            raise BadDataError("the task has no image", where=where, hint="Name its key with --image-column")
        label = _minimal_label(task, options, where) if "data" not in task else _annotated(task, options, where)
        if label is None:
            continue  # nobody has labelled it, or somebody skipped it
        question = data.get(options.prefix or "prefix", "")
        rest = {key: task[key] for key in ("id",) if key in task}
        yield {
            "prefix": question if isinstance(question, str) else "",
            "suffix": label,
            "image": _upload(image, where),
        } | rest


def _upload(image: str, where: str) -> str:
    """A picture's path behind the addresses that Label Studio gives it; other names are as they are."""
    if not image.startswith(("/data/", "http://", "https://")):
        return image
    try:
        parts = urllib.parse.urlsplit(image)
    except ValueError:
        raise BadDataError(f"no address: {image[:80]}", where=where) from None
    if parts.path.endswith("/local-files/") and parts.query:
        return urllib.parse.parse_qs(parts.query).get("d", [image])[0]
    return urllib.parse.unquote(parts.path).removeprefix("/data/").lstrip("/")


def _minimal_label(task: Fields, options: Options, where: str) -> str | None:
    names = [options.label] if options.label else [*LABEL_HEADS, "choice", "choices", "text"]
    return _chosen(next((task[name] for name in names if name in task), None), where)


def _annotated(task: Fields, options: Options, where: str) -> str | None:
    for annotation in _listed(task.get("annotations", task.get("completions")), where):
        if annotation.get("was_cancelled"):
            continue
        for result in _listed(annotation.get("result"), where):
            if options.label and result.get("from_name") != options.label:
                continue
            value = result.get("value")
            label = _chosen(value.get("choices", value.get("text")) if isinstance(value, dict) else None, where)
            if label is not None:
                return label
    return None


def _listed(value: Any, where: str) -> list[Fields]:
    """A list of objects, which may be missing."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadDataError("annotations and their results must be lists of objects", where=where)
    return value


def _chosen(value: Any, where: str) -> str | None:
    """The label among choices, of which there may be none and not more than one."""
    if isinstance(value, dict) and "choices" in value:
        value = value["choices"]
    several = [value] if isinstance(value, str) else value
    if several is None or several == []:
        return None
    if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
        raise BadDataError("a label must be text", where=where)
    if len(several) > 1:
        raise BadDataError(f"{len(several)} choices where one is the label", where=where)
    return several[0] if several[0].strip() else None


def _object(path: Path, *keys: str) -> Fields:
    found = _json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in keys):
        raise BadDataError(f"it must be an object with lists {' and '.join(keys)}", where=str(path))
    return found


def _entries(found: Fields, key: str, path: Path, *wanted: str) -> Iterator[Fields]:
    for number, entry in enumerate(found[key], 1):
        if not isinstance(entry, dict) or not all(name in entry for name in wanted):
            raise BadDataError(f"{key} {number} has no {' or no '.join(wanted)}", where=str(path))
        if not all(isinstance(entry[name], (str, int)) for name in wanted):
            raise BadDataError(f"{key} {number}: {' and '.join(wanted)} must be texts or numbers", where=str(path))
        yield entry


def _read_coco(path: Path, options: Options) -> Iterator[Fields]:
    """COCO captions: several for each picture. https://cocodataset.org/#format-data"""
    found = _object(path, "images", "annotations")
    names = {entry["id"]: entry["file_name"] for entry in _entries(found, "images", path, "id", "file_name")}
    for entry in _entries(found, "annotations", path, "image_id", "caption"):
        if entry["image_id"] not in names:
            raise BadDataError(f"a caption is of image {entry['image_id']}, which is not there", where=str(path))
        yield {"prefix": CAPTION, "suffix": entry["caption"], "image": names[entry["image_id"]]}


def _read_vqa(path: Path, options: Options) -> Iterator[Fields]:
    """VQA v2: questions, and answers in the same or another file. https://visualqa.org/vqa_v1_download.html"""
    found = _object(path, "questions")
    if options.annotations is None and "annotations" not in found:
        raise BadDataError("the answers are in another file", where=str(path), hint="Name it with --annotations")
    where = options.annotations or path
    given = _object(where, "annotations")
    answers = {}
    for entry in _entries(given, "annotations", where, "question_id"):
        several = entry.get("answers")
        first = (
            several[0].get("answer") if isinstance(several, list) and several and isinstance(several[0], dict) else None
        )
        answers[entry["question_id"]] = entry.get("multiple_choice_answer", entry.get("answer", first))
    names = {}
    if isinstance(found.get("images"), list):
        names = {entry["id"]: entry["file_name"] for entry in _entries(found, "images", path, "id", "file_name")}
    part = found.get("data_subtype", "train2014")
    for entry in _entries(found, "questions", path, "question_id", "image_id", "question"):
        answer = answers.get(entry["question_id"])
        if not isinstance(answer, str):
            raise BadDataError(f"question {entry['question_id']} has no answer", where=str(where))
        image = names.get(entry["image_id"])
        if image is None:
            image = f"COCO_{part}_{str(entry['image_id']).zfill(12)}.jpg"
        yield {"prefix": entry["question"], "suffix": answer, "image": image}


def _read_messages(path: Path, options: Options) -> Iterator[Fields]:
    """Hosted fine-tuning's chats: a question with a picture, and its answer.

    https://platform.openai.com/docs/guides/vision-fine-tuning
    """
    for number, line in enumerate(_text(path).split("\n"), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise BadDataError("broken JSON", where=where) from None
        messages = value.get("messages") if isinstance(value, dict) else None
        if not isinstance(messages, list):
            raise BadDataError('the line has no list "messages"', where=where)
        images: list[str] = []
        texts: list[str] = []
        answer = None
        for message in messages:
            role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
                raise BadDataError("a message needs a role, and text or parts as its content", where=where)
            spoken = [part["text"] for part in parts if isinstance(part.get("text"), str)]
            if role == "assistant":
                answer = "".join(spoken)
            elif role == "user":
                texts += spoken
            images += [image for part in parts if (image := _image_part(part)) is not None]
        if answer is None or not answer.strip() or len(images) != 1:
            what = f"{len(images)} pictures and {'an' if answer else 'no'} answer, where one of each makes a record"
            raise BadDataError(what, where=where)
        yield {"prefix": "\n".join(texts).strip(), "suffix": answer.strip(), "image": _saved(images[0], options, where)}


def _image_part(part: Fields) -> str | None:
    value = part.get("image_url", part.get("image"))
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def _saved(image: str, options: Options, where: str) -> str:
    """The file of a picture that is given by address; embedded ones are written out."""
    if image.startswith("file://"):
        return urllib.parse.unquote(image.removeprefix("file://").partition("?")[0])
    if re.match(r"https?://", image):
        hint = "Download it, and put its file's name there"
        raise BadDataError("the picture is on the network", where=where, hint=hint)
    if not image.startswith("data:"):
        return image
    if options.pictures is None:
        raise UsageError("pictures are embedded: say with --pictures FOLDER where they go", where=where)
    head, _, content = image.partition(",")
    try:
        raw = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadDataError("the embedded picture is no base64", where=where) from None
    kind = re.match(r"data:image/([a-z]+)", head)
    extension = {"jpeg": "jpg"}.get(kind[1], kind[1]) if kind else "img"
    name = f"{hashlib.sha256(raw).hexdigest()[:16]}.{extension}"
    if not (options.pictures / name).exists():
        files.write(options.pictures / name, raw)
    return name


def renamed(fields: Iterable[Fields], names: Mapping[str, str], source: str) -> Iterator[Fields]:
    """Sound records, their labels by other names: `{"OK": "yes", "NG": "no"}`; yes and no come out in lower case.

    Args:
      source: for messages.

    Raises:
      BadDataError: an image, label or question is no text, or there is no record at all.
    """
    number = 0
    for number, one in enumerate(fields, 1):
        where = f"{source}: record {number}"
        if not all(isinstance(one[key], str) and one[key].strip() for key in ("image", "suffix")):
            raise BadDataError("the image or the label is empty or no text", where=where)
        prefix = one.get("prefix")
        if not isinstance(prefix, (str, type(None))):
            raise BadDataError("the question is no text", where=where)
        try:
            to_json(one).encode()
        except (UnicodeEncodeError, ValueError):
            raise BadDataError("there is something in it that is no text in UTF-8 and no number", where=where) from None
        label = names.get(one["suffix"], one["suffix"])
        plain = label.strip().lower()
        yield one | {"prefix": prefix or "", "suffix": plain if plain in LABELS else label}
    if not number:
        raise BadDataError("there is no record in it", where=source)

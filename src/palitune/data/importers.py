"""Other people's formats, read into fields of records (`foreign.Fields`)."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from palitune.data import foreign, label_studio, messages
from palitune.data.foreign import Fields, Options
from palitune.data.records import HEADS, LABEL_HEADS, LABELS, Record, require_file, stream, to_json
from palitune.errors import BadDataError, MissingInputError

FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
PREFIX_COLUMNS = ("prefix", "prompt", "question")
CAPTION = "caption en"  # what PaliGemma is asked for captions


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
        "labelstudio": label_studio.read,
        "coco": _read_coco,
        "vqa": _read_vqa,
        "messages": messages.read,
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


def _read_csv(path: Path, options: Options) -> Iterator[Fields]:
    """A table with a header; what separates its columns, the header tells."""
    text = foreign.text(path)
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


def _read_coco(path: Path, options: Options) -> Iterator[Fields]:
    """COCO captions: several for each picture. https://cocodataset.org/#format-data"""
    found = foreign.lists_of(path, "images", "annotations")
    names = {entry["id"]: entry["file_name"] for entry in foreign.entries(found, "images", path, "id", "file_name")}
    for entry in foreign.entries(found, "annotations", path, "image_id", "caption"):
        if entry["image_id"] not in names:
            raise BadDataError(f"a caption is of image {entry['image_id']}, which is not there", where=str(path))
        yield {"prefix": CAPTION, "suffix": entry["caption"], "image": names[entry["image_id"]]}


def _read_vqa(path: Path, options: Options) -> Iterator[Fields]:
    """VQA v2: questions, and answers in the same or another file. https://visualqa.org/vqa_v1_download.html"""
    found = foreign.lists_of(path, "questions")
    if options.annotations is None and "annotations" not in found:
        raise BadDataError("the answers are in another file", where=str(path), hint="Name it with --annotations")
    where = options.annotations or path
    given = foreign.lists_of(where, "annotations")
    answers = {}
    for entry in foreign.entries(given, "annotations", where, "question_id"):
        several = entry.get("answers")
        first = (
            several[0].get("answer") if isinstance(several, list) and several and isinstance(several[0], dict) else None
        )
        answers[entry["question_id"]] = entry.get("multiple_choice_answer", entry.get("answer", first))
    names = {}
    if isinstance(found.get("images"), list):
        names = {entry["id"]: entry["file_name"] for entry in foreign.entries(found, "images", path, "id", "file_name")}
    part = found.get("data_subtype", "train2014")
    for entry in foreign.entries(found, "questions", path, "question_id", "image_id", "question"):
        answer = answers.get(entry["question_id"])
        if not isinstance(answer, str):
            raise BadDataError(f"question {entry['question_id']} has no answer", where=str(where))
        image = names.get(entry["image_id"])
        if image is None:
            image = f"COCO_{part}_{str(entry['image_id']).zfill(12)}.jpg"
        yield {"prefix": entry["question"], "suffix": answer, "image": image}


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

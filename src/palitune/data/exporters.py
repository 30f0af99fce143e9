"""Fields of records, written in other people's formats."""

import base64
import csv
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from palitune.data.folders import ImageFolders
from palitune.data.foreign import Fields
from palitune.data.records import Record, to_json, to_tsv
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, StorageError


def lines(fields: Iterable[Fields], kind: str, embed: ImageFolders | None = None) -> Iterator[str]:
    """The text of a format that is lines, or one value; each with its end.

    Args:
      embed: where the pictures are that "messages" is to contain; without it, it names them.

    Raises:
      BadDataError: something that the format cannot hold.
    """
    if kind == "jsonl":
        return (f"{to_json(one)}\n" for one in fields)
    if kind == "tsv":
        return (f"{to_tsv(Record(one['image'], '', one['suffix'], one['image']))}\n" for one in fields)
    if kind == "messages":
        return (f"{to_json(_as_messages(one, embed))}\n" for one in fields)
    if kind == "csv":
        return _as_csv(fields)
    makers = {"labelstudio": _as_tasks, "coco": _as_coco, "vqa": _as_vqa}
    return iter([json.dumps(makers[kind](list(fields)), ensure_ascii=False, indent=1) + "\n"])


class _Echo:
    """A file for `csv.writer` that gives back what is written."""

    def write(self, text: str) -> str:
        return text


def _as_csv(fields: Iterable[Fields]) -> Iterator[str]:
    everything = list(fields)
    columns = list(dict.fromkeys(["image", "prefix", "suffix", *itertools.chain.from_iterable(everything)]))
    # A carriage return ends a line for most readers, and only a line feed is quoted unasked.
    returns = any("\r" in str(value) for one in everything for value in one.values())
    options: Any = {"quoting": csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL}
    writer = csv.DictWriter(_Echo(), columns, restval="", lineterminator="\n", **options)
    yield str(writer.writeheader())
    for one in everything:
        yield str(
            writer.writerow({key: value if isinstance(value, str) else to_json(value) for key, value in one.items()})
        )


def _as_tasks(fields: list[Fields]) -> Any:
    return [
        {
            "id": number,
            "data": {"image": one["image"], **({"prefix": one["prefix"]} if one.get("prefix") else {})},
            "annotations": [
                {
                    "result": [
                        {
                            "from_name": "label",
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [one["suffix"]]},
                        }
                    ]
                }
            ],
        }
        for number, one in enumerate(fields, 1)
    ]


def _numbered(fields: list[Fields]) -> tuple[dict[str, int], list[Fields]]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(one["image"] for one in fields), 1)}
    return numbers, [{"id": number, "file_name": name} for name, number in numbers.items()]


def _as_coco(fields: list[Fields]) -> Any:
    numbers, images = _numbered(fields)
    captions = [
        {"id": number, "image_id": numbers[one["image"]], "caption": one["suffix"]}
        for number, one in enumerate(fields, 1)
    ]
    return {"images": images, "annotations": captions}


def _as_vqa(fields: list[Fields]) -> Any:
    numbers, images = _numbered(fields)
    asked = [
        {"question_id": number, "image_id": numbers[one["image"]], "question": one.get("prefix") or ""}
        for number, one in enumerate(fields, 1)
    ]
    answered = [
        {"question_id": number, "image_id": numbers[one["image"]], "multiple_choice_answer": one["suffix"]}
        for number, one in enumerate(fields, 1)
    ]
    return {"images": images, "questions": asked, "annotations": answered}


def _as_messages(one: Fields, embed: ImageFolders | None) -> Any:
    url = one["image"]
    if embed is not None:
        path = embed.locate(one["image"], one["image"])
        if not path.is_file():
            raise MissingInputError("no such image", where=str(path))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MissingInputError(f"image cannot be read: {error.strerror}", where=str(path)) from None
        kind = path.suffix.lower().lstrip(".").replace("jpg", "jpeg") or "jpeg"
        url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    asked = [{"type": "text", "text": one["prefix"]}] if one.get("prefix") else []
    return {
        "messages": [
            {"role": "user", "content": [*asked, {"type": "image_url", "image_url": {"url": url}}]},
            {"role": "assistant", "content": one["suffix"]},
        ]
    }


def write_folders(fields: Iterable[Fields], target: Path, images: ImageFolders) -> int:
    """Copies pictures into folders named by their labels; all appears at once or nothing does. Returns their number.

    Raises:
      BadDataError: a label that no folder can be named by, or two pictures of one name.
      MissingInputError: a picture is not there.
      OutputExistsError: `target` is there.
    """
    if target.exists():
        raise OutputExistsError("this folder exists", where=str(target), hint="Name another one with -o")
    copied: dict[Path, Path] = {}
    try:
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(target)) from None
    try:
        fresh.chmod(0o755)
        for one in fields:
            label = str(one["suffix"])
            if (
                not label
                or label.startswith(".")
                or re.search(r'[/\\\0-\x1f<>:"|?*]', label)
                or len(label.encode()) > 200
            ):
                raise BadDataError(
                    f"no folder can be named {label[:40]!r}", where=one["image"], hint="It is for classes"
                )
            path = images.locate(one["image"], one["image"])
            if not path.is_file():
                raise MissingInputError("no such image", where=str(path))
            copy = fresh / label / Path(one["image"].replace("\\", "/")).name
            if copied.setdefault(copy, path) != path:
                raise BadDataError(f"two pictures are named {copy.name}, with the label {label}", where=one["image"])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        fresh.rename(target)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(target)) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(copied)

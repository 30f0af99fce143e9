"""Fields of records, written in other people's formats."""

import base64
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from palitune.data.example import Example, simple
from palitune.data.formats import chat_messages, coco, column_roles, csv_table, label_folders, label_studio, vqa
from palitune.data.formats.conversion import OWN, Fields, Found, Lists, Options
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.tsv import to_answer, to_tsv
from palitune.data.image_folders import ImageFolders
from palitune.data.images.container import media_type
from palitune.errors import BadDataError, OutputExistsError, StorageError

LONGEST_NAME = 200  # bytes of a folder's name
NO_NAME = re.compile(r'^$|[/\\\0-\x1f<>:"|?*]')


def lines(found: Found, kind: str, options: Options, embed: ImageFolders | None = None) -> Iterator[str]:
    """The text of a format that is lines, or one value; each with its end. What has no room is lost.

    Args:
      embed: where the images are that "messages" is to contain; without it, it names them.
    """
    if kind == "jsonl":
        return (f"{to_json(fields)}\n" for _, fields in found)
    if kind == "tsv":
        return _as_tsv(found, options)
    if kind == "messages":
        return _as_messages(found, options, embed)
    if kind == "csv":
        return csv_table.lines(found, options)
    makers: dict[str, Callable[[list[tuple[str, Fields]]], Lists]] = {
        "labelstudio": _as_tasks,
        "coco": coco.write,
        "vqa": vqa.write,
    }
    return _as_json(makers[kind](list(found)))


def _as_json(lists: Lists) -> Iterator[str]:
    """One JSON object with lists, or the one list without a name, an item at a time."""
    margin = "" if "" in lists else " "
    if margin:
        yield "{"
    for number, (key, items) in enumerate(lists.items()):
        if margin:
            yield f"{',' if number else ''}\n{margin}{json.dumps(key)}: "
        for i, item in enumerate(items):
            text = json.dumps(item, ensure_ascii=False, indent=1).replace("\n", f"\n{margin} ")
            yield f"{',' if i else '['}\n{margin} {text}"
        yield f"\n{margin}]"
    yield "\n}\n" if margin else "\n"


def _no_room(fields: Fields, kind: str, room: tuple[str, ...], where: str, options: Options) -> None:
    """Loses what a format has no place for."""
    if fields.get("prefix") and "prefix" not in room:
        options.lose(f"{kind} has no room for questions", where, fields["prefix"][:80])
    more = [key for key in fields if key not in OWN and key not in room]
    if options.numbers and isinstance(fields.get("id"), int) and "id" in more:
        more.remove("id")
        options.remark(f"{kind} has no room for the numbers of tasks", where)
    if more:
        options.lose(f"{kind} has no room for other keys", where, ", ".join(more)[:200])


def _as_tsv(found: Found, options: Options) -> Iterator[str]:
    for where, fields in found:
        record = simple(fields["image"], "", fields["suffix"], where)
        answered = _is_answered(fields)
        try:
            line = _answer(record, fields) if answered else to_tsv(record)
        except BadDataError as error:
            options.lose(error.what, where, hint=error.hint or "")
            continue
        _no_room(fields, "tsv", ("correct", "p_yes", "answer") if answered else (), where, options)
        yield f"{line}\n"


def _answer(record: Example, fields: Fields) -> str:
    right = fields.get("correct", fields["answer"].strip().lower() == fields["suffix"].strip().lower())
    return to_answer(record, right, fields["p_yes"], fields["answer"])


def _is_answered(fields: Fields) -> bool:
    """Whether a model's answer is with a record, and five columns hold it as it is."""
    p_yes, answer = fields.get("p_yes"), fields.get("answer")
    if not isinstance(answer, str) or isinstance(p_yes, bool) or not isinstance(p_yes, (int, float)):
        return False
    right = fields.get("correct", True)
    return (
        0 <= p_yes <= 1 and round(p_yes, 6) == p_yes and answer == " ".join(answer.split()) and right in (True, False)
    )


def _as_tasks(found: list[tuple[str, Fields]]) -> Lists:
    numbers = [fields.get("id") for _, fields in found]
    own = all(type(number) is int for number in numbers) and len(set(numbers)) == len(numbers)
    kept = (*OWN, "id") if own else OWN
    tasks = (
        {
            "id": fields["id"] if own else number,
            "data": {"image": label_studio.address(fields["image"])}
            | ({"prefix": fields.get("prefix") or ""} if fields.get("prefix") or _may_ask(fields) else {})
            | {key: value for key, value in fields.items() if key not in kept},
            "annotations": [{"result": [_choice(fields["suffix"])]}],
        }
        for number, (_, fields) in enumerate(found, 1)
    )
    return {"": tasks}


def _may_ask(fields: Fields) -> bool:
    """Whether another key would be taken for the question."""
    return any(key.lower() in tier for tier in column_roles.PREFIXES for key in fields if key not in OWN)


def _choice(label: str) -> Fields:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}


def _as_messages(found: Found, options: Options, embed: ImageFolders | None) -> Iterator[str]:
    for where, fields in found:
        _no_room(fields, "messages", ("prefix", "system"), where, options)
        system = fields.get("system")
        if not isinstance(system, (str, type(None))):
            options.lose("messages has no room for other keys", where, "system")
            continue
        url: str | None = fields["image"]
        if embed is not None:
            url = _embedded(embed, fields["image"], where, options)
        if url is not None:
            yield f"{to_json(chat_messages.line(fields, url))}\n"


def _embedded(images: ImageFolders, name: str, where: str, options: Options) -> str | None:
    path = images.locate(name, where)
    if not path.is_file():
        options.lose("no such image", where, str(path), "-i names the folder that images are in", missing=True)
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        options.lose("an image cannot be read", where, f"{path}: {error.strerror}", missing=True)
        return None
    kind = media_type(content)
    if kind is None:
        options.lose("an image is of a kind that palitune does not read", where, str(path))
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def write_folders(
    found: Found, target: Path, images: ImageFolders, options: Options, check: Callable[[], None] = lambda: None
) -> int:
    """Copies images into folders named by their labels; all appears at once or nothing does. Returns their number.

    Args:
      check: called before the folder appears; what it raises keeps it from that.

    Raises:
      OutputExistsError: `target` is there.
      StorageError: it cannot be written.
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
        for where, fields in found:
            _no_room(fields, "folders", (), where, options)
            place = _place(fields, where, images, options)
            if place is None:
                continue
            path, inside = place
            copy = fresh / inside
            if copy in copied:
                same = copied[copy] == path
                what = "an image is there twice, and a folder holds it once" if same else "two images have one name"
                options.lose(what, where, inside)
                continue
            copied[copy] = path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        check()
        if not copied:
            raise BadDataError("no image is left", where=str(target))
        fresh.rename(target)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(target)) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(copied)


def _place(fields: Fields, where: str, images: ImageFolders, options: Options) -> tuple[Path, str] | None:
    """An image's file, and where it goes; None where it cannot."""
    label, name = fields["suffix"], fields["image"]
    base = Path(name.replace("\\", "/")).name
    if NO_NAME.search(label) or label_folders.is_rubbish(label) or len(label.encode()) > LONGEST_NAME:
        options.lose("a label cannot be a folder's name", where, repr(label[:40]), "Folders are for classes")
        return None
    path = images.locate(name, where)
    if not path.is_file():
        options.lose("no such image", where, str(path), "-i names the folder that images are in", missing=True)
        return None
    if label_folders.is_rubbish(base) or not label_folders.is_image(path):
        options.lose("a file would not be taken for an image", where, str(path))
        return None
    return path, f"{label}/{base}"

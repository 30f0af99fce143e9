"""Writes the fields of examples in any format."""

import json
from collections.abc import Callable, Iterator

from palitune.data.example import Example, simple, simple_text
from palitune.data.formats import chat_messages, coco, csv_table, label_studio, vqa
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.options import Fields, Found, Lists, Options, lose_rest
from palitune.data.formats.tsv import flat, to_answer, to_tsv
from palitune.data.image_folders import ENDINGS, ImageFolders
from palitune.errors import BadDataError


def lines(found: Found, kind: str, options: Options, embed: ImageFolders | None = None) -> Iterator[str]:
    """Yields the text of a file in a format, piece by piece. What the format has no room for is counted as a loss.

    Args:
      kind: the format, one of `reading.FORMATS` other than "folders".
      embed: where the images are that are put into "messages"; without it, the images are named.
    """
    if kind == "jsonl":
        return (f"{to_json(fields)}\n" for _, fields in found)
    if kind == "tsv":
        return _as_tsv(found, options)
    if kind == "messages":
        return chat_messages.write(found, options, embed)
    if kind == "csv":
        return csv_table.lines(found, options)
    makers: dict[str, Callable[[list[tuple[str, Fields]]], Lists]] = {
        "labelstudio": label_studio.write,
        "coco": coco.write,
        "vqa": vqa.write,
    }
    return _as_json(makers[kind](list(of_images(found, kind, options))))


def of_images(found: Found, kind: str, options: Options) -> Found:
    """Yields the examples of one label about an image, which are all that some formats have room for.

    Raises:
      BadDataError: nothing is left, and what is lost may be left out.
    """
    count = kept = 0
    for count, (where, fields) in enumerate(found, 1):  # noqa: B007 (the last one is the number)
        if "image" not in fields:
            options.lose(f"{kind} has no room for texts without an image", where, str(fields.get("text", ""))[:80])
        elif "suffix" not in fields:
            options.lose(f"{kind} has no room for several labels", where, ", ".join(fields["labels"])[:80])
        else:
            kept += 1
            yield where, fields
    if count and not kept and options.losses is not None and options.losses.drop:
        raise BadDataError(f"{kind} has no room for any of the records", hint="--to jsonl has room for all of them")


def _as_json(lists: Lists) -> Iterator[str]:
    """Yields one JSON object with lists, or the one list whose name is empty, an item at a time."""
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


def _as_tsv(found: Found, options: Options) -> Iterator[str]:
    for where, fields in found:
        if "suffix" not in fields:
            what = "chats" if "messages" in fields else "several labels"
            hint = "--turns makes a record of each question" if what == "chats" else ""
            options.lose(f"tsv has no room for {what}", where, hint=hint)
            continue
        example = _example(fields, where, options)
        if example is None:
            continue
        answered = _is_answered(fields)
        try:
            line = _answer(example, fields) if answered else to_tsv(example)
        except BadDataError as error:
            options.lose(error.what, where, hint=error.hint or "")
            continue
        room = ("correct", "p_yes", "answer") if answered else ()
        alone = ("prefix",) if "image" not in fields and "text" not in fields else ()
        lose_rest(fields, "tsv", room + alone, where, options)
        yield f"{line}\n"


def _example(fields: Fields, where: str, options: Options) -> Example | None:
    """The example of a line of TSV; None of a text that the line would not give back."""
    folders = options.folders
    if "image" in fields:
        name = fields["image"]
        if folders is not None and not name.endswith(ENDINGS) and not folders.names(name):
            hint = "-i names the folder that images are in. Use JSONL"
            options.lose("tsv would take an image's name for a text", where, name[:80], hint)
            return None
        return simple(name, "", fields["suffix"], where)
    text = fields["text"] if "text" in fields else fields["prefix"]
    if flat(text) != text:
        options.lose("the text has a tab or a line break", where, text[:80], "Use JSONL")
        return None
    if text.endswith(ENDINGS) or (folders is not None and folders.names(text)):
        options.lose("tsv would take a text for an image", where, text[:80], "Use JSONL")
        return None
    if "text" not in fields:
        options.remark("tsv has questions in the column of texts", where, text[:80])
    return simple_text(text, "", fields["suffix"], where)


def _answer(example: Example, fields: Fields) -> str:
    right = fields.get("correct", fields["answer"].strip().lower() == fields["suffix"].strip().lower())
    return to_answer(example, right, fields["p_yes"], fields["answer"])


def _is_answered(fields: Fields) -> bool:
    """Returns whether an example has a model's answer that five columns of TSV can hold."""
    p_yes, answer = fields.get("p_yes"), fields.get("answer")
    if not isinstance(answer, str) or isinstance(p_yes, bool) or not isinstance(p_yes, (int, float)):
        return False
    right = fields.get("correct", True)
    return (
        0 <= p_yes <= 1 and round(p_yes, 6) == p_yes and answer == " ".join(answer.split()) and right in (True, False)
    )

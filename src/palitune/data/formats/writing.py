"""Writes the fields of examples in any format."""

import json
from collections.abc import Callable, Iterator

from palitune.data.example import Example, simple
from palitune.data.formats import chat_messages, coco, csv_table, label_studio, vqa
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.options import Fields, Found, Lists, Options, lose_rest
from palitune.data.formats.tsv import to_answer, to_tsv
from palitune.data.image_folders import ImageFolders
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
    return _as_json(makers[kind](list(found)))


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
        example = simple(fields["image"], "", fields["suffix"], where)
        answered = _is_answered(fields)
        try:
            line = _answer(example, fields) if answered else to_tsv(example)
        except BadDataError as error:
            options.lose(error.what, where, hint=error.hint or "")
            continue
        lose_rest(fields, "tsv", ("correct", "p_yes", "answer") if answered else (), where, options)
        yield f"{line}\n"


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

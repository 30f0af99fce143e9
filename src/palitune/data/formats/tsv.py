"""Examples as lines of TSV without a header: `image, label`, or as inference writes them
`image, correct, p_yes, label, answer`; a text may stand where the image's name does.
"""

import math
import re
from collections.abc import Callable

from palitune.data.example import Example, simple, simple_text
from palitune.data.formats import error_hints
from palitune.data.formats.lines import LONGEST, LONGEST_CONTENT
from palitune.data.image_folders import ENDINGS
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.labels import LABELS, canonical

HEADS = ("image", "file", "filename", "file_name", "path", "image_path", "picture")  # of tables' columns
LABEL_HEADS = ("suffix", "label", "answer", "class", "caption", "target")


def _every(name: str) -> bool:
    return True


def parse(text: str, where: str, labelled: bool = True, is_image: Callable[[str], bool] = _every) -> Example:
    """The example of one line of `image, label` or `image, correct, p_yes, label, answer`.

    What spreadsheets make of such lines is read too: TRUE, 0,93, and tabs behind the last column.

    Args:
      is_image: whether a first column is the name of an image; else it is a text that is asked about.

    Raises:
      BadDataError: other columns, or an empty one.
    """
    name, label, _, _ = _columns(text, where, labelled)
    of_image = name.endswith(ENDINGS) or is_image(name)
    if len(text) > LONGEST:
        _require_lengths(of_image, name, label, "", where)
    return simple(name, "", label, where) if of_image else simple_text(name, "", label, where)


def parse_answered(
    text: str, where: str, labelled: bool = True, is_image: Callable[[str], bool] = _every
) -> tuple[Example, Prediction | None]:
    """The example of one line, and what a model said of it, where there are five columns. As `parse`."""
    name, label, p_yes, answer = _columns(text, where, labelled)
    of_image = name.endswith(ENDINGS) or is_image(name)
    if len(text) > LONGEST:
        _require_lengths(of_image, name, label, answer or "", where)
    example = (simple if of_image else simple_text)(name, "", label, where)
    return example, None if answer is None else Prediction(example, example.target, answer, p_yes)


def _require_lengths(of_image: bool, name: str, label: str, answer: str, where: str) -> None:
    most = LONGEST if of_image else LONGEST_CONTENT
    for what, value in (("image's name" if of_image else "text", name), ("label", label), ("answer", answer)):
        if len(value) > most:
            raise BadDataError(f"the {what} has {len(value):,} characters, {most:,} are allowed", where=where)


def _columns(text: str, where: str, labelled: bool) -> tuple[str, str, float | None, str | None]:
    """Image or text, label, p_yes and answer. Raises as `parse`."""
    columns = text.split("\t")
    if len(columns) > 2 and not columns[-1]:
        columns = _without_empty(columns)
    answer = p_yes = None
    if len(columns) == 2:
        name, suffix = columns
    elif len(columns) == 5:
        name, correct, share, suffix, answer = columns
        p_yes = _share(share)
        if correct.upper() not in error_hints.CORRECT_CELLS or p_yes is None:
            _refuse_head(name, suffix, where)
            raise BadDataError(
                "of five columns the second is True or False and the third a number from 0 to 1",
                where=where,
                hint=error_hints.TSV,
            )
    elif len(columns) == 1 and not labelled:
        name, suffix = text, ""
    else:
        columns_found = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        raise BadDataError(f"{columns_found} between tabs", where=where, hint=error_hints.of_columns(columns))
    _refuse_head(name, suffix, where)
    if not name or name.isspace():
        raise BadDataError("the image's name is empty", where=where, hint=error_hints.TSV)
    if labelled and (not suffix or suffix.isspace()):
        raise BadDataError("the label is empty", where=where, hint=error_hints.TSV)
    return name, suffix if suffix in LABELS else canonical(suffix), p_yes, answer


def _without_empty(columns: list[str]) -> list[str]:
    """Without what spreadsheets leave behind the last column."""
    used = next((number for number in range(len(columns), 0, -1) if columns[number - 1]), 0)
    wanted = 2 if used <= 2 else 5
    return columns[:wanted] if used <= wanted <= len(columns) else columns


def _refuse_head(name: str, suffix: str, where: str) -> None:
    if name.lower() in HEADS and suffix.lower() in LABEL_HEADS:
        hint = "palitune convert reads tables that have one"
        raise BadDataError("this looks like a header", where=where, hint=hint)


def _share(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))  # where numbers are written with a comma
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def flat(text: str) -> str:
    """A text in one column: its tabs and line breaks are blanks."""
    return re.sub(r"[\t\r\n]+", " ", text).strip(" ") if re.search(r"[\t\r\n]", text) else text


def to_tsv(example: Example) -> str:
    """A line of image or text, and label; tabs and line breaks of a text are blanks.

    Raises:
      BadDataError: the image's name or the label has a tab or a line break, which TSV cannot hold.
    """
    name = example.subject if example.images else flat(example.subject)
    for what, value in (("image's name", name), ("label", example.label)):
        if "\t" in value or "\n" in value or "\r" in value:
            raise BadDataError(f"the {what} has a tab or a line break", where=example.where, hint="Use JSONL")
    return f"{name}\t{example.label}"


def to_answer(example: Example, correct: bool, p_yes: float, answer: str) -> str:
    """The line that inference writes: image or text, correct, p_yes, label, answer. Raises as `to_tsv`.

    An answer is written as it is; tabs and line breaks, which would end its column, are blanks.
    """
    name, _, label = to_tsv(example).rpartition("\t")
    return f"{name}\t{correct if label else ''}\t{p_yes:.6f}\t{label}\t{flat(answer)}"

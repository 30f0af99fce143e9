"""Which column of a table, or key of an object, is recognised as the image or text, the label and the question."""

from collections.abc import Sequence
from typing import NamedTuple

from palitune.data.formats.options import Options
from palitune.data.formats.tsv import HEADS, LABEL_HEADS
from palitune.errors import BadDataError

# Names in groups, the first group first; if several names of one group are there, it is not clear which is meant.
MORE_HEADS = ("img", "image_name", "image_file", "image_url", "img_path", "filepath", "file_path", "url")
IMAGES = (("image",), (*HEADS[1:], *MORE_HEADS[:-1]), MORE_HEADS[-1:])
MORE_LABELS = ("multiple_choice_answer", "labels", "category", "class_name", "choice", "choices")
LABELS = (("suffix",), (*LABEL_HEADS[1:], *MORE_LABELS), ("text",), ("answers",))
PREFIXES = (("prefix",), ("prompt", "question"))
TEXTS = (
    ("text",),
    ("content", "sentence", "tweet", "comment", "comment_text", "review", "body", "message", "document"),
    ("本文", "テキスト", "文章", "コメント"),
)
LABELS_OF_TEXTS = (("suffix",), ("label",), tuple(one for tier in LABELS for one in tier if one != "text"))
PREFIXES_OF_TEXTS = (("prefix",), ("prompt",), ("question", "instruction"))
NAMES = {name for tiers in (IMAGES, LABELS, PREFIXES) for tier in tiers for name in tier}


TEXT_NAMES = {name for tier in TEXTS for name in tier}


class Roles(NamedTuple):
    """The columns or keys of the image, the label, the question and the text; None of what is not there.

    Either image, text or question is there. There is no single label where options name several.
    """

    image: str | None
    label: str | None
    prefix: str | None
    text: str | None = None


OWN_ROLES = Roles("image", "suffix", "prefix")


def of(names: Sequence[str], options: Options, where: str) -> Roles:
    """Returns the roles of the names. Raises BadDataError, with the names, if one is missing or not clear."""
    if options.text or not (options.image or _has(names, IMAGES)):
        found = _of_text(names, options, where)
        if found is not None:
            return found
    if not (options.image or options.label or _has(names, IMAGES) or _has(names, LABELS)):
        what = f"no name that tells the image or the label; there are {_listed(names)}"
        raise BadDataError(what, where=where, hint="Name them with --image-column and --label-column")
    image = image_of(names, options, where)
    label = None if options.labels else label_of(names, options, where)
    # A column that is the image or the label is not also the question.
    free = list(names) if options.prefix else [name for name in names if name not in (image, label)]
    prefix = prefix_of(free, options, where)
    return Roles(image, label, prefix)


def _of_text(names: Sequence[str], options: Options, where: str) -> Roles | None:
    """The roles of a record about a text, or of a question that stands for itself; None where there is neither."""
    text = image = None
    if options.text or _has(names, TEXTS):
        text = _one(names, options.text, TEXTS, "text", "--text-column", where)
    elif not {"prefix", "suffix"} <= set(names):
        return None
    free = [name for name in names if name != text and name not in options.labels]
    if options.image or _has(free, IMAGES):
        image = image_of(free, options, where)
    free = [name for name in free if name != image]
    label = None
    if not options.labels:
        option = "--label-column, or several with --label-columns" if not options.label else "--label-column"
        label = _one(free, options.label, LABELS_OF_TEXTS, "label", option, where)
    free = [name for name in free if name != label]
    prefix = None
    if options.prefix or _has(free, PREFIXES_OF_TEXTS):
        prefix = _one(free, options.prefix, PREFIXES_OF_TEXTS, "question", "--prefix-column", where)
    return Roles(image, label, prefix, text)


def image_of(names: Sequence[str], options: Options, where: str) -> str:
    """Returns the name of the image's column. Raises as `of`."""
    return _one(names, options.image, IMAGES, "image", "--image-column", where)


def prefix_of(names: Sequence[str], options: Options, where: str) -> str | None:
    """Returns the name of the question's column, or None. Raises as `of`."""
    if options.prefix is None and not _has(names, PREFIXES):
        return None
    return _one(names, options.prefix, PREFIXES, "question", "--prefix-column", where)


def label_of(names: Sequence[str], options: Options, where: str) -> str:
    """Returns the name of the label's column. Raises as `of`."""
    return _one(names, options.label, LABELS, "label", "--label-column", where)


def _has(names: Sequence[str], tiers: Sequence[Sequence[str]]) -> bool:
    return any(name.lower() in tier for tier in tiers for name in names)


def _one(
    names: Sequence[str], wanted: str | None, tiers: Sequence[Sequence[str]], what: str, option: str, where: str
) -> str:
    if wanted:
        found = [name for name in names if name == wanted] or [name for name in names if name.lower() == wanted.lower()]
        if found:
            return found[0]
        raise BadDataError(
            f"no column {wanted}; there are {_listed(names)}", where=where, hint=f"Name it with {option}"
        )
    for tier in tiers:
        found = [name for name in names if name.lower() in tier]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(found)[:200]
            raise BadDataError(
                f"the {what} may be one of {listed}", where=where, hint=f"Choose with {option} {found[0]}"
            )
    usual = ", ".join(list(dict.fromkeys(name for tier in tiers for name in tier))[:3])
    hint = f"Name it with {option}"
    raise BadDataError(
        f"no column or key named {usual} or the like; there are {_listed(names)}", where=where, hint=hint
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:50])[:200] or "none"

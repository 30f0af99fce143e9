"""Options made from settings, and settings read from options, so that they mean the same in every command.

Imports nothing heavy.
"""

import argparse
import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from palitune.cli import values
from palitune.config.answering import AnsweringSettings, LabelSettings
from palitune.config.model import RECORDS, FolderSettings, ImageSettings, ModelSettings, PromptSettings
from palitune.config.name_kinds import Pairs
from palitune.config.page import PageSettings
from palitune.config.settings import Setting, Settings, groups_of, settings_of
from palitune.config.value_kinds import Choice, Rules, Texts

G = TypeVar("G", bound=Settings)
OF_PAIRS = ("--map", "--rename")  # whose values may begin with the - of a negative number
IS_PAIR = re.compile(r"(?:-\d|[^-=])[^=]*=.")


def add(parser: argparse.ArgumentParser, group: type[Settings], leave_out: Collection[str] = ()) -> None:
    """Adds the options of a group of settings, or of all groups that a dataclass of settings is made of.

    Args:
      leave_out: names of settings that the command has no option for.
    """
    if len(parts := groups_of(group)) > 1:
        for part in parts:
            add(parser, part, leave_out)
        return
    target: Any = parser.add_argument_group(group.TITLE) if group.TITLE else parser
    for one in settings_of(group):
        if one.name not in leave_out:
            _add_option(target, one)


def _add_option(target: Any, one: Setting) -> None:
    """One option of a parser or of a group of it."""
    kind, names = one.details.kind, (*one.details.short, one.option)
    details: dict[str, Any] = {"dest": one.name, "help": _help(one), "default": one.default}
    if one.is_flag:
        details["action"] = "store_false" if one.default else "store_true"
    elif isinstance(kind, Choice):
        details["choices"] = kind.names
    else:
        details |= {"type": values.typed(kind), "metavar": one.details.metavar}
    if isinstance(kind, Rules):
        details |= {"action": "append", "default": None}
    if isinstance(kind, Texts):
        details |= {"nargs": "+", "default": None}
    if isinstance(kind, Pairs):
        details |= {"nargs": "+", "action": "extend", "default": None}
    target.add_argument(*names, **details)


def _help(one: Setting) -> str:
    text = f"{one.details.help} ({one.default_text})" if one.default_text else one.details.help
    return text.replace("%", "%%")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed, with the names of the options that were as its `typed`. Raises SystemExit as argparse does."""
    arguments = _with_values(_with_pairs(arguments))
    args = parser.parse_args(arguments)
    # Parsed once more without defaults: what is there then was typed.
    bare = vars(parser.parse_args(arguments, argparse.Namespace(**dict.fromkeys(vars(args)))))
    args.typed = {option for option, value in bare.items() if value is not None}
    if "lang" in args.typed and not any(getattr(args, one, None) for one in ("output", "sheet", "report", "write")):
        parser.error("--lang is the language of a page or a drawing, and none is written")
    return args


def _with_pairs(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--map 1=a -1=b` is `--map=1=a --map=-1=b`: argparse takes -1=b for an option."""
    found: list[str] = []
    waiting = list(arguments)
    while waiting:
        one = waiting.pop(0)
        found.append(one)
        if one in OF_PAIRS and waiting and IS_PAIR.match(waiting[0]):
            found.pop()
            while waiting and IS_PAIR.match(waiting[0]):
                found.append(f"{one}={waiting.pop(0)}")
    return found


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Labels such as -1 are values, which argparse takes for options: they are joined to the option before them."""
    found: list[str] = []
    for one in arguments:
        if found and found[-1] in ("--labels", "--positive") and re.match(r"-\d", one):
            found[-1] += f"={one}"
        else:
            found.append(one)
    return found


def read(group: type[G], args: argparse.Namespace) -> G:
    """A group of settings as it was typed.

    Raises:
      UsageError: a setting has no such value.
    """
    given = {}
    for one in settings_of(group):
        if one.name in args.typed:
            value = getattr(args, one.name)
            is_list = isinstance(one.details.kind, (Rules, Texts, Pairs))
            given[one.name] = tuple(itertools.chain.from_iterable(value)) if is_list else value
    return group.of(given)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it is run."""
    add(parser, ModelSettings)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Where the images of answers are."""
    add(parser, FolderSettings, RECORDS)


def add_records(parser: argparse.ArgumentParser) -> None:
    """How examples are turned into questions."""
    add(parser, PromptSettings)
    add_images(parser)


def add_images(parser: argparse.ArgumentParser) -> None:
    """How records are read, where images are, and how those are read."""
    add(parser, ImageSettings)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Which answers there are."""
    add(parser, AnsweringSettings, ("decode", "max_new_tokens", "threshold", "min_p"))


def add_page(parser: argparse.ArgumentParser, text: str, usual: str | None = None) -> None:
    """Where a page goes, and in which language; `text` is the help, and `usual` the page where none is named."""
    parser.add_argument("-o", "--output", metavar="HTML", default=usual, help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a page")
    add(parser, PageSettings)


def add_classes(parser: argparse.ArgumentParser, has_positive: bool = True) -> None:
    """Which labels there are in a file of answers, which tells of most itself.

    Args:
      has_positive: whether it matters which of them is the positive one.
    """
    text = "the labels there are; the first of two is the positive one (yes,no, or those of FILE)"
    parser.add_argument("--labels", type=values.labels, metavar="A,B", help=text)
    parser.add_argument("--labels-from", metavar="FILE", help="a file with one of the labels on each line")
    if has_positive:
        text = "the label that counts as yes, against all others (the first of two, or as FILE was made with)"
        parser.add_argument("--positive", metavar="LABEL", help=text)


def classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The labels that were typed in the options of `add_classes`, of two the positive one first; None without any.

    Raises:
      UsageError: the positive label is none of them.
      MissingInputError, BadDataError: the file of labels cannot be used.
    """
    from palitune.data import label_sets

    typed = label_sets.typed(LabelSettings(labels=args.labels, labels_from=args.labels_from))
    positive = getattr(args, "positive", None)
    return None if typed is None else label_sets.with_positive(typed, positive).labels


def opening(args: argparse.Namespace) -> tuple[ModelSettings, ImageSettings]:
    """What `infer.opening.open_model` takes of the options of `add_model` and `add_images`, as typed."""
    return read(ModelSettings, args), read(ImageSettings, args)


def folders(args: argparse.Namespace) -> FolderSettings:
    """How records are read and where images are, as typed in the options of `add_folder` or `add_images`."""
    return read(FolderSettings, args)

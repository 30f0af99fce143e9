"""Options made from settings, and settings read from options, so that they mean the same in every command.

Imports nothing heavy.
"""

import argparse
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypedDict, TypeVar

from palitune.cli import values
from palitune.config.answering import AnsweringSettings
from palitune.config.model import EvaluatedImageSettings, FolderSettings, ImageSettings, ModelSettings, PromptSettings
from palitune.config.settings import Setting, Settings, groups_of, settings_of
from palitune.config.value_kinds import Choice, Rules, Texts

G = TypeVar("G", bound=Settings)


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
    target.add_argument(*names, **details)


def _help(one: Setting) -> str:
    text = f"{one.details.help} ({one.default_text})" if one.default_text else one.details.help
    return text.replace("%", "%%")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed, with the names of the options that were as its `typed`. Raises SystemExit as argparse does."""
    args = parser.parse_args(arguments)
    # Parsed once more without defaults: what is there then was typed.
    bare = vars(parser.parse_args(arguments, argparse.Namespace(**dict.fromkeys(vars(args)))))
    args.typed = {option for option, value in bare.items() if value is not None}
    return args


def read(group: type[G], args: argparse.Namespace) -> G:
    """A group of settings as it was typed.

    Raises:
      UsageError: a setting has no such value.
    """
    given = {}
    for one in settings_of(group):
        if one.name in args.typed:
            value = getattr(args, one.name)
            is_list = isinstance(one.details.kind, (Rules, Texts))
            given[one.name] = tuple(itertools.chain.from_iterable(value)) if is_list else value
    return group.of(given)


def _adder(group: type[Settings]) -> Callable[[argparse.ArgumentParser], None]:
    def add_group(parser: argparse.ArgumentParser) -> None:
        add(parser, group)

    return add_group


add_model, add_answering, add_folder = _adder(ModelSettings), _adder(AnsweringSettings), _adder(FolderSettings)


def add_records(parser: argparse.ArgumentParser, evaluation: bool = False) -> None:
    """How examples are turned into questions. `evaluation` as in `add_images`."""
    add(parser, PromptSettings)
    add_images(parser, evaluation)


def add_images(parser: argparse.ArgumentParser, evaluation: bool = False) -> None:
    """Where images are, and how they are read.

    Args:
      evaluation: several frames of one image can be evaluated.
    """
    add(parser, EvaluatedImageSettings if evaluation else ImageSettings)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Which answers there are."""
    add(parser, AnsweringSettings, ("decode", "threshold"))


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Which labels there are in a file of answers, which tells of most itself."""
    text = "the labels there are; the first of two is the positive one (yes,no, or those of FILE)"
    parser.add_argument("--labels", type=values.labels, metavar="A,B", help=text)


class ModelOptions(TypedDict):
    """What `infer.loading.load` takes of the options of `add_model`."""

    tokenizer: str | None
    dtype: str
    allocator: str
    quiet: bool


def model_options(args: argparse.Namespace) -> ModelOptions:
    """How a checkpoint is loaded, as typed."""
    return {"tokenizer": args.tokenizer, "dtype": args.dtype, "allocator": args.allocator, "quiet": args.quiet}


class ImageOptions(TypedDict):
    """What `infer.loading.image_source` takes of the options of `add_model` and `add_images`."""

    features: bool
    frames: str | None
    max_pixels: int | None
    quiet: bool


def image_options(args: argparse.Namespace) -> ImageOptions:
    """How images are read, as typed."""
    return {"features": args.features, "frames": args.frames, "max_pixels": args.max_pixels, "quiet": args.quiet}


class AnsweringOptions(TypedDict):
    """What `infer.answering.made_with` takes of the options of `add_answering`."""

    labels: tuple[str, ...]
    decode: bool
    threshold: float | None
    prompt: str | None
    quiet: bool


def answering_options(args: argparse.Namespace) -> AnsweringOptions:
    """How scores become answers, as typed."""
    return {
        "labels": tuple(args.labels),
        "decode": args.decode,
        "threshold": args.threshold,
        "prompt": args.prompt,
        "quiet": args.quiet,
    }


class FolderOptions(TypedDict):
    """What `data.dataset.load` and `evaluate.answer_files.located` take of the options of `add_folder`."""

    images: str | None
    allow_outside: bool


def folder_options(args: argparse.Namespace) -> FolderOptions:
    """Where images may be, as typed."""
    return {"images": args.images, "allow_outside": args.allow_outside}


def opening(args: argparse.Namespace) -> tuple[ModelSettings, ImageSettings]:
    """What `run.opening.open_model` takes of the options of `add_model` and `add_images`, as typed."""
    return read(ModelSettings, args), read(ImageSettings, args)

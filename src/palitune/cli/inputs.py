"""What a command reads, named by its place or by an option: `palitune split FILE` is `palitune split -d FILE`."""

import argparse
from typing import NamedTuple

from palitune.errors import UsageError


class Input(NamedTuple):
    """The option of what a command reads, which may be left out before the name.

    Attributes:
      dest: the option's attribute of the parsed arguments.
      option: as it is typed, "-d".
      metavar: what usage calls it.
    """

    dest: str = "data"
    option: str = "-d"
    metavar: str = "FILE"


def accept_by_place(parser: argparse.ArgumentParser, one: Input) -> None:
    """Adds a positional argument that means the same as the option. It follows the parser's other ones."""
    parser.add_argument("place", nargs="?", metavar=one.metavar, help=f"the same as {one.option} {one.metavar}")


def settle(args: argparse.Namespace, one: Input) -> None:
    """Puts what was named by its place where the option has it.

    Raises:
      UsageError: it was named in both ways, or in none and there is no default.
    """
    place = args.place
    del args.place
    args.typed.discard("place")
    if place is not None:
        if one.dest in args.typed:
            raise UsageError(f"{one.metavar} and {one.option} name the same input: leave one of them out")
        setattr(args, one.dest, place)
        args.typed.add(one.dest)
    elif getattr(args, one.dest) is None:
        raise UsageError(f"the input is required: {one.metavar}, or {one.option} {one.metavar}")

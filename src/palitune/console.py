"""Lines for a person on stderr."""

import sys

from palitune.errors import printable


def status(text: str, quiet: bool = False) -> None:
    """What is about to be done, said at once at a terminal; scripts get their lines when all is checked."""
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} …", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A line for a person, on stderr, whatever names are in it."""
    print(printable(text), file=sys.stderr, flush=True)

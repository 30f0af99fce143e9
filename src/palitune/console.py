"""What a command is about to do, said at once at a terminal; scripts get their lines when all is checked."""

import sys

# Commands that import JAX, which takes a second or more.
ASKING = ("learn", "train", "validate", "inference", "prompts", "baseline", "suspect", "verify", "pretrain-tiny")


def status(text: str, quiet: bool = False) -> None:
    """A line on stderr, where that is a terminal."""
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} …", file=sys.stderr, flush=True)

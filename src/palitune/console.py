"""Lines for the user on stderr, and commands as the user types them."""

import os
import shutil
import sys

from palitune.errors import printable

# Commands that are numbered stages in playground/.
STAGES = {
    "download": "01-download_models.py",
    "split": "02-shuffle_data.sh",
    "learn": "03-do_learn.py",
    "validate": "04-validate.py",
    "chat": "06-chat.py",
    "iterate": "07-iterate.sh",
    "inference": "13-inference.py",
    "aggregate": "14-validate_outtsv.py",
    "train": "15-train.py",
    "filter": "16-filter_train_data.py",
}


def command(name: str) -> str:
    """Returns how the user types a command: as a numbered stage if the current folder has it, else `palitune NAME`."""
    stage = STAGES.get(name)
    return f"./{stage}" if stage is not None and os.path.isfile(stage) else f"palitune {name}"


def width() -> int:
    """How many columns the terminal has."""
    return shutil.get_terminal_size().columns


def limit() -> int | None:
    """How many columns a line on stdout may have: as the terminal has, or COLUMNS says; None in a pipe or a file."""
    return width() if "COLUMNS" in os.environ or (sys.stdout is not None and sys.stdout.isatty()) else None


def is_watched() -> bool:
    """Whether somebody sees progress bars: at a terminal, or in a notebook."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def status(text: str, quiet: bool = False) -> None:
    """Says on stderr what begins now. Only at a terminal: a script gets its lines when everything has been checked."""
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} …", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Prints a line for the user on stderr; unprintable characters in it, as from file names, are escaped."""
    print(printable(text), file=sys.stderr, flush=True)

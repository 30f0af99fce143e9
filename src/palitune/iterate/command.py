"""A command of palitune as a process of its own: what a loop does is what a person could type.

A process gives back all memory of the device, and one that fails takes nothing along.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from palitune.errors import ResumableError
from palitune.run.interrupt import Interrupt
from palitune.run.supervision import end_with_parent
from palitune.storage import files

POLL = 0.2  # seconds between two checks of a process
LAST = 4_000  # bytes at the end of what it says
SHOWN = 100  # characters of its last line
NAMED = re.compile(r"(?:palitune [\w-]+|\S+): ")  # what an error begins with


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
      error: its last line on stderr.
    """

    code: int
    seconds: float
    error: str


def shown(words: Sequence[str], output: Path | None = None) -> str:
    """A command as a person types it."""
    command = f"palitune {shlex.join(words)}"
    return command if output is None else f"{command} > {shlex.quote(str(output))}"


def run(words: Sequence[str], notes: Path, output: Path, bar: tqdm, again: str) -> Ended:  # type: ignore[type-arg]
    """Runs a command to its end.

    Args:
      words: behind `palitune`.
      notes: the file that its stderr goes to.
      output: the file that its stdout goes to; it appears when the command has ended.
      bar: shows its latest line.
      again: the command that continues the loop.

    Raises:
      ResumableError: a signal asked to stop. The command has been asked too, and has saved what it can go on from.
    """
    began, half = time.monotonic(), output.with_name(f"{output.name}.part")
    with half.open("wb") as out, notes.open("wb") as err, Interrupt() as interrupt:
        # In a session of its own, so that Ctrl-C reaches it once, and through here.
        process = subprocess.Popen(
            [sys.executable, "-m", "palitune", *words],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent if os.name == "posix" else None,
        )
        asked = False
        while (code := _code(process)) is None:
            if interrupt.wanted is not None and not asked:
                process.send_signal(signal.SIGTERM)
                asked = True
            bar.set_postfix_str(last_line(notes)[:SHOWN])
    if interrupt.wanted is not None:
        raise ResumableError("stopped", hint=f"Continue with {again}")
    half.replace(output)
    return Ended(code, time.monotonic() - began, NAMED.sub("", last_line(notes), count=1))


def _code(process: "subprocess.Popen[bytes]") -> int | None:
    """The exit code, after a short wait for it."""
    try:
        return process.wait(POLL)
    except subprocess.TimeoutExpired:
        return None


def last_line(path: Path) -> str:
    """The last line of a file of text, as far as it is written."""
    with files.open_to_read(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LAST))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""

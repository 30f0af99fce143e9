"""A process that watches over the one that learns with others: if that is ended, it says how to go on.

Where a process of several is lost, JAX's runtime ends all others at once, without an exception that Python could catch.
"""

import contextlib
import ctypes
import os
import shlex
import signal
import sys

from palitune.errors import ResumableError

PR_SET_PDEATHSIG = 1  # of prctl(2)


def again(program: str, name: str | None) -> str:
    """The command that resumes a run of several processes or one; of a run without a name nothing is kept."""
    return f"{program} --resume -w {shlex.quote(name)}" if name else "the same command"


def supervise(resuming: str) -> None:
    """Returns in a process of its own, which does the work; this one waits for it, and ends as it does.

    Args:
      resuming: the command that resumes the run.

    Raises:
      ResumableError: the other was ended by a signal.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    worker = os.fork()
    if worker == 0:
        end_with_parent()
        return
    # A terminal sends Ctrl-C to both; a scheduler sends SIGTERM to this one alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(worker, signal.SIGTERM))
    _, status = os.waitpid(worker, 0)
    if (code := os.waitstatus_to_exitcode(status)) >= 0:
        os._exit(code)
    name = signal.Signals(-code).name
    raise ResumableError(
        f"another process has ended, or this one was killed ({name})",
        hint=f"Continue with {resuming}, in all processes",
    )


def end_with_parent() -> None:
    """Has the kernel kill this process when the one that watches over it is killed, where it can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

"""How a command ends: signals that ask for it, errors as one line, and the exit code."""

import atexit
import errno
import os
import signal
import sys
import traceback
import warnings
from types import FrameType, TracebackType
from typing import NoReturn

from palitune import jax_environment
from palitune.errors import (
    ConfigurationError,
    MissingInputError,
    PalituneError,
    ResumableError,
    Stopped,
    StorageError,
    printable,
)

INTERNAL_ERROR = 70
OUT_OF_MEMORY = (
    "the device ran out of memory. Use a smaller --batch-size (with --accumulate for the rest) or --method lora, or "
    "close what else uses the GPU; palitune plan shows what fits, docs/memory.md what --allocator does"
)
OUT_OF_HOST_MEMORY = (
    "this machine ran out of memory. Close what else uses it, or give it less at once: fewer records, smaller images, "
    "a smaller --batch-size"
)
signals: list[int] = []  # that have asked to end
STOP_INTERVAL = 0.5  # seconds; longer than any clean-up takes


def listen() -> None:
    """Signals that ask to end raise Stopped from here on."""
    signals.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def flushed(code: str | int | None, name: str) -> int:
    """The exit code, where what was printed has reached its place."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()  # the reader of our output has what it wanted
        return 128 + signal.SIGPIPE
    except OSError as error:
        _abandon_stdout()
        line, code = _described(error)
        print(f"{name}: {line}", file=sys.stderr)
    return code if isinstance(code, int) else 0 if code is None else 1  # as Python ends with what SystemExit has


class Ending:
    """How a command ends: what went wrong is one line on stderr, and an exit code. It is entered around the command.

    A context, so that no frame of its own stands between the stage and what it runs.
    """

    def __init__(self, program: str, *, debug: bool) -> None:
        """`debug` shows where an error came from."""
        self.debug, self.name, self.code = debug, os.path.basename(program), 0

    def __enter__(self) -> None:
        listen()
        jax_environment.clean()
        if not self.debug:
            # Libraries warn of odd EXIF tags and the like; a person cannot act on that.
            warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is None:
            self.code = flushed(0, self.name)
            return True
        if isinstance(error, Stopped):
            leave(error, self.name)
        if isinstance(error, BrokenPipeError):
            _abandon_stdout()
            self.code = 128 + signal.SIGPIPE
            return True
        if not isinstance(error, Exception):
            return False
        if signals and not isinstance(error, (PalituneError, OSError)):
            leave(Stopped(signals[-1]), self.name)  # a library that was being loaded made something else of it
        if self.debug:
            traceback.print_exception(error)
        line, self.code = _described(error)
        print(f"{self.name}: {line}", file=sys.stderr)
        if isinstance(error, OSError):
            _abandon_stdout()
        else:
            self.code = flushed(self.code, self.name)
        return True


def _described(error: Exception) -> tuple[str, int]:
    """What is said of an error on its line, and the exit code."""
    text = printable(" ".join(str(error).split())[:300])
    if isinstance(error, PalituneError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        is_name = error.errno in (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
        hint = "Check the name" if is_name else "Check the disk and the permissions"
        line = printable(f"{where}{error.strerror or error}. {hint}")
        return line, MissingInputError.exit_code if is_name else StorageError.exit_code
    if isinstance(error, MemoryError):
        return OUT_OF_HOST_MEMORY, ConfigurationError.exit_code
    if "RESOURCE_EXHAUSTED" in str(error):
        return OUT_OF_MEMORY, ConfigurationError.exit_code
    if isinstance(error, ImportError):
        return f"the installation is not whole: {text}. Install palitune again", ConfigurationError.exit_code
    if isinstance(error, UnicodeEncodeError):
        what = f"{printable(error.object[:200])!r} cannot be written in this system's encoding, {error.encoding}"
        return f"{what}. Set PYTHONUTF8=1, or LANG to one of UTF-8", ConfigurationError.exit_code
    hint = "Run it again with --debug and report what it shows"
    return f"unexpected {type(error).__name__}: {text}. {hint}", INTERNAL_ERROR


def tell_unreadable() -> None:
    """How many images were shown as they are stored because their metadata is damaged; lint has named them."""
    images = sys.modules.get("palitune.data.images.decoder")
    if images is not None and (count := len(images.unreadable)):
        what = "1 image has" if count == 1 else f"{count} images have"
        text = f"note: {what} damaged metadata that says which side is up: shown as stored; palitune lint names them"
        print(text, file=sys.stderr)


def leave(stopped: Stopped, name: str) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    what = stopped.hint or "nothing half-written is left"
    print(f"{name}: interrupted; {what}", file=sys.stderr, flush=True)
    # Without Python's own end: XLA's threads are still at work, and may crash while it takes things apart.
    os._exit(ResumableError.exit_code if stopped.hint else 128 + stopped.number)


def _abandon_stdout() -> None:
    """What stdout still holds goes nowhere: Python would try once more, and complain, while it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises Stopped, again and again: an exception in a callback of the garbage collector goes nowhere."""

    def again(alarm: int, frame: FrameType | None) -> None:
        if not _is_loading(frame):
            raise Stopped(number)

    signals.append(number)
    sys.unraisablehook = lambda lost: None
    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, STOP_INTERVAL, STOP_INTERVAL)
    # A process that comes to its end all the same has no handler any more when the next alarm would reach it.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    again(number, frame)


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being imported: an exception amid the start of a library of C++ may crash the process."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None

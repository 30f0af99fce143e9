"""The command line: which commands there are, and how each of them ends."""

import argparse
import atexit
import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn

from palitune import __version__, console, jax_environment, streams
from palitune.cli import arguments as options
from palitune.cli import inputs
from palitune.errors import (
    ConfigurationError,
    MissingInputError,
    PalituneError,
    ResumableError,
    Stopped,
    StorageError,
    UsageError,
    printable,
)

# Command: (module under palitune.cli, one line for --help). A module has DESCRIPTION, add_arguments and run.
COMMANDS = {
    "download": ("download", "fetch a model by its published name, or a tiny one that ships with palitune"),
    "demo-data": ("demo_data", "draw a small data set to try everything on"),
    "split": ("split", "shuffle a data set and part it into training and validation"),
    "learn": ("learn", "fine-tune a model, and evaluate it before and after"),
    "validate": ("validate", "evaluate a model on one or more data sets"),
    "chat": ("chat", "talk to a model, or ask it a question for each line of a pipe"),
    "inference": ("inference", "write a model's answers as lines of text"),
    "gather": ("gather", "put the answers of all shards together, in the order of the records"),
    "aggregate": ("aggregate", "count what inference wrote, without a model"),
    "train": ("train", "fine-tune a model on a file of examples"),
    "filter": ("filter", "of what inference wrote, the lines to train on"),
    "runs": ("runs", "what has been learned so far: a table of all runs, two compared, the best"),
    "report": ("report", "evaluate answers: a page, text or JSON"),
    "compare": ("compare", "what changed between models, and whether it is more than chance"),
    "failures": ("failures", "all wrong answers, the most confident first, with text and image"),
    "threshold": ("threshold", "choose from which p_yes on a model says yes"),
    "prompts": ("prompts", "score every prompt of a file on the same data, before any training"),
    "baseline": ("baseline", "what there is to beat: the most frequent label, zero-shot, a linear probe"),
    "suspect": ("suspect", "examples whose label a model doubts"),
    "uncertain": ("uncertain", "what to label next: the answers a model is least sure of"),
    "lint": ("lint", "find what is wrong with data before it costs an evening"),
    "stats": ("stats", "count yes and no, by column"),
    "thin": ("thin", "leave out examples until yes and no are in proportion"),
    "convert": ("convert", "other people's formats to records, and back"),
    "plan": ("plan", "show what fits on a card: memory and time by method and batch size"),
    "merge": ("merge", "make one whole checkpoint of a trained one and its base"),
    "export": ("export", "make a folder that transformers and vLLM load"),
    "doctor": ("doctor", "what this machine has of what palitune needs, and what is likely to go wrong"),
    "verify": ("verify", "hold a checkpoint to big_vision or transformers"),
    "pretrain-tiny": ("pretrain_tiny", "make a tiny model again from its seed"),
}
EPILOGUE = """\
the main job:
  palitune download --model tiny
  palitune demo-data
  palitune split -v 10 -n set1
  palitune learn -d set1 -w trained-set1
  palitune validate -m trained-set1 dataset/set1/valid.jsonl

checkpoints/ and cache/ are those of the repository that the command runs in, else of the current folder;
PALITUNE_HOME names another place for both

exit codes: 0 done, 2 usage, 65 bad data, 66 missing input, 69 network, 73 output exists, 74 disk,
  75 stopped, continue with --resume, 77 credentials, 78 configuration, 79 diverged, 130/143 interrupted
"""
# Commands that import JAX, which takes a second or more.
ASKING = (
    *("learn", "train", "validate", "chat", "inference"),
    *("prompts", "baseline", "suspect", "verify", "pretrain-tiny"),
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


class Parser(argparse.ArgumentParser):
    """argparse's parser, with one line for a mistake instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        line = printable(f"{os.path.basename(self.prog)}: {message}. See {self.prog} --help")
        self.exit(UsageError.exit_code, f"{line}\n")


def main(command: str | None = None, arguments: list[str] | None = None) -> NoReturn:
    """Runs a command and exits; `command` is fixed for the numbered stages and read from the arguments otherwise."""
    streams.prefer_utf8()
    streams.install()
    _listen()
    name = os.path.basename(sys.argv[0])
    try:
        run, args, program = _read(command, sys.argv[1:] if arguments is None else arguments)
    except SystemExit as end:  # of --help, --version and mistakes
        sys.exit(_flushed(end.code, name))
    except Stopped as stopped:
        _leave(stopped, name)
    ending = _Ending(args, program)
    with ending:
        run(args)
        if not args.quiet:
            _tell_unreadable()
    sys.exit(ending.code)


def _read(
    command: str | None, arguments: list[str]
) -> tuple[Callable[[argparse.Namespace], None], argparse.Namespace, str]:
    """What to run, with what was typed, and the name that messages begin with. Raises SystemExit."""
    if command is None:
        command, arguments = _choose(arguments)
        program = f"palitune {command}"
    else:
        program = sys.argv[0]
    module = importlib.import_module(f"palitune.cli.{COMMANDS[command][0]}")
    parser = Parser(prog=program, description=module.DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    read: inputs.Input | None = getattr(module, "INPUT", None)
    if read is not None:
        inputs.accept_by_place(parser, read)
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes, only results and errors")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = options.parse(parser, arguments)
    if read is not None:
        try:
            inputs.settle(args, read)
        except UsageError as error:
            parser.error(str(error))
    if command in ASKING:
        console.status("loading JAX", args.quiet)
    return module.run, args, program


def _choose(arguments: list[str]) -> tuple[str, list[str]]:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = Parser(
        prog="palitune",
        usage="palitune COMMAND [options]",
        description=f"Fine-tune PaliGemma on your own GPU and know what the result is worth.\n\ncommands:\n{listed}",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="`palitune COMMAND --help` tells more")
    parser.add_argument("--version", action="version", version=f"palitune {__version__}")
    # The rest belongs to the command, `--help` included.
    return parser.parse_args(arguments[:1] or ["--help"]).command, arguments[1:]


def _listen() -> None:
    """Signals that ask to end raise Stopped from here on."""
    signals.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _flushed(code: str | int | None, name: str) -> int:
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


class _Ending:
    """How a command ends: what went wrong is one line on stderr, and an exit code. It is entered around the command.

    A context, so that no frame of its own stands between the stage and what it runs.
    """

    def __init__(self, args: argparse.Namespace, program: str) -> None:
        self.args, self.name, self.code = args, os.path.basename(program), 0

    def __enter__(self) -> None:
        _listen()
        jax_environment.clean()
        if not self.args.debug:
            # Libraries warn of odd EXIF tags and the like; a person cannot act on that.
            warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is None:
            self.code = _flushed(0, self.name)
            return True
        if isinstance(error, Stopped):
            _leave(error, self.name)
        if isinstance(error, BrokenPipeError):
            _abandon_stdout()
            self.code = 128 + signal.SIGPIPE
            return True
        if not isinstance(error, Exception):
            return False
        if signals and not isinstance(error, (PalituneError, OSError)):
            _leave(Stopped(signals[-1]), self.name)  # a library that was being loaded made something else of it
        if self.args.debug:
            traceback.print_exception(error)
        line, self.code = _described(error)
        print(f"{self.name}: {line}", file=sys.stderr)
        if isinstance(error, OSError):
            _abandon_stdout()
        else:
            self.code = _flushed(self.code, self.name)
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


def _tell_unreadable() -> None:
    """How many images were shown as they are stored because their metadata is damaged; lint has named them."""
    images = sys.modules.get("palitune.data.images.decoder")
    if images is not None and (count := len(images.unreadable)):
        what = "1 image has" if count == 1 else f"{count} images have"
        text = f"note: {what} damaged metadata that says which side is up: shown as stored; palitune lint names them"
        print(text, file=sys.stderr)


def _leave(stopped: Stopped, name: str) -> NoReturn:
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

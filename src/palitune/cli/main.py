"""The command line: which commands there are, and how each of them ends."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from palitune import __version__, console, ending, streams
from palitune.cli import arguments as options
from palitune.cli import inputs
from palitune.errors import (
    Stopped,
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
    "iterate": ("iterate", "learn, evaluate and choose in a loop, and say whether it was worth it"),
    "train": ("train", "fine-tune a model on a file of examples"),
    "filter": ("filter", "of what inference wrote, the lines to train on"),
    "runs": ("runs", "what has been learned so far: a table of all runs, two compared, the best"),
    "report": ("report", "evaluate answers: a page, text or JSON"),
    "compare": ("compare", "what changed between models, and whether it is more than chance"),
    "ab": ("ab", "which of two models' answers people prefer: a page to vote on, and the tally"),
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


class Parser(argparse.ArgumentParser):
    """argparse's parser, with one line for a mistake instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        line = printable(f"{os.path.basename(self.prog)}: {message}. See {self.prog} --help")
        self.exit(UsageError.exit_code, f"{line}\n")


def main(command: str | None = None, arguments: list[str] | None = None) -> NoReturn:
    """Runs a command and exits; `command` is fixed for the numbered stages and read from the arguments otherwise."""
    streams.prefer_utf8()
    streams.install()
    ending.listen()
    name = os.path.basename(sys.argv[0])
    try:
        run, args, program = _read(command, sys.argv[1:] if arguments is None else arguments)
    except SystemExit as over:  # of --help, --version and mistakes
        sys.exit(ending.flushed(over.code, name))
    except Stopped as stopped:
        ending.leave(stopped, name)
    end = ending.Ending(program, debug=args.debug)
    with end:
        run(args)
        if not args.quiet:
            ending.tell_unreadable()
    sys.exit(end.code)


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

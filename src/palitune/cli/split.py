"""Stage 2: which records teach, and which judge."""

import argparse
import sys

from palitune.cli import arguments

DESCRIPTION = """\
Shuffles a data set and writes NAME/{shuffle,train,valid}.jsonl beside it (dataset/NAME for dataset/data.jsonl): the
first records for validation, the rest for training. The order depends on --seed and on the name, so set1 and set2 are
different splits that anybody can repeat.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--validation", type=int, default=10, metavar="N", help="records for validation (10)")
    parser.add_argument("-n", "--name", default="set1", help="name of the split (default: %(default)s)")
    parser.add_argument("-d", "--data", default="dataset/data.jsonl", metavar="FILE", help="(default: %(default)s)")
    parser.add_argument(
        "--seed", type=arguments.seed, default=0, help="another seed gives another order (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another split of this name")


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from palitune.data.split import split
    from palitune.errors import MissingInputError, UsageError

    source = Path(args.data)
    if args.name in ("", ".", "..") or Path(args.name).name != args.name:
        raise UsageError(f"-n {args.name!r} must be a plain name; the split goes to {source.parent}/NAME")
    if not source.exists():
        hint = "Put your data there, name it with -d, or draw some with: palitune demo-data"
        raise MissingInputError("no such file", where=str(source), hint=hint)
    folder = source.parent / args.name
    train, valid = split(source, folder, args.validation, args.seed, args.overwrite)
    if not args.quiet:
        print(f"{folder}: {train} for training, {valid} for validation", file=sys.stderr)

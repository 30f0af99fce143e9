"""The answers of all shards together."""

import argparse
from pathlib import Path

from palitune.cli.inputs import Input

INPUT = Input("out", "-o", "OUT")
DESCRIPTION = """\
Puts the answers of `palitune inference --resume OUT --shard I/N`, for each I from 1 to N, together in the order of the
records, as one process would have written them. OUT appears whole or not at all, and only if every record has exactly
one answer, all of the same data, model and settings.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune gather` to its parser."""
    parser.epilog = "examples:\n  palitune gather tmp/out.tsv -d tmp/all.tsv\n"
    parser.add_argument("-o", "--out", metavar="OUT", help="the name that the shards were given with --resume")
    parser.add_argument("-d", "--data", metavar="FILE", help="also check that the shards are answers to this file")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune gather` with the arguments that were given."""
    from palitune.run.gathering import gather

    gather(Path(args.out), Path(args.data) if args.data else None, overwrite=args.overwrite, quiet=args.quiet)

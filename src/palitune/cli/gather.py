"""The answers of all shards together."""

import argparse

from palitune.cli.inputs import Input

INPUT = Input("out", "-o", "OUT")
DESCRIPTION = """\
Puts the answers together that `palitune inference --resume OUT --shard I/N` wrote for each I from 1 to N, in the order
of the records, as one process would have written them. OUT appears whole or not at all, and only if every record has
exactly one answer: all shards are there and finished, were asked about the same file with the same model and settings,
and have not changed since. The shards' files stay.
"""
EXAMPLES = """\
examples:
  palitune gather tmp/out.tsv                      tmp/out.1-of-8.tsv to tmp/out.8-of-8.tsv become tmp/out.tsv
  palitune gather tmp/out.tsv -d tmp/all.tsv       and are answers to this file, byte for byte

exit codes: 65 shards of other records or settings, or changed; 66 a shard is missing; 73 OUT exists;
  75 a shard is not finished, and continues where it is started again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune gather` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--out", metavar="OUT", help="the name that the shards were given with --resume")
    parser.add_argument("-d", "--data", metavar="FILE", help="also check that the shards are answers to this file")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune gather` with the arguments that were given."""
    from pathlib import Path

    from palitune.run.gathering import gather

    gather(Path(args.out), Path(args.data) if args.data else None, overwrite=args.overwrite, quiet=args.quiet)

"""A data set to practise on."""

import argparse

from palitune import console
from palitune.cli import values

DESCRIPTION = """\
Draws advertisements for bottles, jars, boxes and tubes into FOLDER/images and writes FOLDER/data.jsonl.
The rule to learn: an advertisement with a cross on it is not allowed ("no"), any other is ("yes").
"""
EXAMPLES = """\
examples:
  palitune demo-data                              dataset/images and dataset/data.jsonl
  palitune demo-data -o more --count 200 --seed 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune demo-data` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--output", default="dataset", metavar="FOLDER", help="(default: %(default)s)")
    parser.add_argument(
        "--count", type=values.positive_int, default=96, help="how many; the default 96 has 54 allowed and 42 not"
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="another seed draws others (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace another data set")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune demo-data` with the arguments that were given."""
    from collections import Counter
    from pathlib import Path

    from palitune.data.demo import demo_data

    records = demo_data.make(Path(args.output), args.count, args.seed, args.overwrite)
    if not args.quiet:
        labels = Counter(record["suffix"] for record in records)
        kinds = Counter(record["image"].rpartition(".")[2] for record in records)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"{len(records)} advertisements in {args.output}: {labels['yes']} yes, {labels['no']} no; {listed}"
        console.note(text)

"""Stage 16: of what inference wrote, the lines to train on."""

import argparse
import sys

from palitune import console
from palitune.cli import arguments

DESCRIPTION = """\
Writes the lines of FILE whose answer is wrong, as they are: what inference wrote, training reads. --keep chooses
others: fp (answer yes, label no), fn (answer no, label yes), tn and tp. Of two other labels, which FILE or --labels
names, the first is yes; of more the --positive one is: a right answer is tp if it says that, else tn, a wrong one fp
if it says that, else fn. Without a positive one right is tp and wrong is fn. A record with several labels is fp, fn
or both where one of them is wrong, else tp if it has one of them and tn if it has none. - is standard input.
"""
EXAMPLES = """\
examples:
  ./16-filter_train_data.py tmp/splitted-aa.tsv | head -64 > tmp/false64.tsv
  ./16-filter_train_data.py --keep fp,fn,tn tmp/out.tsv > tmp/without-tp.tsv
"""
KINDS = ("fp", "fn", "tn", "tp")


def kinds(text: str) -> tuple[str, ...]:
    """Returns kinds of answers, separated by commas: some of KINDS."""
    chosen = tuple(text.lower().split(","))
    for kind in chosen:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}")
    return chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune filter` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="*", default=["-"], metavar="FILE", help="answers, TSV or JSONL (-)")
    text = "which lines to write, some of fp,fn,tn,tp (fp,fn)"
    parser.add_argument("--keep", type=kinds, default=("fp", "fn"), metavar="KINDS", help=text)
    arguments.add_classes(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune filter` with the arguments that were given."""
    from collections import Counter
    from pathlib import Path

    from palitune import streams
    from palitune.evaluate.outcome_lines import outcome_lines

    if args.files == ["-"] and sys.stdin is not None and sys.stdin.isatty() and not args.quiet:
        console.note("answers are read from the keyboard, since no FILE was named: Ctrl-D ends them")
    found: Counter[str] = Counter()
    total, typed = 0, arguments.classes(args)
    for file in args.files:
        for outcomes, raw in outcome_lines(Path(file), typed, args.positive):
            total += 1
            if kept := [outcome for outcome in args.keep if outcome in outcomes]:
                found[kept[0]] += 1
                streams.raw(raw + b"\n")
    sys.stdout.flush()
    if not args.quiet:
        listed = ", ".join(f"{found[outcome]} {outcome}" for outcome in args.keep)
        print(f"{found.total()} of {total} lines: {listed}", file=sys.stderr)

"""How often yes and no are there."""

import argparse

from palitune import streams

DESCRIPTION = """\
Counts yes and no in every column that says one of them in each line (true, false, 1 and 0 too), or in --columns. FILE
is JSONL, whose keys are columns; TSV, of which the label is one; or CSV with a header.
"""
EXAMPLES = """\
examples:
  palitune stats dataset/data.jsonl               suffix: so many yes, so many no
  palitune stats toxicity.csv --columns toxic,obscene,insult
"""


def names(text: str) -> list[str]:
    """Returns different names of columns, separated by commas."""
    chosen = text.split(",")
    if not all(chosen) or len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names")
    return chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune stats` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSONL, TSV or CSV; - is standard input")
    parser.add_argument("--columns", type=names, metavar="A,B", help="columns to count (all that say yes or no)")
    parser.add_argument("--json", action="store_true", help="as one JSON object a file")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune stats` with the arguments that were given."""
    from pathlib import Path

    from palitune.data.checks import label_counts
    from palitune.data.checks.label_tables import share_counts, share_table

    for file in args.files:
        table = label_counts.read(Path(file), args.columns)
        if args.json:
            counts = share_counts(table.names, table.values)
            streams.document({"file": file, "records": len(table.lines), "columns": counts})
        else:
            head = f"{file}:\n" if len(args.files) > 1 else ""
            print(head + share_table(table.names, table.values), flush=True)

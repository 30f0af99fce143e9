"""Stage 14: what inference wrote, counted; no model is needed."""

import argparse

from palitune.cli import arguments, values

DESCRIPTION = """\
Prints a block for each FILE of lines that 13-inference.py wrote: true and false positives and negatives ("yes" is
positive), accuracy, precision, recall and F-measure. For a FILE that has only labels it prints what a constant
answer would score. - is standard input.

Other labels than yes and no are those that FILE was made with. Three and more have a confusion matrix and a line for
each class.

Of free text it prints the share of right answers, chrF, BLEU and ROUGE-L (with palitune[text] installed), and how many
answers are JSON.
"""
EXAMPLES = """\
examples:
  ./14-validate_outtsv.py tmp/out-ab.tsv tmp/splitted-ab.tsv      one block a file
  ./13-inference.py -d tmp/x.tsv | tee tmp/out.tsv | ./14-validate_outtsv.py -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune aggregate` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers, TSV or JSONL")
    arguments.add_classes(parser)
    text = "also count the answers that are less likely than this, and how many of the rest are right"
    parser.add_argument("--min-p", type=values.probability, metavar="P", help=text)
    text = "of free text, also say which share of the answers meets this JSON schema (needs palitune[text])"
    parser.add_argument("--json-schema", metavar="FILE", help=text)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune aggregate` with the arguments that were given."""
    from pathlib import Path

    from palitune.evaluate import free_text
    from palitune.evaluate.report import aggregate

    schema = free_text.read_schema(args.json_schema) if args.json_schema else None
    wanted = aggregate.Wanted(arguments.classes(args), args.positive, args.min_p, schema)
    for file in args.files:
        print(aggregate.block_of(Path(file), wanted), flush=True)

"""Stage 4: what a model is worth, without learning."""

import argparse

from palitune.cli import arguments
from palitune.config.page import PageSettings
from palitune.config.predictor_config import PredictorConfig

DESCRIPTION = """\
Evaluates a model on each FILE and prints a result block for it: true and false positives and negatives ("yes" is
positive), accuracy, precision, recall and F-measure. The answer is the more likely label; with --decode the model
writes its answer freely, and an answer that is no label counts as wrong. --report writes a page with intervals, curves
and images.
"""
EXAMPLES = """\
examples:
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl
  ./04-validate.py -m tiny dataset/set1/train.jsonl dataset/set1/valid.jsonl --sheet sheet.png
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl --report report.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune validate` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of records, JSONL or TSV")
    parser.add_argument("--sheet", metavar="PNG", help="also draw the images with their answers, wrong ones first")
    text = "also write a page about all FILEs together, as `palitune report` does"
    parser.add_argument("--report", metavar="HTML", help=text)
    text = "of free text, also say which share of the answers meets this JSON schema (needs palitune[text])"
    parser.add_argument("--json-schema", metavar="FILE", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let --sheet and --report replace files")
    arguments.add(parser, PageSettings)
    arguments.add(parser, PredictorConfig)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune validate` with the arguments that were given."""
    from palitune.run.validation import validate

    validate(
        arguments.read(PredictorConfig, args),
        args.files,
        sheet=args.sheet,
        page=args.report,
        json_schema=args.json_schema,
        lang=args.lang,
        overwrite=args.overwrite,
        quiet=args.quiet,
    )

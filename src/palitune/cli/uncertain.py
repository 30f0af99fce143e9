"""What to label next."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import streams
from palitune.cli import arguments, values
from palitune.config.page import PageSettings

if TYPE_CHECKING:
    from palitune.evaluate.report.plots import SheetImage
    from palitune.evaluate.uncertain_answers import Line

DESCRIPTION = """\
Writes the lines of FILE, of 13-inference.py, that the model was least sure of, the most uncertain first, as they are.
Labels are not needed: of a thousand images without one, these are worth labelling first.

A record with several labels is as uncertain as the most uncertain of them, whose name its line gets as "uncertain".
"""
EXAMPLES = """\
examples:
  palitune uncertain tmp/out.tsv -n 50 | cut -f1 > to-label.txt
  ls dataset/new | ./13-inference.py -d - -i dataset/new -m trained-set1 | palitune uncertain - -n 20
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune uncertain` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="answers, TSV or JSONL; - is standard input")
    parser.add_argument("-n", "--number", type=values.positive_int, metavar="N", help="how many lines (all)")
    text = "the threshold of p_yes that answers are near to (as they were given, else 0.5 or what parts the answers)"
    parser.add_argument("--threshold", type=values.probability, metavar="P", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw these images with their answers")
    parser.add_argument("--overwrite", action="store_true", help="let --sheet replace a file")
    arguments.add(parser, PageSettings)
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune uncertain` with the arguments that were given."""
    from palitune import workspace

    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.file])
    chosen = _chosen(args)
    shots = _shots(chosen, args) if sheet is not None else []
    for line in chosen:
        streams.raw(line.raw + b"\n")
    sys.stdout.flush()
    if sheet is not None:
        from palitune.evaluate.report import plots

        plots.write_sheet(sheet, shots, args.sheet, args.lang, args.quiet)


def _chosen(args: argparse.Namespace) -> "list[Line]":
    from palitune.data import dataset_files
    from palitune.evaluate import several_answers, uncertain_answers

    dataset_files.require_data(args.file)
    how = {"threshold": args.threshold, "quiet": args.quiet}
    if several_answers.are_in(args.file):
        return uncertain_answers.most_uncertain_of_several(args.file, args.number, **how)
    labels = arguments.classes(args)
    return uncertain_answers.most_uncertain(args.file, args.number, labels=labels, positive=args.positive, **how)


def _shots(chosen: "list[Line]", args: argparse.Namespace) -> "list[SheetImage]":
    """What a sheet shows of lines: those whose image is found."""
    from palitune.data.images import of_examples
    from palitune.errors import MissingInputError
    from palitune.evaluate import answer_files
    from palitune.evaluate.report import plots

    predictions = [line.prediction for line in chosen]
    of_examples.require_images((one.example for one in predictions), args.sheet)
    located = answer_files.located([one.example for one in predictions], Path(args.file), arguments.folders(args))
    shots = [
        plots.SheetImage.of(said._replace(example=one))
        for one, said in zip(located, predictions, strict=True)
        if one.images and one.image.path.is_file()
    ]
    if not shots:
        raise MissingInputError("no image is found", where=args.file, hint="-i FOLDER names their folder")
    return shots

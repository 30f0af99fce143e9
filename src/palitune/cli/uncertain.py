"""What to label next."""

import argparse
import sys

from palitune import streams
from palitune.cli import arguments, values

DESCRIPTION = """\
Writes the lines of FILE, of 13-inference.py, that the model was least sure of, the most uncertain first, as they are.
Labels are not needed: of a thousand images without one, these are worth labelling first.
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
    text = "the threshold of p_yes that answers are near to (0.5, or what parts the answers)"
    parser.add_argument("--threshold", type=values.probability, metavar="P", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw these images with their answers")
    parser.add_argument("--overwrite", action="store_true", help="let --sheet replace a file")
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune uncertain` with the arguments that were given."""
    from pathlib import Path

    from palitune import workspace
    from palitune.errors import MissingInputError
    from palitune.evaluate import answer_files
    from palitune.evaluate.uncertain_answers import most_uncertain

    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.file])
    chosen = most_uncertain(
        args.file,
        args.number,
        threshold=args.threshold,
        labels=arguments.classes(args),
        positive=args.positive,
        quiet=args.quiet,
    )
    shots = []
    if sheet is not None:
        from palitune.evaluate.report import plots

        folders = arguments.folders(args)
        predictions = [line.prediction for line in chosen]
        located = answer_files.located([one.example for one in predictions], Path(args.file), folders)
        shots = [
            plots.SheetImage.of(said._replace(example=one))
            for one, said in zip(located, predictions, strict=True)
            if one.images and one.image.path.is_file()
        ]
        if not shots:
            raise MissingInputError("no image is found", where=args.file, hint="-i FOLDER names their folder")
    for line in chosen:
        streams.raw(line.raw + b"\n")
    sys.stdout.flush()
    if sheet is not None:
        plots.write_sheet(sheet, shots, args.sheet, args.quiet)

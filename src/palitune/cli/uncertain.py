"""What to label next."""

import argparse
import sys
from pathlib import Path

from palitune import console
from palitune.cli import arguments, streams, values
from palitune.data import dataset

DESCRIPTION = """\
Writes the lines of FILE, of 13-inference.py, that the model was least sure of, the most uncertain first, as they are.
Labels are not needed: of a thousand pictures without one, these are worth labelling first.
"""
EXAMPLES = """\
examples:
  palitune uncertain tmp/out.tsv -n 50 | cut -f1 > to-label.txt
  ls dataset/new | ./13-inference.py -d - -i dataset/new -m trained-set1 | palitune uncertain - -n 20
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="answers, TSV or JSONL; - is standard input")
    parser.add_argument("-n", "--number", type=values.positive_int, metavar="N", help="how many lines (all)")
    text = "the threshold of p_yes that answers are near to (0.5, or what parts the answers)"
    parser.add_argument("--threshold", type=values.probability, metavar="P", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw these pictures with their answers")
    parser.add_argument("--overwrite", action="store_true", help="let --sheet replace a file")
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.data.records import Reader
    from palitune.errors import BadDataError, MissingInputError
    from palitune.evaluate import answer_files
    from palitune.evaluate.report.summary import doubtful, threshold_of

    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.file])
    dataset.require_data(args.file)
    lines, found = [], []
    for (_, _, raw), record in Reader(Path(args.file), labelled=False).records():
        if record.answer is None:
            raise BadDataError("no answer here", where=record.where, hint=answer_files.ask_first())
        lines.append(raw)
        found.append(record)
    judged = answer_files.judge(found, answer_files.classes_of(found, args.labels, args.quiet), args.file)
    order = doubtful(judged, threshold_of(judged) if args.threshold is None else args.threshold)
    if not order:
        raise BadDataError("the lines have no p_yes that their answers follow from", where=args.file)
    chosen = order[: args.number]
    located = (
        answer_files.located([found[index] for index in chosen], Path(args.file), **arguments.folder_options(args))
        if sheet
        else []
    )
    seen = [one for one in located if one.image.is_file()]
    if sheet is not None and not seen:
        raise MissingInputError("no picture is found", where=args.file, hint="-i FOLDER names their folder")
    for index in chosen:
        streams.raw(lines[index] + b"\n")
    sys.stdout.flush()
    if sheet is not None:
        from palitune.evaluate.report import canvas, plots

        plots.sheet(sheet, [plots.Shot(r.image, r.suffix or "?", r.answer or "", r.name, r.p_yes) for r in seen])
        if why := canvas.reason():
            console.note(f"{args.sheet}: {why}")
        if not args.quiet:
            console.note(f"drew {args.sheet}")

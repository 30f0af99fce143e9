"""What to label next."""

import argparse
import sys
from pathlib import Path

from palitune.cli import arguments, values

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
    text = "the threshold of p_yes that answers are near to (0.5)"
    parser.add_argument("--threshold", type=values.probability, metavar="P", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw these pictures with their answers")
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    from palitune.cli import answer_files, workspace
    from palitune.data.records import LABELS, Reader
    from palitune.errors import BadDataError
    from palitune.judge.summary import doubtful

    workspace.require_data(args.file)
    lines, found = [], []
    for (_, _, raw), record in Reader(Path(args.file), labelled=False).records():
        if record.answer is None:
            raise BadDataError("no answer here", where=record.where, hint=answer_files.ASK)
        lines.append(raw)
        found.append(record)
    said = {record.answer for record in found if record.answer}
    classes = args.labels or (LABELS if said <= set(LABELS) else tuple(sorted(said)))
    order = doubtful(answer_files.judge(found, classes), args.threshold)
    if not order:
        raise BadDataError("the lines have no p_yes", where=args.file)
    chosen = order[: args.number]
    for index in chosen:
        sys.stdout.buffer.write(lines[index] + b"\n")
    sys.stdout.buffer.flush()
    if args.sheet:
        from palitune.judge import plots

        located = answer_files.located([found[index] for index in chosen], Path(args.file), args)
        there = [(r.image, r.suffix or "?", r.answer or "") for r in located if r.image.is_file()]
        plots.sheet(Path(args.sheet), there)

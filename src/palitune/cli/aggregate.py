"""Stage 14: what inference wrote, counted; no model is needed."""

import argparse
from pathlib import Path

DESCRIPTION = """\
Prints a block for each FILE of lines that 13-inference.py wrote: true and false positives and negatives ("yes" is
positive), accuracy, precision, recall and F-measure. Of a FILE with labels alone it says what a model scores that
always says the same. - is standard input.
"""
EXAMPLES = """\
examples:
  ./14-validate_outtsv.py tmp/out-ab.tsv tmp/splitted-ab.tsv      one block a file
  ./13-inference.py -d tmp/x.tsv | tee tmp/out.tsv | ./14-validate_outtsv.py -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers, TSV or JSONL")


def run(args: argparse.Namespace) -> None:
    for file in args.files:
        print(_block(Path(file)), flush=True)


def _block(path: Path) -> str:
    """Counts line by line, so that a file may be of any length. Raises as `records.stream`."""
    from collections import Counter

    from palitune.data.records import stream
    from palitune.errors import BadDataError
    from palitune.evaluate import confusion
    from palitune.evaluate.report import result_block

    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    alone: Counter[str] = Counter()  # answers without a label
    unlabelled = 0
    for record in stream(path, labelled=False):
        if record.answer is None and (kinds or alone):
            raise BadDataError("no answer here, and there are some above", where=record.where)
        if not record.suffix:
            unlabelled += 1
            if record.answer is not None:
                alone[record.answer] += 1
            continue
        labels[record.suffix] += 1
        if record.answer is not None:
            kinds[confusion.kind(record.answer, record.suffix)] += 1
    if not labels and not alone:
        raise BadDataError("neither answers nor labels are here", where=str(path))
    answered = kinds.total()
    if answered < labels.total() and answered:
        raise BadDataError("some lines have an answer and some have none", where=str(path))
    return result_block.aggregate_block(str(path), kinds, labels or alone, unlabelled)

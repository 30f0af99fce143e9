"""The result block of a file of answers, counted line by line, so that the file may be of any length."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import label_answers
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import confusion
from palitune.evaluate.report import result_block

Answered = tuple[Example, Prediction | None]


def block_of(path: Path) -> str:
    """The block of a file of answers; of labels alone, what always saying the same would score.

    Raises:
      MissingInputError, BadDataError: as `example_files.stream`; or only some lines have an answer, or none has any.
    """
    lines = (answered for _, answered in Reader(path, labelled=False).answered())
    first = next(lines)
    every = itertools.chain([first], lines)
    if first[1] is None and label_answers.predictions(first[0]) is not None:
        return _of_several(path, every)
    return _of_one(path, every)


def _of_several(path: Path, lines: Iterable[Answered]) -> str:
    from palitune.evaluate import several_answers, several_labels
    from palitune.evaluate.report import several_text

    found = several_answers.of_groups(str(path), list(several_answers.each(example for example, _ in lines)))
    return several_text.block(str(path), several_labels.evaluate(found.table, resamples=0), title="Aggregate")


def _of_one(path: Path, lines: Iterator[Answered]) -> str:
    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    alone: Counter[str] = Counter()  # answers without a label
    unlabelled = 0
    for example, said in lines:
        if said is None and (kinds or alone):
            raise BadDataError("no answer here, and there are some above", where=example.where)
        if not example.label:
            unlabelled += 1
            if said is not None:
                alone[said.text] += 1
            continue
        labels[example.label] += 1
        if said is not None:
            kinds[confusion.kind(said.text, example.label)] += 1
    if not labels and not alone:
        raise BadDataError("neither answers nor labels are here", where=str(path))
    if 0 < kinds.total() < labels.total():
        raise BadDataError("some lines have an answer and some have none", where=str(path))
    return result_block.aggregate_block(str(path), kinds, labels or alone, unlabelled)

"""The result block of a file of answers, counted line by line, so that the file may be of any length."""

from collections import Counter
from pathlib import Path

from palitune.data.example_files import Reader
from palitune.errors import BadDataError
from palitune.evaluate import confusion
from palitune.evaluate.report import result_block


def block_of(path: Path) -> str:
    """The block of a file of answers; of labels alone, what always saying the same would score.

    Raises:
      MissingInputError, BadDataError: as `example_files.stream`; or only some lines have an answer, or none has any.
    """
    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    alone: Counter[str] = Counter()  # answers without a label
    unlabelled = 0
    for _, (example, said) in Reader(path, labelled=False).answered():
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

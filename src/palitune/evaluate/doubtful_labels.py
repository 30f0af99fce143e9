"""Examples by how much a model that has not learned from them doubts their label.

Axes: N examples, C classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.config.model import FolderSettings
from palitune.data import example_files
from palitune.data.example import Example
from palitune.data.formats.tsv import to_answer
from palitune.data.image_folders import ImageFolders
from palitune.data.prediction import MadeWith, Prediction
from palitune.data.probabilities import Array, predicted
from palitune.errors import BadDataError
from palitune.evaluate import answer_files, metrics
from palitune.evaluate.confusion import is_right
from palitune.evaluate.report import summary
from palitune.evaluate.report.summary import Summary
from palitune.sentence import Sentence

SHOWN = 60  # on a page
FINE_TUNING, LINEAR_PROBE = Sentence("fine-tuning"), Sentence("a linear probe")  # what has answered


class Doubts(NamedTuple):
    """Out-of-fold answers.

    Attributes:
      records: N labelled examples.
      answers: N answers, in the order of the examples.
      right: whether each answer is the label.
      order: indices of the examples, the most doubtful label first, as many as were asked for.
      classes: the labels there are.
    """

    records: Sequence[Example]
    answers: list[Prediction]
    right: list[bool]
    order: list[int]
    classes: tuple[str, ...]


def read(
    path: Path, folders: FolderSettings, labels: tuple[str, ...] | None, positive: str | None, quiet: bool
) -> tuple[list[Example], tuple[str, ...]]:
    """The labelled examples of a file, and the labels there are, of two the positive one first.

    Args:
      folders: how records are read, and where images are.
      labels, positive: that somebody has named; None is those of the file.

    Raises:
      MissingInputError, BadDataError: the file cannot be read, or a record of it has several labels.
      UsageError: the labels that were named are not those of the file.
    """
    places = ImageFolders.of(path, folders)
    answered = [pair for _, pair in example_files.Reader(path, folders=places).answered()]
    records = [places.placed(one) for one, _ in answered]
    several = next((one for one in records if one.target.name), None)
    if several is not None:
        hint = f"--label-column {several.target.name} chooses one, and --map 1=yes 0=no says what its values mean"
        what = "labels are doubted one at a time, and this record has several"
        raise BadDataError(what, where=several.where, hint=hint)
    predictions = [said or Prediction(one, one.target, "") for one, said in answered]
    return records, answer_files.classes_of(predictions, labels, quiet, positive)


def ranked(records: Sequence[Example], p: Array, classes: tuple[str, ...], number: int | None = None) -> Doubts:
    """Orders examples by the probability of their own label, the least first.

    Args:
      p: float64[N, C], out-of-fold probabilities of the classes.
      number: how many are wanted; None is all.
    """
    made = MadeWith(classes)
    said = [predicted(record, record.target, row, made) for record, row in zip(records, p, strict=True)]
    own = np.array([p[i, classes.index(record.label)] for i, record in enumerate(records)])
    order: list[int] = np.argsort(own, kind="stable")[:number].tolist()
    right = [is_right(answer.text, record.label) for answer, record in zip(said, records, strict=True)]
    return Doubts(records, said, right, order, classes)


def answer_lines(doubts: Doubts) -> list[str]:
    """Lines as inference writes them, the most doubtful first. Raises BadDataError for what TSV cannot hold."""
    records, said, right, order, _ = doubts
    return [to_answer(records[i], right[i], said[i].p_yes or 0.0, said[i].text) for i in order]


def summarize(doubts: Doubts, data: str, how: str, folds: int) -> Summary:
    """The summary for a page that leads with the most doubtful labels.

    Args:
      data: the name of the examples' file.
      how: what has answered, `FINE_TUNING` or `LINEAR_PROBE`.
    """
    records, said, _, order, classes = doubts
    labels = [record.label for record in records]
    outcomes = metrics.outcomes_of(labels, [one.text for one in said], [one.p_yes for one in said], classes)
    asked = Sentence("%(how)s, each record of what was learned from the other folds of %(folds)d", how=how, folds=folds)
    facts: dict[str, str] = {Sentence("data"): data, Sentence("asked"): asked}
    made = summary.summarize(Sentence("Doubted labels of %(data)s", data=data), facts, records, outcomes)
    made.wrong, made.uncertain, made.leads = [made.items[i] for i in order[:SHOWN]], [], True
    made.heading = Sentence("The most doubtful labels first")
    made.advice = Sentence("A wrong label, or an image that is hard: check before you change one.")
    return made

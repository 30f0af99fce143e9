"""The lines of a file of answers that the model was least sure of; labels are not needed."""

from pathlib import Path
from typing import NamedTuple

from palitune.data import answer_source, dataset_files
from palitune.data.example_files import Reader
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import answer_files
from palitune.evaluate.report.summary import doubtful, threshold_of


class Line(NamedTuple):
    """A line as it is in the file, without its end, and what it says."""

    raw: bytes
    prediction: Prediction


def most_uncertain(
    file: str,
    number: int | None = None,
    *,
    threshold: float | None = None,
    labels: tuple[str, ...] | None = None,
    positive: str | None = None,
    quiet: bool = False,
) -> list[Line]:
    """Lines of answers, the most uncertain first.

    Args:
      number: how many; None is all.
      threshold: the probability of the positive label that answers are near to; by default what parts the answers.
      labels: which there are; by default those that the file tells.
      positive: the one that counts as yes; by default the first of two.
      quiet: write no notes to stderr.

    Raises:
      MissingInputError, BadDataError: no such file, a line without an answer, or no probabilities.
    """
    dataset_files.require_data(file)
    lines = []
    for (_, _, raw), (example, said) in Reader(Path(file), labelled=False).answered():
        if said is None:
            raise BadDataError("no answer here", where=example.where, hint=answer_files.ask_first())
        lines.append(Line(raw, said))
    made = answer_source.read(Path(file), quiet)
    predictions = [line.prediction._replace(made=made) for line in lines]
    outcomes = answer_files.outcomes_of(
        predictions, answer_files.classes_of(predictions, labels, quiet, positive), file, positive
    )
    if threshold is None:
        threshold = answer_files.threshold_of(predictions, outcomes.classes)
    order = doubtful(outcomes, threshold_of(outcomes) if threshold is None else threshold)
    if not order:
        raise BadDataError("the lines have no p_yes that their answers follow from", where=file)
    return [lines[index] for index in order[:number]]

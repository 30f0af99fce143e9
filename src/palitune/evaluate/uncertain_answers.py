"""The lines of a file of answers that the model was least sure of; labels are not needed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.data import answer_source, dataset_files
from palitune.data.example_files import Reader
from palitune.data.formats.json_lines import to_json
from palitune.data.prediction import Prediction
from palitune.data.probabilities import log_odds
from palitune.errors import BadDataError
from palitune.evaluate import answer_files, label_table, several_answers
from palitune.evaluate.confusion import CLASSES, NEGATIVE, POSITIVE
from palitune.evaluate.label_table import LabelTable
from palitune.evaluate.outcomes import Outcomes
from palitune.evaluate.report.summary import doubtful, threshold_of

UNCERTAIN = "uncertain"  # the key of a line that names a label


class Line(NamedTuple):
    """A line as it is in the file, without its end, and what it says.

    Of several labels it is what it says of the one that is most uncertain, whose name the line has beside its keys.
    """

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


def most_uncertain_of_several(
    file: str, number: int | None = None, *, threshold: float | None = None, quiet: bool = False
) -> list[Line]:
    """As `most_uncertain`, of lines with answers to several labels, each as uncertain as its most uncertain label.

    Args:
      threshold: of all labels; by default each label's own that the answers were made with, or what parts its answers.

    Raises:
      MissingInputError, BadDataError: no such file, a line without such answers, or without a probability.
    """
    groups = list(several_answers.each(example for _, (example, _) in Reader(Path(file), labelled=False).answered()))
    if (made := answer_source.read(Path(file), quiet)) is not None:
        groups = [(example, [one._replace(made=made) for one in said]) for example, said in groups]
    table, examples = label_table.of_predictions(groups)
    columns = range(len(table.names))
    parted = [_parting(table, column) if threshold is None else threshold for column in columns]
    distances = np.abs(log_odds(table.p) - log_odds(np.array(parted)))
    distances[np.isnan(distances)] = np.inf  # where nothing is known
    least = distances.min(axis=1)
    if not np.isfinite(least).any():
        raise BadDataError("the lines have no p_yes", where=file)
    found = []
    for index in np.argsort(least, kind="stable")[:number].tolist():
        name = table.names[int(distances[index].argmin())]
        said = next(one for one in groups[index][1] if one.target.name == name)
        raw = to_json(dict(examples[index].fields) | {UNCERTAIN: name}).encode("utf-8", "surrogateescape")
        found.append(Line(raw, said))
    return found


def _parting(table: LabelTable, column: int) -> float:
    """The threshold of a label that its answers were given with, as far as they tell."""
    known = table.thresholds[column]
    if not np.isnan(known):
        return float(known)
    there = ~np.isnan(table.p[:, column])
    said = tuple(POSITIVE if one else NEGATIVE for one in table.said[there, column].tolist())
    p = table.p[there, column]
    parted = threshold_of(Outcomes(said, said, CLASSES, p, p)) if len(p) else None
    return 0.5 if parted is None else parted

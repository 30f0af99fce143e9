"""Answers beside the labels of the same examples, with the probabilities that they follow from.

Axes: N examples.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from palitune.data.prediction import Prediction
from palitune.evaluate import confusion
from palitune.evaluate.confusion import CLASSES, Confusion

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Booleans = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Answers to N examples, each beside its label.

    Attributes:
      labels: N of them, each one of the classes.
      answers: N texts, each a class or something else.
      classes: of two the first is the positive one.
      p: float64[N], probability of the first of two classes, or None where it is not known.
      confidence: float64[N], probability of the answer, or None.
    """

    labels: tuple[str, ...]
    answers: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES
    p: Floats | None = None
    confidence: Floats | None = None

    def take(self, indices: Sequence[int]) -> "Outcomes":
        """The examples at these indices, in this order."""
        chosen = np.array(indices, int)
        labels, answers = (tuple(texts[i] for i in indices) for texts in (self.labels, self.answers))
        p, confidence = (None if one is None else one[chosen] for one in (self.p, self.confidence))
        return Outcomes(labels, answers, self.classes, p, confidence)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.classes) == 2

    @property
    def right(self) -> Booleans:
        """Whether each answer is its label, bool[N]."""
        return np.array([confusion.is_right(a, b) for a, b in zip(self.answers, self.labels, strict=True)], bool)

    @property
    def counts(self) -> Confusion:
        """The confusion matrix, where there are two classes."""
        return confusion.count(self.labels, self.answers, self.classes)


def outcomes_of(
    labels: Sequence[str], answers: Sequence[str], p_yes: Sequence[float | None], classes: Sequence[str]
) -> Outcomes:
    """Labelled answers of lines that inference wrote; labels and classes become what they are compared as.

    Args:
      labels: N of them.
      answers: N texts.
      p_yes: N probabilities, of the first class where there are two, else of the answer; None where one is not known.
      classes: the labels there are, of two the positive one first.
    """
    p = confidence = None
    labels, classes = [confusion.plain(label) for label in labels], [confusion.plain(one) for one in classes]
    if answers and all(value is not None for value in p_yes):
        known = np.array(p_yes, np.float64)
        p = known if len(classes) == 2 else None
        said_first = np.array([confusion.plain(answer) == classes[0] for answer in answers])
        confidence = np.where(said_first, known, 1 - known) if len(classes) == 2 else known
    return Outcomes(tuple(labels), tuple(answers), tuple(classes), p, confidence)


def of_predictions(predictions: Sequence[Prediction], classes: Sequence[str]) -> Outcomes:
    """Predictions of labelled examples beside their labels. The arguments are as in `outcomes_of`."""
    labels = [one.target.answer or "" for one in predictions]
    return outcomes_of(labels, [one.text for one in predictions], [one.p_yes for one in predictions], classes)

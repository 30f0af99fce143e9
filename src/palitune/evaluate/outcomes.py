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
REST = "(the rest)"  # all classes but one


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Answers to N examples, each beside its label.

    Attributes:
      labels: N of them, each one of the classes.
      answers: N texts, each a class or something else.
      classes: of two the first is the positive one.
      p: float64[N], probability of the first of two classes, or None where it is not known.
      confidence: float64[N], probability of the answer, or None.
      shares: float64[N, C], probability of each class, or None.
      positive: of more than two classes the one that `p_positive` is of; empty where none is.
      p_positive: float64[N], its probability, or None.
    """

    labels: tuple[str, ...]
    answers: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES
    p: Floats | None = None
    confidence: Floats | None = None
    shares: Floats | None = None
    positive: str = ""
    p_positive: Floats | None = None

    def take(self, indices: Sequence[int]) -> "Outcomes":
        """The examples at these indices, in this order."""
        chosen = np.array(indices, int)
        labels, answers = (tuple(texts[i] for i in indices) for texts in (self.labels, self.answers))
        known = (self.p, self.confidence, self.shares, self.p_positive)
        p, confidence, shares, p_positive = (None if one is None else one[chosen] for one in known)
        return Outcomes(labels, answers, self.classes, p, confidence, shares, self.positive, p_positive)

    def against_rest(self, positive: str) -> "Outcomes":
        """One class as the positive one, and `REST` as the other, which all others are.

        Raises:
          ValueError: it is none of the classes.
        """
        place = self.classes.index(confusion.plain(positive))
        labels, answers = (
            tuple(positive if confusion.plain(text) == self.classes[place] else REST for text in texts)
            for texts in (self.labels, self.answers)
        )
        p = self.p_positive if self.positive == self.classes[place] else None
        p = self.shares[:, place] if self.shares is not None else p
        return outcomes_of(labels, answers, [None] * len(labels) if p is None else p.tolist(), (positive, REST))

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
    labels: Sequence[str],
    answers: Sequence[str],
    p_yes: Sequence[float | None],
    classes: Sequence[str],
    *,
    shares: Floats | None = None,
    positive: str = "",
) -> Outcomes:
    """Labelled answers of lines that inference wrote; labels and classes become what they are compared as.

    Args:
      labels: N of them.
      answers: N texts.
      p_yes: N probabilities, of the first class where there are two, else of the answer; None where one is not known.
      classes: the labels there are, of two the positive one first.
      shares: float64[N, C], probability of every class, where it is known.
      positive: of more than two classes the one that `p_yes` is of; empty where it is the answer's own.
    """
    p = confidence = p_positive = None
    labels, classes = [confusion.plain(label) for label in labels], [confusion.plain(one) for one in classes]
    if answers and all(value is not None for value in p_yes):
        known = np.array(p_yes, np.float64)
        p = known if len(classes) == 2 else None
        said_first = np.array([confusion.plain(answer) == classes[0] for answer in answers])
        confidence = np.where(said_first, known, 1 - known) if len(classes) == 2 else known
    if len(classes) > 2 and positive:
        p_positive, confidence, positive = confidence, None, confusion.plain(positive)
    if shares is not None and len(classes) > 2:
        places = {name: place for place, name in enumerate(classes)}
        said = [places.get(confusion.plain(answer), -1) for answer in answers]
        confidence = np.array([row[place] if place >= 0 else 0.0 for row, place in zip(shares, said, strict=True)])
    return Outcomes(tuple(labels), tuple(answers), tuple(classes), p, confidence, shares, positive, p_positive)


def of_predictions(predictions: Sequence[Prediction], classes: Sequence[str]) -> Outcomes:
    """Predictions of labelled examples beside their labels. The arguments are as in `outcomes_of`."""
    labels = [one.target.answer or "" for one in predictions]
    made = predictions[0].made if predictions else None
    shares = None
    if made is not None and made.labels and tuple(made.labels) == tuple(classes) and len(classes) > 2:
        found = [one.probabilities for one in predictions if one.probabilities is not None]
        shares = np.array(found) if len(found) == len(predictions) else None
    answers, p_yes = [one.text for one in predictions], [one.p_yes for one in predictions]
    positive = made.positive if made is not None else ""
    return outcomes_of(labels, answers, p_yes, classes, shares=shares, positive=positive)

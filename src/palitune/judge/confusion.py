"""Answers beside labels, counted: "yes" is the positive class."""

import dataclasses
from collections.abc import Sequence

from palitune.errors import BadDataError

POSITIVE, NEGATIVE = "yes", "no"


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts of true and false, positive and negative answers, and the ratios people read.

    A ratio whose denominator is zero is None.
    """

    tp: int
    tn: int
    fp: int
    fn: int

    @property
    def accuracy(self) -> float | None:
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> float | None:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of the shares of each class that are right: 0.5 for a model that always says the same."""
        recall, specificity = self.recall, _ratio(self.tn, self.tn + self.fp)
        return None if recall is None or specificity is None else (recall + specificity) / 2

    @property
    def f_measure(self) -> float | None:
        """2PR / (P + R) in this order of operations: another order gives another last digit, and people compare."""
        precision, recall = self.precision, self.recall
        if precision is None or recall is None or precision + recall == 0:
            return None
        return 2 * precision * recall / (precision + recall)


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def judged(answer: str, label: str) -> str:
    """The class an answer counts as: its own, or the wrong one if it is neither yes nor no."""
    said = answer.strip().lower()
    if said in (POSITIVE, NEGATIVE):
        return said
    return NEGATIVE if label == POSITIVE else POSITIVE


def is_right(answer: str, label: str) -> bool:
    """Whether an answer is the label: yes and no in any case, other texts as they are."""
    if label in (POSITIVE, NEGATIVE):
        return judged(answer, label) == label
    return answer.strip() == label.strip()


def kind(answer: str, label: str) -> str:
    """One of "tp", "tn", "fp" and "fn"; of a label that is neither yes nor no "tp" where right, "fn" where wrong."""
    if is_right(answer, label):
        return "tn" if label == NEGATIVE else "tp"
    return "fp" if label == NEGATIVE else "fn"


def count(labels: Sequence[str], answers: Sequence[str]) -> Confusion:
    """Compares free answers with labels.

    Raises:
      BadDataError: a label is neither yes nor no.
    """
    for label in labels:
        if label not in (POSITIVE, NEGATIVE):
            raise BadDataError(f'label "{label}" is neither yes nor no')
    if not labels:
        return Confusion(0, 0, 0, 0)
    # Takes a second to import, which bad input should not have to wait for.
    from sklearn.metrics import confusion_matrix

    classes = [judged(answer, label) for answer, label in zip(answers, labels, strict=True)]
    (tn, fp), (fn, tp) = confusion_matrix(labels, classes, labels=[NEGATIVE, POSITIVE]).tolist()
    return Confusion(tp=tp, tn=tn, fp=fp, fn=fn)

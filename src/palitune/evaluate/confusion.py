"""Answers beside labels, counted: "yes" is the positive class, or the first of two other labels."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from palitune.errors import BadDataError
from palitune.labels import plain as plain
from palitune.labels import plain_set

POSITIVE, NEGATIVE = CLASSES = ("yes", "no")


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
        """The share of right answers; None without any."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> float | None:
        """The share of right ones among the answers yes; None without any."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """The share of the examples with the label yes that were answered yes; None without any."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of the shares of each class that are right: 0.5 for a model that always says the same."""
        recall, specificity = self.recall, _ratio(self.tn, self.tn + self.fp)
        return None if recall is None or specificity is None else (recall + specificity) / 2

    @property
    def matthews(self) -> float | None:
        """Matthews' correlation coefficient: 1 is right, 0 as good as chance; of one class or one answer None."""
        spread = (self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp) * (self.tn + self.fn)
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(spread) if spread else None

    @property
    def f_measure(self) -> float | None:
        """2PR / (P + R) in this order of operations: another order gives another last digit, and people compare."""
        precision, recall = self.precision, self.recall
        if precision is None or recall is None or precision + recall == 0:
            return None
        return 2 * precision * recall / (precision + recall)


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def class_of(answer: str, label: str, classes: Sequence[str] = CLASSES) -> str:
    """The class an answer counts as: its own, or the wrong one if it is neither."""
    said = plain(answer)
    for one in classes:
        if plain(one) == said:
            return one
    return classes[1] if plain(label) == plain(classes[0]) else classes[0]


def is_right(answer: str, label: str) -> bool:
    """Whether an answer is the label, as labels are compared."""
    return plain(answer) == plain(label)


def kind(answer: str, label: str, classes: Sequence[str] = CLASSES) -> str:
    """One of "tp", "tn", "fp" and "fn"; of a label that is none of two classes "tp" where right, "fn" where wrong."""
    is_negative = plain(label) == plain(classes[1])
    if is_right(answer, label):
        return "tn" if is_negative else "tp"
    return "fp" if is_negative else "fn"


def count(labels: Sequence[str], answers: Sequence[str], classes: Sequence[str] = CLASSES) -> Confusion:
    """Compares free answers with labels.

    Args:
      classes: the positive and the negative label.

    Raises:
      BadDataError: a label is neither of them.
    """
    known = plain_set(classes)
    for label in labels:
        if plain(label) not in known:
            raise BadDataError(f'label "{label}" is neither {classes[0]} nor {classes[1]}')
    # scikit-learn's confusion_matrix says the same, and takes a second to import in every command.
    counted = Counter(kind(answer, label, classes) for answer, label in zip(answers, labels, strict=True))
    return Confusion(tp=counted["tp"], tn=counted["tn"], fp=counted["fp"], fn=counted["fn"])

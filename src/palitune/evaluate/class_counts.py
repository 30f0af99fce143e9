"""Answers beside labels, counted for three or more classes: the confusion matrix, and the ratios that come of it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from palitune.errors import BadDataError
from palitune.evaluate.confusion import Confusion, count, plain


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """How often each label was answered with each class.

    Ratios are means over the classes that are a label or an answer, each counting the same ("macro"), as scikit-learn's
    are by default; a class that is never answered has a precision of 0. Without examples they are None.

    Attributes:
      classes: C of them.
      rows: for each class as a label, how often each of the C was the answer, and behind them how often none was.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """The number of examples."""
        return sum(map(sum, self.rows))

    @property
    def right(self) -> int:
        """The number of right answers."""
        return sum(row[index] for index, row in enumerate(self.rows))

    @property
    def accuracy(self) -> float | None:
        """The share of right answers."""
        return self.right / self.total if self.total else None

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean recall of the classes that are labels; None of one class alone."""
        recalls = [row[index] / sum(row) for index, row in enumerate(self.rows) if sum(row)]
        return sum(recalls) / len(recalls) if len(recalls) > 1 else None

    @property
    def precision(self) -> float | None:
        """The mean precision of the classes."""
        return self._mean([each.precision for each in self._present()])

    @property
    def recall(self) -> float | None:
        """The mean recall of the classes."""
        return self._mean([each.recall for each in self._present()])

    @property
    def f_measure(self) -> float | None:
        """The mean F-measure of the classes: macro F."""
        return self._mean([each.f_measure for each in self._present()])

    @property
    def matthews(self) -> float | None:
        """Matthews' correlation coefficient of several classes (Gorodkin, 2004); None where one never varies."""
        total, told = self.total, [sum(column) for column in zip(*self.rows, strict=True)]
        true = [*map(sum, self.rows), 0]
        both = self.right * total - sum(a * b for a, b in zip(true, told, strict=True))
        spread = (total**2 - sum(a * a for a in true)) * (total**2 - sum(b * b for b in told))
        return both / math.sqrt(spread) if spread else None

    def against_rest(self, name: str) -> Confusion:
        """One class as the positive one, and all others together as the negative one. Raises ValueError."""
        index = self.classes.index(name)
        tp = self.rows[index][index]
        fn, fp = sum(self.rows[index]) - tp, sum(row[index] for row in self.rows) - tp
        return Confusion(tp=tp, fp=fp, fn=fn, tn=self.total - tp - fp - fn)

    def _present(self) -> list[Confusion]:
        """Each class that is a label or an answer, against all others."""
        every = map(self.against_rest, self.classes)
        return [one for one in every if one.tp + one.fp + one.fn]

    def _mean(self, values: Sequence[float | None]) -> float | None:
        return sum(value or 0.0 for value in values) / len(values) if values else None


Counts = Confusion | ClassCounts


def counts_of(labels: Iterable[str], answers: Iterable[str], classes: Sequence[str]) -> Counts:
    """Compares answers with labels: of two classes true and false positives and negatives, of more the whole matrix.

    Raises:
      BadDataError: a label is none of the classes.
    """
    if len(classes) == 2:
        return count(list(labels), list(answers), classes)
    pairs = Counter((plain(label), plain(answer)) for label, answer in zip(labels, answers, strict=True))
    return counts_of_pairs(pairs, classes)


def counts_of_pairs(pairs: Mapping[tuple[str, str], int], classes: Sequence[str]) -> ClassCounts:
    """How often labels and answers come together, of pairs of them as they are compared. Raises as `counts_of`."""
    places = {plain(name): index for index, name in enumerate(classes)}
    rows = [[0] * (len(classes) + 1) for _ in classes]
    for (label, answer), number in pairs.items():
        if label not in places:
            raise BadDataError(f'label "{label}" is none of {", ".join(classes)}')
        rows[places[label]][places.get(answer, len(classes))] += number
    return ClassCounts(tuple(classes), tuple(map(tuple, rows)))

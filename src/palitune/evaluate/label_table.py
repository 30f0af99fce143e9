"""Labels and answers of records that have several yes/no labels each, as one table.

Axes: N records, L labels.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from palitune.data.example import Example
from palitune.data.prediction import Prediction
from palitune.evaluate.confusion import CLASSES, NEGATIVE, POSITIVE
from palitune.evaluate.outcomes import Outcomes
from palitune.labels import plain

Codes = npt.NDArray[np.int8]
Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
YES, NO, UNKNOWN = 1, 0, -1


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """Labels and answers of N records, each of which has L labels.

    Attributes:
      names: of the labels.
      truth: int8[N, L], `YES`, `NO` or `UNKNOWN`.
      said: bool[N, L], whether the answer is yes.
      p: float64[N, L], probabilities of yes; NaN where one is not known.
      thresholds: float64[L], from which on an answer is yes; NaN where that is not known.
    """

    names: tuple[str, ...]
    truth: Codes
    said: Booleans
    p: Floats
    thresholds: Floats

    @classmethod
    def of_probabilities(cls, names: Sequence[str], truth: Codes, p: Floats, thresholds: Floats) -> "LabelTable":
        """Answers that follow from probabilities."""
        return cls(tuple(names), truth, p >= thresholds, p, thresholds)

    @property
    def known(self) -> Booleans:
        """Where a label is known, bool[N, L]."""
        return self.truth != UNKNOWN

    @property
    def right(self) -> Booleans:
        """Whether all known labels of a record are answered right, bool[N]."""
        return ~((self.said != (self.truth == YES)) & self.known).any(axis=1)

    def take(self, indices: Sequence[int]) -> "LabelTable":
        """The records at these indices, in this order."""
        chosen = np.array(indices, int)
        return LabelTable(self.names, self.truth[chosen], self.said[chosen], self.p[chosen], self.thresholds)

    def ordered(self, names: Sequence[str]) -> "LabelTable":
        """The same with its labels in another order. Raises ValueError: one is not there."""
        columns = [self.names.index(name) for name in names]
        truth, said, p = self.truth[:, columns], self.said[:, columns], self.p[:, columns]
        return LabelTable(tuple(names), truth, said, p, self.thresholds[columns])

    def outcomes(self, column: int) -> Outcomes:
        """The records of which one label is known, with the answers to it alone."""
        rows = self.known[:, column]
        truth, said, p = self.truth[rows, column], self.said[rows, column], self.p[rows, column]
        labels = tuple(POSITIVE if one else NEGATIVE for one in (truth == YES).tolist())
        answers = tuple(POSITIVE if one else NEGATIVE for one in said.tolist())
        if np.isnan(p).any() or not len(p):
            return Outcomes(labels, answers, CLASSES)
        return Outcomes(labels, answers, CLASSES, p, np.where(said, p, 1 - p))


def are_several(predictions: Sequence[Prediction]) -> bool:
    """Whether predictions are of targets that have names: of several labels at once."""
    return any(one.target.name for one in predictions)


def of_predictions(groups: Iterable[tuple[Example, Sequence[Prediction]]]) -> tuple[LabelTable, list[Example]]:
    """The labels and answers of examples, as `prediction.by_example` groups them, and the examples.

    Labels are in the order in which they come first. One that an example is not asked for is unknown there.
    """
    columns: dict[str, int] = {}
    examples, cells = [], []
    thresholds: dict[str, float] = {}
    for row, (example, said) in enumerate(groups):
        examples.append(example)
        for one in said:
            name = one.target.name
            cells.append((row, columns.setdefault(name, len(columns)), one))
            if one.made is not None and not one.made.decode:
                thresholds[name] = one.made.threshold_of(one.target)
    shape = (len(examples), len(columns))
    truth, answers, p = np.full(shape, UNKNOWN, np.int8), np.zeros(shape, bool), np.full(shape, np.nan)
    for row, column, one in cells:
        truth[row, column] = code(one.target.answer)
        answers[row, column] = plain(one.text) == POSITIVE
        if one.p_yes is not None:
            p[row, column] = one.p_yes
    known = np.array([thresholds.get(name, np.nan) for name in columns], np.float64)
    return LabelTable(tuple(columns), truth, answers, p, known), examples


def code(answer: str | None) -> int:
    """What a yes/no answer is in a table: `YES`, `NO`, or `UNKNOWN` where it is neither."""
    said = plain(answer) if answer else ""
    return YES if said == POSITIVE else NO if said == NEGATIVE else UNKNOWN

"""Two models on several labels of the same records: what changed, and whether it is more than chance.

Axes: N records, L labels.
"""

from typing import NamedTuple

import numpy as np

from palitune.errors import printable
from palitune.evaluate import metrics
from palitune.evaluate.comparison import BOOTSTRAP, NOISE, REAL, SAME, SURE, mcnemar
from palitune.evaluate.confusion import NEGATIVE, POSITIVE
from palitune.evaluate.label_table import LabelTable
from palitune.evaluate.metrics import CONFIDENCE, RESAMPLES
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.evaluate.several_labels import Drawn
from palitune.sentence import Sentence
from palitune.text_tables import aligned

GROUPS = {
    "macro f_measure": Sentence("macro"),
    "micro f_measure": Sentence("micro"),
    "samples f_measure": Sentence("samples"),
}
HEAD = (
    *(Sentence("F-measure"), Sentence("before"), Sentence("after"), Sentence("difference")),
    *(Sentence("95 %%"), Sentence("significance"), Sentence("by")),
)


class LabelChange(NamedTuple):
    """A figure of both models with the interval of its difference, of a bootstrap that draws the same records of both.

    Attributes:
      significance: `SAME`, `NOISE` where the interval contains 0, or `REAL`; empty where no interval is known.
    """

    before: float | None
    after: float | None
    low: float | None = None
    high: float | None = None
    significance: str = ""

    @property
    def value(self) -> float | None:
        """The difference; None where one of both is not defined."""
        return None if self.before is None or self.after is None else self.after - self.before


class LabelFlip(NamedTuple):
    """An answer to one label that changed."""

    record: int
    name: str
    label: str  # empty where it is unknown
    before: str
    after: str
    is_better: bool


class SeveralComparison(NamedTuple):
    """The second of two models against the first.

    Attributes:
      f_measures: of each label, then of "macro", "micro" and "samples".
      exact_match: the share of records all of whose known labels are right.
      won: records that only the second has wholly right.
      lost: records that only the first has wholly right.
      p_value: McNemar's, exact, of these records.
    """

    f_measures: dict[str, LabelChange]
    exact_match: LabelChange
    flips: list[LabelFlip]
    won: int
    lost: int
    p_value: float

    @property
    def significance(self) -> str:
        """Of the difference in records that are wholly right, by McNemar's test."""
        return SAME if self.won == self.lost == 0 else NOISE if self.p_value >= SURE else REAL


def compare(first: LabelTable, second: LabelTable, resamples: int = RESAMPLES, seed: int = 0) -> SeveralComparison:
    """Of the same records in the same order, with the same labels."""
    both = Drawn(first), Drawn(second)
    draws = metrics.draws(len(first.truth), resamples, seed)
    values = [one(np.ones((1, len(first.truth)))) for one in both]
    samples = [one.samples(draws) for one in both]

    def change(name: str) -> LabelChange:
        old, new = (None if np.isnan(one[name][0]) else float(one[name][0]) for one in values)
        moved = samples[1][name] - samples[0][name]
        moved = moved[~np.isnan(moved)]
        if old is None or new is None or len(moved) < len(draws) / 2:
            return LabelChange(old, new)
        low, high = np.quantile(moved, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        significance = SAME if low == high == 0 else NOISE if low <= 0 <= high else REAL
        return LabelChange(old, new, low, high, significance)

    found = {name: change(f"{place} f_measure") for place, name in enumerate(first.names)}
    found |= {title: change(name) for name, title in GROUPS.items()}
    known = first.known.any(axis=1)
    won, lost = (int((a & ~b & known).sum()) for a, b in ((second.right, first.right), (first.right, second.right)))
    return SeveralComparison(found, change("exact_match"), _flips(first, second), won, lost, mcnemar(won, lost))


def _flips(first: LabelTable, second: LabelTable) -> list[LabelFlip]:
    found = []
    for row, column in np.argwhere(first.said != second.said).tolist():
        truth = int(first.truth[row, column])
        label = "" if truth < 0 else (NEGATIVE, POSITIVE)[truth]
        before, after = ((NEGATIVE, POSITIVE)[int(one.said[row, column])] for one in (first, second))
        found.append(LabelFlip(row, first.names[column], label, before, after, after == label))
    return found


def rows(found: SeveralComparison) -> list[list[str]]:
    """The cells of a table of F-measures and the exact match: before, after, their difference and a significance."""
    table: list[list[str]] = [[*HEAD]]
    for name, one in (found.f_measures | {Sentence("exact match"): found.exact_match}).items():
        values = ["-" if value is None else f"{value:.4f}" for value in (one.before, one.after)]
        moved = "-" if one.value is None else f"{one.value:+.4f}"
        interval = ""
        if one.low is not None and one.high is not None:
            interval = Sentence("%(low)+.3f to %(high)+.3f", low=one.low, high=one.high)
        table.append([name, *values, moved, interval, one.significance, BOOTSTRAP if one.significance else ""])
    return table


def lines(before: SeveralAnswers, after: SeveralAnswers, found: SeveralComparison) -> list[str]:
    """The figures of both with whether each difference is more than chance, and McNemar's test, for a terminal."""
    head = f"{after.name} against {before.name}, {len(after.groups)} records"
    return [printable(head), *aligned(rows(found)), test_line(found)]


def test_line(found: SeveralComparison) -> str:
    """McNemar's test in words."""
    return Sentence(
        "records wholly right now and not before: %(won)d, the other way: %(lost)d; McNemar's p = %(p).3g: the "
        "difference is %(significance)s",
        won=found.won,
        lost=found.lost,
        p=found.p_value,
        significance=found.significance,
    )


def flip_lines(after: SeveralAnswers, found: SeveralComparison) -> list[str]:
    """A line for each changed answer: subject, name, label, both answers, and whether it was fixed or broken."""
    return ["\t".join((" ".join(after.examples[flip.record].subject.split()), *_cells(flip))) for flip in found.flips]


def _cells(flip: LabelFlip) -> tuple[str, ...]:
    outcome = "" if not flip.label else "fixed" if flip.is_better else "broken"
    return flip.name, flip.label, flip.before, flip.after, outcome


def as_json(before: SeveralAnswers, after: SeveralAnswers, found: SeveralComparison) -> dict[str, object]:
    """Everything about a comparison, as JSON has it."""
    flips = [flip._asdict() | {"subject": after.examples[flip.record].subject} for flip in found.flips]
    names = {"before": before.name, "after": after.name, "records": len(after.groups)}
    return names | figures_as_json(found) | {"flips": flips}


def figures_as_json(found: SeveralComparison) -> dict[str, object]:
    """The figures of a comparison, as JSON has them."""
    return {
        "f_measures": {name: one._asdict() | {"value": one.value} for name, one in found.f_measures.items()},
        "exact_match": found.exact_match._asdict() | {"value": found.exact_match.value},
        "mcnemar": {
            "won": found.won,
            "lost": found.lost,
            "p_value": found.p_value,
            "significance": found.significance,
        },
    }

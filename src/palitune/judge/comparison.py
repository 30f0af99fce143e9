"""Two models on the same records: what changed, and whether it is more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.judge import metrics
from palitune.judge.confusion import plain
from palitune.judge.metrics import CONFIDENCE, RESAMPLES, Figure, Judged, Measure, figures

SURE = 0.05  # p-value below which a difference is called more than chance


class Flip(NamedTuple):
    """A record whose answer changed."""

    record: int
    before: str
    after: str
    is_better: bool  # it is right now; of what is wrong either way False


class Comparison(NamedTuple):
    """The second of two models against the first."""

    flips: list[Flip]
    won: int  # records that only the second has right
    lost: int  # records that only the first has right
    p_value: float  # McNemar's, exact: the chance of so uneven a split if both were as good
    warning: str | None

    @property
    def is_noise(self) -> bool:
        return self.p_value >= SURE


def mcnemar(won: int, lost: int) -> float:
    """The exact p-value of McNemar's test of discordant pairs.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947; two-sided
    binomial.
    """
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def compare(first: Judged, second: Judged) -> Comparison:
    """Of the same records in the same order."""
    before, after = first.right, second.right
    flips = [
        Flip(index, old, new, bool(after[index]))
        for index, (old, new) in enumerate(zip(first.answers, second.answers, strict=True))
        if plain(old) != plain(new)
    ]
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return Comparison(flips, won, lost, mcnemar(won, lost), _warning(first, second))


def _warning(first: Judged, second: Judged) -> str | None:
    """The mistake that a better accuracy can hide."""
    if not first.is_binary or not first.labels:
        return None
    a, b = first.counts, second.counts
    yes, no = first.classes
    if b.tp + b.fp == len(second.labels) and a.tp + a.fp < len(first.labels):
        return f"it says {yes} to everything"
    if b.tp + b.fp == 0 and a.tp + a.fp > 0:
        return f"it says {no} to everything"
    turned = [
        sum(x == wanted and z != wanted for x, z in zip(p, q, strict=True))
        for wanted, p, q in ((yes, second.answers, first.answers), (yes, first.answers, second.answers))
    ]
    doubt = "; so few can be chance" if mcnemar(*turned) >= SURE else ""
    if a.recall is None or b.recall is None or a.precision is None or b.precision is None:
        return None
    shares = f"{yes} answers: {a.tp + a.fp} before, {b.tp + b.fp} after{doubt}"
    if b.recall > a.recall and b.precision < a.precision:
        return f"recall rose, precision fell: it learned to say {yes} ({shares})"
    if b.recall < a.recall and b.precision > a.precision:
        return f"precision rose, recall fell: it learned to say {no} ({shares})"
    return None


def difference(first: Judged, second: Judged, metric: str, resamples: int = RESAMPLES, seed: int = 0) -> Figure:
    """How much larger a figure of the second is, with the interval of a bootstrap that draws the same records of both.

    Where the interval holds 0 the difference is noise.
    """
    return differences(first, [second], metric, resamples, seed)[0]


def differences(
    first: Judged, others: Sequence[Judged], metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> list[Figure]:
    """`difference` of several from the first, in the same draws."""
    drawn = metrics.draws(len(first.labels), resamples, seed)
    base = Measure(first, metric)
    reference, base_value = [base(indices)[metric] for indices in drawn], figures(first)[metric]
    found = []
    for other in others:
        measure, value = Measure(other, metric), figures(other)[metric]
        pairs = zip(reference, (measure(indices)[metric] for indices in drawn), strict=True)
        changes = [b - a for a, b in pairs if a is not None and b is not None]
        if base_value is None or value is None or len(changes) < len(drawn) / 2:
            found.append(Figure(None))
            continue
        low, high = np.quantile(changes, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        found.append(Figure(value - base_value, low, high))
    return found

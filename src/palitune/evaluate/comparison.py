"""Two models on the same records: what changed, and whether it is more than chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.evaluate import metrics
from palitune.evaluate.bootstrap import Measure
from palitune.evaluate.confusion import plain
from palitune.evaluate.metrics import CONFIDENCE, RESAMPLES, Figure, Outcomes, figures
from palitune.sentence import Sentence

SURE = 0.05  # p-value below which a difference is called more than chance
MCNEMAR, BOOTSTRAP = Sentence("McNemar's exact test"), Sentence("paired bootstrap")
SAME, NOISE, REAL = Sentence("the same"), Sentence("noise"), Sentence("more than chance")


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
        """Whether McNemar's test finds the difference in accuracy no more than chance."""
        return self.p_value >= SURE

    @property
    def significance(self) -> str:
        """Of the difference in accuracy, by McNemar's test."""
        return SAME if self.won == self.lost == 0 else NOISE if self.is_noise else REAL


class Change(NamedTuple):
    """A figure's difference with its interval, and the one test that decides of it.

    Its significance follows from the interval, as the test has it: noise where the interval contains 0.
    """

    value: float | None
    low: float | None
    high: float | None
    test: str  # MCNEMAR or BOOTSTRAP
    significance: str  # SAME, NOISE, REAL, or nothing where no interval is known


def mcnemar(won: int, lost: int) -> float:
    """The exact p-value of McNemar's test of discordant pairs.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947; two-sided
    binomial.
    """
    from scipy.special import bdtr

    return 1.0 if won == lost else min(1.0, 2 * float(bdtr(min(won, lost), won + lost, 0.5)))


def mcnemar_as_json(found: Comparison) -> dict[str, object]:
    """McNemar's test of a comparison as JSON has it."""
    return {"won": found.won, "lost": found.lost, "p_value": found.p_value, "verdict": found.significance}


def change(first: Outcomes, second: Outcomes, found: Comparison, metric: str) -> Change:
    """How a figure changed. Of accuracy McNemar's test decides, of others the bootstrap of both together.

    Args:
      found: `compare` of the two.
    """
    if metric == "accuracy":
        test, count = MCNEMAR, len(first.labels)
        low, high = discordant(found.won, found.lost)
        one = Figure((found.won - found.lost) / count, low / count, high / count) if count else Figure(None)
    else:
        test, one = BOOTSTRAP, difference(first, second, metric)
    if one.low is None or one.high is None:
        significance = ""
    elif one.low == one.high == 0:
        significance = SAME
    else:
        significance = NOISE if one.low <= 0 <= one.high else REAL
    return Change(one.value, one.low, one.high, test, significance)


def changes(first: Outcomes, second: Outcomes, found: Comparison, names: Sequence[str]) -> dict[str, Change]:
    """`change` of each of the named figures that both models have."""
    old, new = figures(first), figures(second)
    return {name: change(first, second, found, name) for name in names if name in old and name in new}


def discordant(won: int, lost: int) -> tuple[float, float]:
    """The interval of won - lost that goes with McNemar's exact test: of the share of those won, Clopper and Pearson's.

    It holds 0 exactly where the p-value is at least `SURE`.

    Source: Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.
    """
    from scipy.special import betaincinv

    total = won + lost
    low = float(betaincinv(won, lost + 1, SURE / 2)) if won else 0.0
    high = float(betaincinv(won + 1, lost, 1 - SURE / 2)) if lost else 1.0
    return total * (2 * low - 1) + 0.0, total * (2 * high - 1) + 0.0  # no -0.0


def compare(first: Outcomes, second: Outcomes) -> Comparison:
    """Of the same records in the same order."""
    before, after = first.right, second.right
    flips = [
        Flip(index, old, new, bool(after[index]))
        for index, (old, new) in enumerate(zip(first.answers, second.answers, strict=True))
        if plain(old) != plain(new)
    ]
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return Comparison(flips, won, lost, mcnemar(won, lost), _warning(first, second))


def _warning(first: Outcomes, second: Outcomes) -> str | None:
    """The mistake that a better accuracy can hide."""
    if not first.is_binary or not first.labels:
        return None
    a, b = first.counts, second.counts
    yes, no = first.classes
    if b.tp + b.fp == len(second.labels) and a.tp + a.fp < len(first.labels):
        return Sentence("it says %(answer)s to everything", answer=yes)
    if b.tp + b.fp == 0 and a.tp + a.fp > 0:
        return Sentence("it says %(answer)s to everything", answer=no)
    turned = [
        sum(x == wanted and z != wanted for x, z in zip(p, q, strict=True))
        for wanted, p, q in ((yes, second.answers, first.answers), (yes, first.answers, second.answers))
    ]
    if a.recall is None or b.recall is None or a.precision is None or b.precision is None:
        return None
    counts = Sentence(
        "%(label)s answers: %(before)d before, %(after)d after", label=yes, before=a.tp + a.fp, after=b.tp + b.fp
    )
    if mcnemar(*turned) >= SURE:
        counts = Sentence("%(counts)s; so few can be chance", counts=counts)
    if b.recall > a.recall and b.precision < a.precision:
        return Sentence(
            "recall rose, precision fell: it learned to say %(label)s (%(counts)s)", label=yes, counts=counts
        )
    if b.recall < a.recall and b.precision > a.precision:
        return Sentence(
            "precision rose, recall fell: it learned to say %(label)s (%(counts)s)", label=no, counts=counts
        )
    return None


def difference(first: Outcomes, second: Outcomes, metric: str, resamples: int = RESAMPLES, seed: int = 0) -> Figure:
    """How much larger a figure of the second is, with the interval of a bootstrap that draws the same records of both.

    Where the interval holds 0 the difference is noise.
    """
    return differences(first, [second], metric, resamples, seed)[0]


def differences(
    first: Outcomes, others: Sequence[Outcomes], metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> list[Figure]:
    """`difference` of several from the first, in the same draws."""
    drawn = metrics.draws(len(first.labels), resamples, seed)
    reference, base_value = Measure(first, metric)(drawn).get(metric), figures(first).get(metric)
    found = []
    for other in others:
        sample, value = Measure(other, metric)(drawn).get(metric), figures(other).get(metric)
        if reference is None or sample is None or base_value is None or value is None:
            found.append(Figure(None))
            continue
        changes = sample - reference
        changes = changes[~np.isnan(changes)]
        if len(changes) < len(drawn) / 2:
            found.append(Figure(None))
            continue
        low, high = np.quantile(changes, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        found.append(Figure(value - base_value, low, high))
    return found

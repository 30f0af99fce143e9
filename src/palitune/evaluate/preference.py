"""Which of two models' answers people prefer, by their votes, and whether that is more than chance.

Axes: N records, V kinds of votes.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.confidence_interval import wilson_interval
from palitune.evaluate import blinding, metrics
from palitune.evaluate.blinding import Preferred
from palitune.evaluate.bootstrap import Integers
from palitune.evaluate.comparison import NOISE, REAL, SAME, SURE
from palitune.evaluate.metrics import CONFIDENCE, Figure
from palitune.evaluate.vote_files import Votes

KINDS: tuple[Preferred, ...] = ("A", "B", "both", "neither")  # of votes, in the order of axis V
WILSON, BOOTSTRAP = "Wilson", "bootstrap over records"
SIGN, FLIP = "sign test", "sign-flip test over records"


class VoterCounts(NamedTuple):
    """What one person voted.

    Attributes:
      counts: votes by `KINDS`.
      left: of those for one of both, those for what was on the left.
      share: of those for one of both, the share of the second file, with Wilson's interval.
    """

    voter: str
    file: str
    counts: tuple[int, ...]
    left: int
    share: Figure

    @property
    def decided(self) -> int:
        """Votes for one of both."""
        return sum(self.counts[:2])


class Agreement(NamedTuple):
    """How far voters agree on A, B or a tie.

    Attributes:
      records: that several have voted on.
      pairs: of two voters on one record.
      equal: pairs of which both voted the same.
      alpha: Krippendorff's, for nominal values: 1 is full agreement, 0 that of chance. None where it is not defined.
    """

    records: int
    pairs: int
    equal: int
    alpha: float | None


class Preference(NamedTuple):
    """Everything that votes of one page say together.

    Attributes:
      records: on the page.
      voted: records that somebody has voted on.
      counts: votes of all voters by `KINDS`.
      share: of the votes for one of both, the share of the second file; no value where there is none.
      interval: how that interval was computed.
      p_value: the chance of so uneven votes if both files were as good; of no vote for one of both it is 1.
      test: by which test.
    """

    page: str
    seed: int
    records: int
    voted: int
    counts: tuple[int, ...]
    share: Figure
    interval: str
    p_value: float
    test: str
    voters: list[VoterCounts]
    agreement: Agreement

    @property
    def decided(self) -> int:
        """Votes for one of both."""
        return sum(self.counts[:2])

    @property
    def preferred(self) -> str | None:
        """The file that has more votes; None where both have as many."""
        first, second = self.counts[:2]
        return None if first == second else blinding.FIRST if first > second else blinding.SECOND

    @property
    def significance(self) -> str:
        """Whether a preference is more than chance, as the test has it."""
        return SAME if self.preferred is None else NOISE if self.p_value >= SURE else REAL


def tally(every: Sequence[Votes]) -> Preference:
    """What the votes of one page say, of at least one voter, each of whom is there once and has voted."""
    ballot = every[0].ballot
    places = {record: place for place, record in enumerate(ballot.records)}
    counts = np.zeros((len(places), len(KINDS)), np.int64)
    for votes in every:
        for record, choice in votes.choices.items():
            counts[places[record], KINDS.index(blinding.preferred(ballot.seed, record, choice))] += 1
    several = bool((counts[:, :2].sum(1) > 1).any())  # decided votes on one record
    return Preference(
        ballot.page,
        ballot.seed,
        len(places),
        int(counts.any(axis=1).sum()),
        tuple(counts.sum(0).tolist()),
        _clustered(counts) if several else _simple(*counts.sum(0)[:2].tolist()),
        BOOTSTRAP if several else WILSON,
        sign_flip(counts[:, 1] - counts[:, 0]),
        FLIP if several else SIGN,
        [_of_voter(votes) for votes in every],
        agreement(counts),
    )


def _of_voter(votes: Votes) -> VoterCounts:
    ballot = votes.ballot
    counted = Counter(blinding.preferred(ballot.seed, record, choice) for record, choice in votes.choices.items())
    counts = tuple(counted[kind] for kind in KINDS)
    left = sum(choice == blinding.LEFT for choice in votes.choices.values())
    return VoterCounts(votes.voter, votes.file, counts, left, _simple(*counts[:2]))


def _simple(first: int, second: int) -> Figure:
    """The share of the second with Wilson's interval, of votes each of which is on a record of its own."""
    if not first + second:
        return Figure(None)
    return Figure(second / (first + second), *wilson_interval(second, first + second))


def _clustered(counts: Integers) -> Figure:
    """The share of the second of votes int[N, V], several of which are on one record, with its interval.

    The interval is the percentile bootstrap's, which draws records with all of their votes (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 3.8). Where all draws agree that says nothing: then it is
    Wilson's, of as many votes as there are records.
    """
    decided = counts[counts[:, :2].sum(1) > 0, :2]
    share = float(decided[:, 1].sum() / decided.sum())
    draws = metrics.draws(len(decided))
    first, second = (column[draws].sum(1) for column in decided.T)
    low, high = np.quantile(second / (first + second), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    if high - low < 1e-9:
        low, high = wilson_interval(round(share * len(decided)), len(decided))
    return Figure(share, low, high)


def sign_flip(balance: Integers) -> float:
    """The exact two-sided p-value of balances int[N]: of a record, votes for the second less those for the first.

    If both files were as good, each balance could as well have the other sign. The p-value is the share of all choices
    of signs whose sum is at least as far from 0 (Fisher, The Design of Experiments, 1935, section 21). Where no record
    has more than one vote, this is the sign test.
    """
    from scipy.stats import binom

    chances = np.ones(1)  # of each sum from -S to S
    for size, count in zip(*np.unique(np.abs(balance[balance != 0]), return_counts=True), strict=True):
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spread)
    sums = np.arange(len(chances)) - len(chances) // 2
    return float(np.clip(chances[np.abs(sums) >= abs(balance.sum())].sum(), 0, 1))


def agreement(counts: Integers) -> Agreement:
    """How far voters agree, of votes int[N, V]; whether a tie is of two good or of two bad answers is no matter."""
    values = np.stack([counts[:, 0], counts[:, 1], counts[:, 2:].sum(1)], axis=1)
    values = values[values.sum(1) > 1]
    voters = values.sum(1)
    pairs, equal = (int((one * (one - 1) // 2).sum()) for one in (voters, values))
    return Agreement(len(values), pairs, equal, krippendorff(values))


def krippendorff(values: Integers) -> float | None:
    """Krippendorff's alpha of nominal values: how many voters gave each of N records each of V values, int[N, V].

    Voters need not have voted on the same records. It is not defined, and None, where no record has two votes or all
    votes are the same.

    Source: Krippendorff, Content Analysis, 2nd edition, 2004, section 11.3.
    """
    values = values[values.sum(1) > 1]
    each, whole = values.sum(1), values.sum(0)
    total = values.sum()
    by_chance = (whole * (total - whole)).sum() / max(total - 1, 1)
    if not by_chance:
        return None
    observed = ((values * (each[:, None] - values)).sum(1) / (each - 1)).sum()
    return float(1 - observed / by_chance)

"""From which probability on an answer is yes, and how sure a model may say that it is.

Axes: N records.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palitune.data.probabilities import log_odds
from palitune.errors import BadDataError
from palitune.evaluate.confusion import Confusion
from palitune.sentence import Sentence

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
COLDEST, HOTTEST = 0.05, 20.0
MOST_CERTAIN = float(log_odds(np.array(1.0)))  # beyond it six digits tell nothing


class Goal(NamedTuple):
    """What a threshold is chosen for: one of the four."""

    precision: float | None = None
    recall: float | None = None
    cost: tuple[float, float] | None = None  # of a false positive, of a false negative
    f_measure: bool = False

    @property
    def words(self) -> Sentence:
        """What it is, for a person."""
        if self.cost is not None:
            return Sentence("cost fp=%(fp)g,fn=%(fn)g", fp=self.cost[0], fn=self.cost[1])
        if self.f_measure:
            return Sentence("the best F-measure")
        if self.precision is not None:
            return Sentence("precision %(value)g", value=self.precision)
        return Sentence("recall %(value)g", value=self.recall)


class Choice(NamedTuple):
    """A threshold on log-odds, and what it gives on the records that it was chosen on."""

    log_odds: float
    counts: Confusion


def choose(scores: Floats, positive: Booleans, goal: Goal) -> Choice:
    """The threshold that reaches a goal, halfway between the two records' scores that it parts.

    Precision asks for the highest recall among thresholds that reach it, recall for the highest precision.

    Args:
      scores: float64[N], log-odds of yes.
      positive: bool[N], whether the label is yes.

    Raises:
      BadDataError: only one label is there, or no threshold reaches the goal.
    """
    if positive.all() or not positive.any():
        raise BadDataError("a threshold needs records of both labels")
    options = _options(scores, positive)
    if goal.precision is not None:
        granted = [o for o in options if (o.counts.precision or 0) >= goal.precision]
        if not granted:
            best = max(o.counts.precision or 0 for o in options)
            what = f"no threshold has a precision of {goal.precision:g} here; the highest is {best:.4f}"
            raise BadDataError(what, hint="Ask for less, or learn more")
        return max(granted, key=lambda o: (o.counts.recall or 0, o.counts.precision or 0))
    if goal.recall is not None:
        wanted = goal.recall
        granted = [o for o in options if (o.counts.recall or 0) >= wanted]
        return max(granted, key=lambda o: (o.counts.precision or 0, o.counts.recall or 0))
    if goal.cost is not None:
        fp, fn = goal.cost
        return min(options, key=lambda o: (fp * o.counts.fp + fn * o.counts.fn, abs(o.log_odds)))
    return max(options, key=lambda o: (o.counts.f_measure or 0, -abs(o.log_odds)))


def _options(scores: Floats, positive: Booleans) -> list[Choice]:
    """A threshold between every two neighbouring scores, one below all of them and, where there is room, one above."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.diff(ranked, append=-np.inf))  # the last record of every score
    total, found = int(hits[-1]), []
    if ranked[0] < MOST_CERTAIN:
        above = Confusion(tp=0, tn=len(scores) - total, fp=0, fn=total)
        found.append(Choice(float(ranked[0]) + 1, above))
    for end in ends:
        tp, said = int(hits[end]), int(end) + 1
        below = ranked[end + 1] if said < len(ranked) else -np.inf
        counts = Confusion(tp=tp, tn=len(scores) - total - (said - tp), fp=said - tp, fn=total - tp)
        found.append(Choice(float((ranked[end] + below) / 2), counts))
    return found


def at(scores: Floats, positive: Booleans, threshold: float) -> Confusion:
    """What a threshold on log-odds gives."""
    said = scores >= threshold
    tp, fp = int((said & positive).sum()), int((said & ~positive).sum())
    return Confusion(tp=tp, fp=fp, fn=int(positive.sum()) - tp, tn=int((~positive).sum()) - fp)


def to_probability(value: float, temperature: float = 1.0) -> float:
    """The probability whose log-odds, before a temperature, are `value`."""
    return float(1 / (1 + np.exp(-value / temperature))) if value > -np.inf else 0.0


def temperature(scores: Floats, positive: Booleans) -> float:
    """What log-odds float64[N] are divided by so that probabilities are as likely as they say: the least log loss.

    Of a set in which every answer is right at a threshold of 0.5 that would be endless certainty: its targets are a
    little less than certain, as Platt has them.

    Sources: Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599; Platt,
    Probabilistic outputs for support vector machines, 1999.

    Raises:
      BadDataError: only one label is there.
    """
    from scipy.optimize import minimize_scalar

    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        raise BadDataError("a temperature needs records of both labels")
    targets = positive.astype(float)
    if ((scores > 0) == positive).all():
        targets = np.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def log_loss(p: Floats, positive: Booleans) -> float:
    """The mean negative log-likelihood of labels bool[N] under probabilities float64[N]."""
    scores = log_odds(p)
    return float((np.logaddexp(0, scores) - positive * scores).mean())

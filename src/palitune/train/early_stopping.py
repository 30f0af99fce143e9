"""Early stopping: which evaluation of a pass is the best, and when a pass ends because no better one comes."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from palitune.models.arrays import Weights
from palitune.train.evaluation import Evaluation


@dataclasses.dataclass
class Best:
    """The best evaluation so far, and what had been learned then."""

    step: int
    score: float
    loss: float
    ratios: Mapping[str, float | None]
    arrays: Weights

    def facts(self) -> dict[str, object]:
        """Everything but the arrays."""
        return {"step": self.step, "score": self.score, "loss": self.loss, "ratios": dict(self.ratios)}

    def is_worse_than(self, score: float, loss: float) -> bool:
        return (score, -loss) > (self.score, -self.loss)


def found_score(select: str, loss: float, ratios: Mapping[str, float | None]) -> float:
    """What evaluations are compared by, higher is better; a ratio without a value is the worst."""
    if select in ("loss", "lowest_loss"):
        return -loss
    value = ratios[select]
    return -1.0 if value is None else value


def is_as_good(losses: Sequence[float], lowest: Sequence[float]) -> bool:
    """Whether losses of some examples are no higher than the lowest ones by more than chance would make them.

    That is by one standard error of the mean difference, both being of the same examples.
    """
    difference = np.subtract(losses, lowest)
    if len(difference) < 2:
        return False
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return bool(difference.mean() <= error * (1 + 1e-9))  # one example that differs is one standard error


class EarlyStopping:
    """The best evaluation so far of a pass, what was learned then, and how many evaluations ago that was.

    Attributes:
      best: the best evaluation; at the start what an earlier pass has, which has to be surpassed.
      is_as_good: whether the last evaluation is the best because it is as good as the one with the lowest loss.
    """

    def __init__(self, select: str, patience: int, best: Best | None) -> None:
        """Args:
        select: what evaluations are compared by, the setting of this name.
        patience: evaluations without a better one after which the pass ends; 0 is never.
        """
        self.select, self.patience, self.best = select, patience, best
        self.stalled = 0  # evaluations since the best one
        self.lowest: list[float] = []  # losses of each example at the evaluation with the lowest loss
        self.is_as_good = False

    @property
    def is_due(self) -> bool:
        """Whether the pass should end."""
        return bool(self.patience and self.stalled >= self.patience)

    def observe(
        self,
        step: int,
        found: Evaluation,
        ratios: Mapping[str, float | None],
        keep: Callable[[], Weights],
    ) -> bool:
        """Whether an evaluation, after a step, is the best so far; `keep` gives what has been learned by then."""
        score = found_score(self.select, found.loss, ratios)
        if step == 0 or not self._is_best(score, found):
            return False
        self.best = Best(step, score, found.loss, ratios, keep())
        return True

    def _is_best(self, score: float, found: Evaluation) -> bool:
        """Whether this evaluation is better than all before it, or as good as the best of them and later.

        A few examples cannot tell weights apart whose losses differ by chance, and later ones have learned more.
        """
        self.is_as_good = False
        surpasses = self.best is None or self.best.is_worse_than(score, found.loss)
        if self.select != "loss":
            self.stalled = 0 if surpasses else self.stalled + 1
            return surpasses
        first = not self.lowest and self.best is not None  # of a pass that has an earlier one to surpass
        if surpasses if not self.lowest else found.loss < sum(self.lowest) / len(self.lowest):
            self.lowest, self.stalled = found.losses, 0
            return True
        self.stalled += 1
        self.is_as_good = not first and is_as_good(found.losses, self.lowest)
        return self.is_as_good

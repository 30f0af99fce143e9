"""The best of several runs by a figure on the same validation records, and how little that may mean.

Axes: K runs, N records, R draws.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from palitune.errors import MissingInputError, UsageError
from palitune.evaluate import comparison, metrics, run_answers
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.comparison import MCNEMAR, SURE
from palitune.evaluate.outcomes import Outcomes
from palitune.evaluate.past_run import FIGURES, FINISHED, LOWER, DataFile, PastRun

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
COUNTED = ("accuracy", "precision", "recall", "f_measure")  # figures that follow from counts of a confusion matrix
LARGE = 50_000_000  # cells of all draws of all runs, above which fewer are drawn
FEWEST = 100


class Rival(NamedTuple):
    """Another run beside the best one.

    Attributes:
      test: what decides whether both can be told apart; empty where only their intervals can be held beside each other.
      p_value: McNemar's, of accuracy.
      is_apart: whether the difference is more than chance.
    """

    run: PastRun
    test: str
    p_value: float | None
    is_apart: bool


class Choice(NamedTuple):
    """The best run.

    Attributes:
      by: the name of the figure.
      rivals: the other runs, the next best first.
      expected: the figure on records that the choice does not know, of choosing among these very runs; None where
        their answers are not known.
      luck: how much better the best of as many equally good runs seems by chance, where answers are not known.
      elsewhere: runs that were evaluated on other records, and are not compared.
    """

    best: PastRun
    by: str
    rivals: list[Rival]
    expected: float | None
    luck: float | None
    elsewhere: int

    @property
    def undecided(self) -> int:
        """How many of the others it cannot be told from."""
        return sum(not one.is_apart for one in self.rivals)


def candidates(runs: Sequence[PastRun], by: str, data: str | None = None) -> tuple[list[PastRun], int]:
    """The runs that can be compared, and how many cannot because they were evaluated on other records.

    Those are finished ones whose checkpoint is there (all, where there is none), with a figure on records that they
    have not learned from: the same records as the latest of them, or as `data` says.

    Args:
      data: a data set as it was named when it was learned from, a file of records, or the beginning of its hash.

    Raises:
      UsageError: there is no such figure.
      MissingInputError: there is no such run.
    """
    if by not in FIGURES:
        raise UsageError(f"--by {by}: there is no such figure", hint=f"There are {', '.join(FIGURES)}")
    able = [run for run in runs if run.state == FINISHED and run.has_validation and run.value(by) is not None]
    able = [run for run in able if run.has_checkpoint] or able  # candidates of a loop have left their answers alone
    if not able:
        what = f"no finished run here has its {FIGURES[by]} on validation records"
        raise MissingInputError(what, hint="palitune runs shows what there is")
    named = [run for run in able if data is None or _is_on(run, data)]
    if not named:
        there = dict.fromkeys(f"{run.settings.get('data')} ({run.evaluated_on.short})" for run in able)
        raise MissingInputError(f"no run was evaluated on {data}", hint=f"There are {', '.join(there)}")
    latest = max(named, key=lambda run: run.began)
    same = [run for run in able if run.evaluated_on.mark == latest.evaluated_on.mark]
    return same, len(able) - len(same)


def _is_on(run: PastRun, data: str) -> bool:
    on: DataFile = run.evaluated_on
    return data in (run.settings.get("data"), on.file, on.name) or (len(data) >= 4 and on.sha256.startswith(data))


def best(runs: Sequence[PastRun], by: str, data: str | None = None) -> Choice:
    """The best run; among equals the one with the lower validation loss, then the later one. Raises as `candidates`."""
    same, elsewhere = candidates(runs, by, data)
    ordered = sorted(same, key=lambda run: _rank(run, by), reverse=True)
    first, others = ordered[0], ordered[1:]
    own = run_answers.read(first)
    known = run_answers.of_same_records(ordered, own) if isinstance(own, Answers) and by in COUNTED else {}
    rivals = [_rival(first, run, by, known) for run in others]
    expected = luck = None
    if others and len(known) == len(ordered):
        expected = unbiased([known[str(run.folder)].outcomes for run in ordered], by)
        if expected is not None and (seen := first.value(by)) is not None:
            expected = min(expected, seen)  # what is above it is the draws' noise
    elif others and by == "accuracy" and (records := first.after.records):
        mean = float(np.mean([run.value(by) for run in ordered]))
        luck = luck_of_best(mean, records, len(ordered))
    return Choice(first, by, rivals, expected, luck, elsewhere)


def _rank(run: PastRun, by: str) -> tuple[float, float, float]:
    value, loss = run.value(by) or 0.0, run.value("loss")
    return (-value if by in LOWER else value), -(np.inf if loss is None else loss), run.began


def _rival(first: PastRun, other: PastRun, by: str, known: Mapping[str, Answers]) -> Rival:
    """Whether the best run and another can be told apart: by their answers, or else by their intervals."""
    pair = [known.get(str(run.folder)) for run in (other, first)]
    if pair[0] is not None and pair[1] is not None:
        found = comparison.compare(pair[0].outcomes, pair[1].outcomes)
        if by == "accuracy":
            return Rival(other, MCNEMAR, found.p_value, found.p_value < SURE)
        moved = comparison.change(pair[0].outcomes, pair[1].outcomes, found, by)
        return Rival(other, moved.test, None, moved.significance == comparison.REAL)
    a, b = (run.after.figures[by] for run in (first, other))
    ends = (a.low, a.high, b.low, b.high)
    apart = None not in ends and (a.low > b.high or b.low > a.high)  # type: ignore[operator]
    return Rival(other, "", None, apart)


def unbiased(every: Sequence[Outcomes], by: str, seed: int = 0) -> float | None:
    """A figure of the best of K runs on records that the choice does not know.

    The best of each bootstrap draw is evaluated on the records that were not drawn. Source: Tsamardinos, Greasidou and
    Borboudakis, Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation, 2018.

    Args:
      every: answers of K runs to the same records.
      by: one of `COUNTED`.
    """
    count = len(every[0].labels)
    resamples = max(FEWEST, min(metrics.RESAMPLES, LARGE // max(1, count * len(every))))
    drawn = metrics.draws(count, resamples, seed)
    weights = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(float)  # [R, N]
    inside = np.stack([_figure(weights @ _kinds(one), by) for one in every])  # [K, R]
    outside = np.stack([_figure((weights == 0) @ _kinds(one), by) for one in every])
    chosen = np.where(np.isnan(inside), -np.inf, inside).argmax(axis=0)
    found = outside[chosen, np.arange(len(chosen))]
    return None if np.isnan(found).all() else float(np.nanmean(found))


def _kinds(one: Outcomes) -> Floats:
    """Which records are true positives, true negatives, false positives and false negatives, float64[N, 4].

    Of more than two classes right is as a true positive, and wrong as a false negative.
    """
    right = one.right
    positive = np.array([label == one.classes[0] for label in one.labels]) if one.is_binary else np.ones_like(right)
    return np.stack([right & positive, right & ~positive, ~right & ~positive, ~right & positive], axis=1).astype(float)


def _figure(counts: Floats, by: str) -> Floats:
    """A figure of counts float64[R, 4], float64[R]; NaN where it is not defined."""
    tp, tn, fp, fn = counts.T
    over, under = {
        "accuracy": (tp + tn, tp + tn + fp + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f_measure": (2 * tp, 2 * tp + fp + fn),
    }[by]
    return np.where(under > 0, over / np.where(under > 0, under, 1), np.nan)


def luck_of_best(share: float, records: int, runs: int) -> float:
    """How far the best of several runs is expected above the share of right answers that all of them really have.

    It is the mean of the highest of K independent binomial variables. Runs on the same records are less independent, so
    that it is not more than this.
    """
    from scipy.special import bdtr

    below = bdtr(np.arange(records), records, share)  # of k or fewer right answers
    return float((1 - below**runs).sum() / records - share)

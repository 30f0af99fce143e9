"""What answers are worth, in figures that each have an interval.

Figures are scikit-learn's where it has them. Intervals are 95 % percentile bootstraps over the records (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Where all resamples agree, as of ten right answers out
of ten, that says nothing: then a share has its Wilson interval, and what is not a share has none.

Axes: N records, C classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palitune import randomness
from palitune.confidence_interval import Figure as Figure
from palitune.confidence_interval import wilson_interval as wilson
from palitune.evaluate import confusion
from palitune.evaluate.bootstrap import BINS, Measure, calibration_errors
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.outcomes import Outcomes as Outcomes
from palitune.evaluate.outcomes import outcomes_of as outcomes_of
from palitune.evaluate.per_class import classification as classification
from palitune.sentence import Sentence

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int32]
RESAMPLES, FEWEST = 1_000, 100
LARGE = 20_000_000  # records in all resamples together; large sets have narrow intervals, and fewer resamples
CONFIDENCE = 0.95
NAMES = {
    "accuracy": Sentence("accuracy"),
    "balanced_accuracy": Sentence("balanced accuracy"),
    "precision": Sentence("precision"),
    "recall": Sentence("recall"),
    "f_measure": Sentence("F-measure"),
    "matthews": Sentence("Matthews correlation"),
    "roc_auc": Sentence("area under ROC"),
    "average_precision": Sentence("area under PR"),
    "brier": Sentence("Brier score"),
    "ece": Sentence("calibration error"),
}


def always(answer: str, one: Outcomes) -> Outcomes:
    """What a model would be that says the same of everything."""
    return Outcomes(one.labels, (answer,) * len(one.labels), one.classes)


def figures(one: Outcomes) -> dict[str, float | None]:
    """Every figure of `NAMES` that is defined for so many classes."""
    return _values(Measure(one), len(one.labels))


def _values(measure: Measure, count: int) -> dict[str, float | None]:
    """The figures of all records, None where one is not defined."""
    if not count:
        return dict.fromkeys(NAMES)
    found = measure(np.arange(count, dtype=np.int32)[None])
    return {name: None if np.isnan(row[0]) else float(row[0]) for name, row in found.items()}


def with_intervals(
    one: Outcomes, resamples: int = RESAMPLES, seed: int = 0, only: str | None = None
) -> dict[str, Figure]:
    """Every figure with its interval, or one of them; the same seed gives the same ones."""
    measure = Measure(one, only)
    drawn = measure(draws(len(one.labels), resamples, seed))
    found = {}
    for name, value in _values(measure, len(one.labels)).items():
        sample = drawn.get(name, np.empty(0))
        known = sample[~np.isnan(sample)]
        if value is None or len(known) < len(sample) / 2:
            found[name] = Figure(value)
            continue
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        if high - low < 1e-9:
            if not one.is_binary or name not in _SHARES:
                found[name] = Figure(value)
                continue
            low, high = wilson(*_SHARES[name](one.counts))
        found[name] = Figure(value, low, high)
    return found if only is None or only in found else {only: Figure(None)}


def draws(count: int, resamples: int = RESAMPLES, seed: int = 0) -> Indices:
    """Bootstrap samples int32[R, N] of `count` records, the same ones for the same seed; of none there are none."""
    rng = randomness.generator(seed, "bootstrap", count)
    fewer = min(resamples, max(FEWEST, LARGE // max(count, 1)))
    made = np.empty((fewer if count else 0, count), np.int32)
    for row in made:
        row[:] = rng.integers(0, count, count)
    return made


_SHARES: dict[str, Callable[[Confusion], tuple[int, int]]] = {
    "accuracy": lambda c: (c.tp + c.tn, c.tp + c.tn + c.fp + c.fn),
    "precision": lambda c: (c.tp, c.tp + c.fp),
    "recall": lambda c: (c.tp, c.tp + c.fn),
}


class Bin(NamedTuple):
    """Records whose probability lies within one of `BINS`."""

    records: int
    predicted: float  # the mean probability
    observed: float  # the share in which it came true


def reliability(p: Floats, came_true: Booleans) -> list[Bin]:
    """How often probabilities float64[N] came true, bool[N], in bins of equal width; empty bins are left out."""
    place = np.clip((p * BINS).astype(int), 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    predicted = np.bincount(place, p, BINS)
    observed = np.bincount(place, came_true.astype(float), BINS)
    return [Bin(int(count[i]), predicted[i] / count[i], observed[i] / count[i]) for i in range(BINS) if count[i]]


def calibration_error(p: Floats, came_true: Booleans) -> float:
    """The expected calibration error: the mean distance between what was predicted and what was observed."""
    return float(calibration_errors(p[None], came_true[None])[0])


def unsure_curve(confidence: Floats, right: Booleans) -> tuple[Floats, Floats]:
    """The share of answers that are unsure, and the accuracy of the rest, float64[U] each, below each probability.

    Args:
      confidence: float64[N], the probability of each answer.
      right: bool[N], whether it is right.
    """
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-1.0))  # the last answer of each probability
    kept = ends + 1
    return 1 - kept / len(right), np.cumsum(right[order])[ends] / kept


def remarks(one: Outcomes) -> list[str]:
    """What keeps figures from saying more than they do."""
    if not one.labels:
        return [Sentence("there are no labelled records: nothing can be said")]
    lines: list[str] = []
    present = [name for name in one.classes if name in one.labels]
    if len(present) == 1:
        lines.append(
            Sentence(
                'every label is "%(label)s": what a model makes of the other class, nothing here tells',
                label=present[0],
            )
        )
    elif len(set(one.answers)) == 1:
        lines.append(
            Sentence('every answer is "%(answer)s": it may have learned nothing but to say that', answer=one.answers[0])
        )
    strange = sum(confusion.plain(answer) not in one.classes for answer in one.answers)
    if strange:
        lines.append(Sentence("%(count)d answers are none of %(labels)s", count=strange, labels=", ".join(one.classes)))
    if one.p is None and one.is_binary:
        lines.append(Sentence("without p_yes there are no curves and no calibration"))
    return lines

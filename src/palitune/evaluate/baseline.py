"""What there is to beat: ways to answer, each with its answers to the same validation examples, compared."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.evaluate import comparison, metrics, probe
from palitune.evaluate.metrics import NAMES, Outcomes
from palitune.evaluate.report.text import value
from palitune.labels import LABELS

Features = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
SMALLEST = 5e-5  # difference of a figure that shows in four digits


class Contestant(NamedTuple):
    """A way to answer, and its answers to the validation examples."""

    name: str
    detail: str
    outcomes: Outcomes


def majority(train: Sequence[str], valid: Sequence[str], classes: Sequence[str] = LABELS) -> Contestant:
    """Always the commonest training label."""
    common = Counter(train).most_common(1)[0][0]
    return Contestant(
        "majority", f"always {common}", metrics.outcomes_of(valid, [common] * len(valid), [None], classes)
    )


def linear_probe(
    train_features: Features,
    train: Sequence[str],
    valid_features: Features,
    valid: Sequence[str],
    seed: int,
    classes: Sequence[str] = LABELS,
) -> Contestant:
    """A logistic regression on image features, float32[N, D] and float32[M, D], of labels N and M."""
    shares = probe.fit_predict(train_features, train, valid_features, classes, seed)
    if len(classes) == 2:
        said = [classes[0] if one >= 0.5 else classes[1] for one in shares[:, 0]]
        outcomes = metrics.outcomes_of(valid, said, shares[:, 0].tolist(), classes)
    else:
        said = [classes[place] for place in shares.argmax(axis=1)]
        outcomes = metrics.outcomes_of(valid, said, shares.max(axis=1).tolist(), classes, shares=shares)
    return Contestant("linear probe", "logistic regression on image features", outcomes)


def conclusion(baselines: Sequence[Contestant], tuned: Contestant | None, metric: str) -> str:
    """The line that matters: the best baseline, or what a fine-tuned model adds to it.

    Args:
      metric: the figure that is compared, one of `metrics.NAMES`.
    """
    best = max(baselines, key=lambda one: metrics.figures(one.outcomes)[metric] or 0)
    score = metrics.figures(best.outcomes)[metric]
    count = len(best.outcomes.labels)
    if score is None:  # as where all validation examples have one label
        line = f"to beat: nothing yet, since {NAMES[metric]} cannot be computed on {count} validation records. "
        return line + "Take more of both labels, or --metric accuracy"
    change = comparison.difference(best.outcomes, tuned.outcomes, metric) if tuned else None
    if change is None or change.value is None:
        return f"to beat: {NAMES[metric]} {value(score)} ({best.name}) on {count} validation records"
    base = f"the best baseline's {NAMES[metric]} of {value(score)} ({best.name}) on {count} records"
    if abs(change.value) < SMALLEST:
        return f"fine-tuning changes nothing of {base}"
    is_noise = change.low is None or change.high is None or change.low <= 0 <= change.high
    interval = "" if change.low is None else f", 95 % {change.low:+.3f} to {change.high:+.3f}"
    chance = "which can be chance" if is_noise else "more than chance"
    if change.value > 0:
        return f"fine-tuning adds {change.value:.4f} to {base}{interval}: {chance}"
    return f"fine-tuning loses {-change.value:.4f} of {base}{interval}: {chance}"

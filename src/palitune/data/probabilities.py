"""Scores become probabilities, and probabilities an answer.

Axes: F frames of one image, L labels.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palitune.data.example import Example, Target
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError
from palitune.labels import UNSURE

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Scores = np.ndarray[tuple[int, ...], np.dtype[np.float32]] | Array
SMALLEST = 5e-7  # of a probability: what six digits tell from 0


def probabilities(log_likelihoods: Scores, temperature: float = 1.0) -> Array:
    """Probabilities float64[..., L] over the labels alone, of log-likelihoods float[..., L].

    Raises:
      BadDataError: one of them is not finite, so that nothing can be said.
    """
    require_finite(log_likelihoods)
    scaled = np.asarray(log_likelihoods, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def require_finite(scores: Scores, example: Example | None = None, model: Path | None = None) -> None:
    """Raises BadDataError, naming example and model, if a score is not finite: no answer comes of it."""
    if not np.isfinite(scores).all():
        of = "" if example is None else f" for {example.subject[:60]}"
        by = "" if model is None else f" of the model {model}"
        hint = "Its parameters are damaged, or too large for --dtype: download or learn it again"
        where = None if example is None else example.where
        raise BadDataError(f"a score{by}{of} is not finite, so there is no answer", where=where, hint=hint)


def pooled(p: Array, pool: str) -> Array:
    """One image's probabilities float64[L] of those of its frames, [F, L]: the mean, or the frame that is the "worst"
    (least sure of the first label) or the "best".
    """
    if pool == "mean":
        mean: Array = p.mean(axis=0)
        return mean
    chosen: Array = p[np.argmax(p[:, 0]) if pool == "best" else np.argmin(p[:, 0])]
    return chosen


def predicted(example: Example, target: Target, p: Array, made: MadeWith, written: Sequence[str] = ()) -> Prediction:
    """The prediction that probabilities float64[L] of `made.labels` stand for.

    Args:
      written: what the model wrote freely of the image's frames, which is the answer then; the commonest counts.
    """
    labels = made.labels or ()
    is_binary = len(labels) == 2
    best = int(p[0] < made.threshold_of(target)) if is_binary else _best_of_several(p, target, made)
    text = Counter(written).most_common(1)[0][0] if written else labels[best]
    told = 0 if is_binary else labels.index(made.positive) if made.positive in labels else best
    return Prediction(example, target, text, float(p[told]), tuple(p.tolist()), made)


def confidence(one: Prediction) -> float | None:
    """The probability of an answer; None where it is unknown, as of one that is none of the labels."""
    labels = (one.made.labels or ()) if one.made is not None else ()
    if one.probabilities is None or one.text not in labels:
        return None
    return one.probabilities[labels.index(one.text)]


def rejected(one: Prediction, least: float | None) -> Prediction:
    """The same, with `UNSURE` for an answer that is less likely than the least probability."""
    known = None if least is None else confidence(one)
    return one if known is None or least is None or known >= least else one._replace(text=UNSURE)


def _best_of_several(p: Array, target: Target, made: MadeWith) -> int:
    """The likeliest of more than two labels; where the positive one has a threshold, it from there on and only then."""
    labels, own = made.labels or (), dict(made.thresholds).get(target.name)
    if made.positive not in labels or own is None:
        return int(np.argmax(p))
    positive = labels.index(made.positive)
    return positive if p[positive] >= own else int(np.argmax(np.where(np.arange(len(p)) == positive, -1.0, p)))


def log_odds(p: Array) -> Array:
    """log(p / (1 - p)) of probabilities that were written with six digits: 0 and 1 stand for what is next to them."""
    inside = np.clip(np.asarray(p, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)

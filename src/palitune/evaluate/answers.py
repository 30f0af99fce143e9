"""Scores become answers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palitune.checkpoint.operating_point import OperatingPoint
from palitune.data.example import Example
from palitune.errors import BadDataError

Array = np.ndarray[Any, Any]
SMALLEST = 5e-7  # of a probability: what six digits tell from 0


class Answer(NamedTuple):
    """What a model says of a picture.

    Attributes:
      p_yes: of two labels the probability of the first, of more the answer's.
      p: of every label, in their order; they add up to 1.
    """

    text: str
    p_yes: float
    p: tuple[float, ...]


def probabilities(log_likelihoods: Array, temperature: float = 1.0) -> Array:
    """float64[..., L] over the labels alone, of log-likelihoods float[..., L].

    Raises:
      BadDataError: one of them is no number, so that nothing can be said.
    """
    require_numbers(log_likelihoods)
    scaled = np.asarray(log_likelihoods, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def require_numbers(scores: Array, record: Example | None = None, model: Path | None = None) -> None:
    """Raises BadDataError, naming record and model, if a score is no number: no answer comes of it."""
    if not np.isfinite(scores).all():
        of = "" if record is None else f" for {record.image.name}"
        by = "" if model is None else f" of the model {model}"
        hint = "Its parameters are damaged, or too large for --dtype: download or learn it again"
        where = None if record is None else record.where
        raise BadDataError(f"a score{by}{of} is no number, so there is no answer", where=where, hint=hint)


def pooled(p: Array, pool: str) -> Array:
    """One picture's probabilities float64[L] of those of its frames, [F, L]: the mean, or the frame that is the "worst"
    (least sure of the first label) or the "best".
    """
    if pool == "mean":
        mean: Array = p.mean(axis=0)
        return mean
    return p[np.argmax(p[:, 0]) if pool == "best" else np.argmin(p[:, 0])]


def answer(p: Array, labels: Sequence[str], point: OperatingPoint, written: Sequence[str] = ()) -> Answer:
    """The label that probabilities float64[L] stand for.

    Args:
      written: what the model wrote freely of the picture's frames, which is the answer then; the commonest counts.
    """
    is_binary = len(labels) == 2
    best = int(p[0] < point.threshold) if is_binary else int(np.argmax(p))
    text = Counter(written).most_common(1)[0][0] if written else labels[best]
    return Answer(text, float(p[0] if is_binary else p[best]), tuple(p.tolist()))


def log_odds(p: Array) -> Array:
    """log(p / (1 - p)) of probabilities that were written with six digits: 0 and 1 stand for what is next to them."""
    inside = np.clip(np.asarray(p, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)

"""Figures of many draws of the same records at once: what scikit-learn computes of one, for all rows of indices.

Axes: N records, R draws, C classes, U different probabilities. What is not defined is NaN.
"""

import numpy as np
import numpy.typing as npt

from palitune.evaluate import confusion
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int32]
COUNTED = ("accuracy", "balanced_accuracy", "precision", "recall", "f_measure", "matthews")
BINS = 10  # of calibration, equally wide
CELLS = 2_000_000  # of a table that is held at once: 16 MB


class Measure:
    """`measure(draws)`: figures float64[R] of draws int[R, N], with what all draws share computed once."""

    def __init__(self, one: Outcomes, only: str | None = None) -> None:
        """`only` one figure may be wanted."""
        self.one, self.only = one, only
        known = {name: code for code, name in enumerate(one.classes)}
        self.codes = np.array([known[label] for label in one.labels], int)
        if one.is_binary:
            texts = [confusion.class_of(a, b, one.classes) for a, b in zip(one.answers, one.labels, strict=True)]
        else:
            texts = [confusion.plain(answer) for answer in one.answers]
        # An answer that is none of three or more classes is one of its own.
        self.said = np.array([known.get(text, len(known)) for text in texts], int)
        if one.p is not None:
            values, self.places = np.unique(one.p, return_inverse=True)
            self.different = len(values)

    def __call__(self, draws: Indices) -> dict[str, Floats]:
        """In pieces, so that memory does not grow with the number of draws. Of no records there is nothing."""
        count = draws.shape[1]
        if not count:
            return {}
        rows = max(1, CELLS // max(count, len(self.one.classes) + 1))
        pieces = [self._piece(draws[start : start + rows]) for start in range(0, len(draws), rows)]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _piece(self, draws: Indices) -> dict[str, Floats]:
        found = self._binary(draws) if self.one.is_binary else self._several(draws)
        return found if self.only is None else {name: row for name, row in found.items() if name == self.only}

    def _binary(self, draws: Indices) -> dict[str, Floats]:
        positive, said = (self.codes == 0)[draws], (self.said == 0)[draws]
        found = {}
        if self.only is None or self.only in COUNTED:
            tp, fp = (positive & said).sum(1).tolist(), (~positive & said).sum(1).tolist()
            fn = (positive & ~said).sum(1).tolist()
            counts = [
                Confusion(tp=t, fp=f, fn=m, tn=draws.shape[1] - t - f - m) for t, f, m in zip(tp, fp, fn, strict=True)
            ]
            wanted = COUNTED if self.only is None else (self.only,)
            found = {name: np.array([getattr(one, name) for one in counts], float) for name in wanted}
        if self.one.p is not None and self.only not in COUNTED:
            found |= self._of_scores(draws, positive)
        return found

    def _of_scores(self, draws: Indices, positive: Booleans) -> dict[str, Floats]:
        assert self.one.p is not None
        roc, pr = self._areas(draws, positive)
        p = self.one.p
        brier = ((p - (self.codes == 0)) ** 2)[draws].mean(axis=1)
        return {"roc_auc": roc, "average_precision": pr, "brier": brier, "ece": calibration_errors(p[draws], positive)}

    def _areas(self, draws: Indices, positive: Booleans) -> tuple[Floats, Floats]:
        """Areas under ROC and under precision and recall; NaN where a draw has one class alone."""
        rows = np.arange(len(draws))[:, None] * self.different
        # The likeliest first.
        places = (rows + self.different - 1 - self.places[draws]).ravel()
        shape = (len(draws), self.different)
        everything = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
        hits = np.bincount(places[positive.ravel()], minlength=shape[0] * shape[1]).reshape(shape)
        found, misses = hits.cumsum(1), (everything - hits).cumsum(1)
        total, others = found[:, -1], misses[:, -1]
        # Pairs of which the positive is the likelier one, twice; those as likely count half.
        pairs = ((everything - hits) * (2 * found - hits)).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = pairs / (2 * total * others)
            precision = np.divide(found, found + misses, out=np.zeros(shape), where=found + misses > 0)
            pr = (hits / total[:, None] * precision).sum(1)
        defined = (total > 0) & (others > 0)
        return np.where(defined, roc, np.nan), np.where(defined, pr, np.nan)

    def _several(self, draws: Indices) -> dict[str, Floats]:
        labels, said = self.codes[draws], self.said[draws]
        right = labels == said
        found = {"accuracy": right.mean(axis=1)}
        classes = len(self.one.classes) + 1
        shape = (len(draws), classes)
        rows = np.arange(len(draws))[:, None] * classes

        def counted(codes: Integers) -> Integers:
            return np.bincount(codes.ravel(), minlength=shape[0] * shape[1]).reshape(shape)

        true, told = counted(rows + labels), counted(rows + said)
        hits = np.bincount((rows + labels)[right], minlength=shape[0] * shape[1]).reshape(shape)
        several = (true > 0).sum(1) > 1
        recalls = np.divide(hits, true, out=np.zeros(shape), where=true > 0)
        found["balanced_accuracy"] = np.where(several, recalls.sum(1) / np.maximum((true > 0).sum(1), 1), np.nan)
        found |= _macro(true[:, :-1], told[:, :-1], hits[:, :-1])
        found["matthews"] = np.where(several, _matthews(true, told, hits.sum(1), draws.shape[1]), np.nan)
        if self.one.confidence is not None:
            found["ece"] = calibration_errors(self.one.confidence[draws], right)
        return found


def _macro(true: Integers, told: Integers, hits: Integers) -> dict[str, Floats]:
    """Mean precision, recall and F-measure of the classes that are a label or an answer, of counts int[R, C]."""
    present = true + told > 0
    means = {}
    for name, whole in (("precision", told), ("recall", true), ("f_measure", (true + told) / 2)):
        each = np.divide(hits, whole, out=np.zeros(hits.shape), where=whole > 0)
        means[name] = each.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return means


def _matthews(true: Integers, told: Integers, right: Integers, count: int) -> Floats:
    """Of counts int[R, C] of labels and of answers; NaN where every answer is the same.

    Source: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.
    """
    both = right * count - (true * told).sum(1)
    labels, answers = count**2 - (true**2).sum(1), count**2 - (told**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        made: Floats = both / np.sqrt(labels.astype(float) * answers.astype(float))
    return made


def calibration_errors(p: Floats, came_true: Booleans) -> Floats:
    """Expected calibration errors float64[R] of probabilities float64[R, N] and what came true, bool[R, N].

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    shape = (len(p), BINS)
    places = (np.arange(len(p))[:, None] * BINS + np.clip((p * BINS).astype(int), 0, BINS - 1)).ravel()
    count = np.bincount(places, minlength=shape[0] * BINS)
    predicted = np.bincount(places, p.ravel(), shape[0] * BINS)
    observed = np.bincount(places, came_true.ravel().astype(float), shape[0] * BINS)
    filled = np.maximum(count, 1)
    distances = (count * np.abs(predicted / filled - observed / filled)).reshape(shape)
    errors = np.zeros(len(p))
    for column in distances.T:  # in this order whatever the number of draws
        errors += column
    return errors / p.shape[1]

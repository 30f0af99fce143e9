"""What answers are worth, in figures that each have an interval.

Figures are scikit-learn's where it has them. Intervals are 95 % percentile bootstraps over the records (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Where all resamples agree, as of ten right answers out
of ten, that says nothing: then a share has its Wilson interval, and what is no share has none.

Axes: N records, C classes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from palitune import config
from palitune.data.findings import interval as wilson
from palitune.judge import confusion
from palitune.judge.confusion import CLASSES, Confusion

Array = np.ndarray[Any, Any]
RESAMPLES, FEWEST = 1_000, 100
LARGE = 20_000_000  # records in all resamples together; large sets have narrow intervals, and fewer resamples
CONFIDENCE = 0.95
BINS = 10  # of calibration, equally wide
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f_measure": "F-measure",
    "matthews": "Matthews correlation",
    "roc_auc": "area under ROC",
    "average_precision": "area under PR",
    "brier": "Brier score",
    "ece": "calibration error",
}


class Figure(NamedTuple):
    """A figure with its interval; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Judged:
    """Answers beside labels.

    Attributes:
      labels: N of them, each one of the classes.
      answers: N texts.
      classes: of two the first is the positive one.
      p: float64[N], probability of the first of two classes, or None where it is not known.
      confidence: float64[N], probability of the answer, or None.
    """

    labels: tuple[str, ...]
    answers: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES
    p: Array | None = None
    confidence: Array | None = None

    def take(self, indices: Sequence[int]) -> "Judged":
        """Some of the records, in this order."""
        chosen = np.array(indices, int)
        labels, answers = (tuple(texts[i] for i in indices) for texts in (self.labels, self.answers))
        p, confidence = (None if one is None else one[chosen] for one in (self.p, self.confidence))
        return Judged(labels, answers, self.classes, p, confidence)

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2

    @property
    def right(self) -> Array:
        """bool[N]."""
        return np.array([confusion.is_right(a, b) for a, b in zip(self.answers, self.labels, strict=True)], bool)

    @property
    def counts(self) -> Confusion:
        """Of two classes."""
        return confusion.count(self.labels, self.answers, self.classes)


def judged(
    labels: Sequence[str], answers: Sequence[str], p_yes: Sequence[float | None], classes: Sequence[str]
) -> Judged:
    """Of lines that inference wrote: p_yes is the first class's of two, the answer's of more.

    Labels and classes become what they are compared as.
    """
    p = confidence = None
    labels, classes = [confusion.plain(label) for label in labels], [confusion.plain(one) for one in classes]
    if answers and all(value is not None for value in p_yes):
        known = np.array(p_yes, np.float64)
        p = known if len(classes) == 2 else None
        said_first = np.array([confusion.plain(answer) == classes[0] for answer in answers])
        confidence = np.where(said_first, known, 1 - known) if len(classes) == 2 else known
    return Judged(tuple(labels), tuple(answers), tuple(classes), p, confidence)


def always(answer: str, one: Judged) -> Judged:
    """What a model would be that says the same of everything."""
    return Judged(one.labels, (answer,) * len(one.labels), one.classes)


def figures(one: Judged) -> dict[str, float | None]:
    """Every figure of `NAMES` that is defined for so many classes."""
    return Measure(one)(np.arange(len(one.labels)))


def with_intervals(
    one: Judged, resamples: int = RESAMPLES, seed: int = 0, only: str | None = None
) -> dict[str, Figure]:
    """Every figure with its interval, or one of them; the same seed gives the same ones."""
    measure = Measure(one, only)
    values = measure(np.arange(len(one.labels)))
    drawn = [measure(indices) for indices in draws(len(one.labels), resamples, seed)]
    found = {}
    for name, value in values.items():
        sample = [row[name] for row in drawn]
        known = [v for v in sample if v is not None]
        if value is None or len(known) < len(drawn) / 2:
            found[name] = Figure(value)
            continue
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        if high - low < 1e-9:
            if not one.is_binary or name not in _SHARES:
                found[name] = Figure(value)
                continue
            low, high = wilson(*_SHARES[name](one.counts))
        found[name] = Figure(value, low, high)
    return found


def draws(count: int, resamples: int = RESAMPLES, seed: int = 0) -> list[Array]:
    """Bootstrap samples int[N] of `count` records, the same ones for the same seed; of none there are none."""
    rng = config.generator(seed, "bootstrap", count)
    fewer = min(resamples, max(FEWEST, LARGE // max(count, 1)))
    return [rng.integers(0, count, count) for _ in range(fewer)] if count else []


_SHARES: dict[str, Callable[[Confusion], tuple[int, int]]] = {
    "accuracy": lambda c: (c.tp + c.tn, c.tp + c.tn + c.fp + c.fn),
    "precision": lambda c: (c.tp, c.tp + c.fp),
    "recall": lambda c: (c.tp, c.tp + c.fn),
}


class Measure:
    """`measure(indices)`: the figures of some of the records, with what all draws share computed once."""

    def __init__(self, one: Judged, only: str | None = None) -> None:
        """`only` one figure may be wanted: curves take a hundred times longer than counts."""
        self.one, self.only = one, only
        self.codes = np.array([one.classes.index(label) for label in one.labels], int)
        if one.is_binary:
            texts = [confusion.judged(a, b, one.classes) for a, b in zip(one.answers, one.labels, strict=True)]
        else:
            texts = [confusion.plain(answer) for answer in one.answers]
        known = {name: code for code, name in enumerate(one.classes)}
        # An answer that is none of three or more classes is one of its own.
        self.said = np.array([known.get(text, len(known)) for text in texts], int)

    def __call__(self, chosen: Array) -> dict[str, float | None]:
        if not len(chosen):
            return dict.fromkeys(NAMES)
        found = self._binary(chosen) if self.one.is_binary else self._several(chosen)
        return found if self.only is None else {self.only: found.get(self.only)}

    def _binary(self, chosen: Array) -> dict[str, float | None]:
        positive, said = self.codes[chosen] == 0, self.said[chosen] == 0
        tp, fp = int((positive & said).sum()), int((~positive & said).sum())
        fn = int(positive.sum()) - tp
        counted = Confusion(tp=tp, tn=len(chosen) - tp - fp - fn, fp=fp, fn=fn)
        found: dict[str, float | None] = {
            name: getattr(counted, name)
            for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f_measure", "matthews")
        }
        if self.one.p is None or self.only in found:
            return found
        return found | _of_scores(positive, self.one.p[chosen])

    def _several(self, chosen: Array) -> dict[str, float | None]:
        from sklearn.metrics import matthews_corrcoef, recall_score

        labels, said = self.codes[chosen], self.said[chosen]
        present = np.unique(labels)
        found: dict[str, float | None] = {"accuracy": float((labels == said).mean())}
        found |= dict.fromkeys(("balanced_accuracy", "matthews"))
        if len(present) > 1:
            # Recall by class, of the classes that are there; scikit-learn's own warns of answers that are no class.
            found["balanced_accuracy"] = float(recall_score(labels, said, labels=present, average="macro"))
            found["matthews"] = float(matthews_corrcoef(labels, said)) if len(np.unique(said)) > 1 else None
        if self.one.confidence is not None:
            found["ece"] = calibration_error(self.one.confidence[chosen], labels == said)
        return found


def _of_scores(positive: Array, p: Array) -> dict[str, float | None]:
    from sklearn import config_context
    from sklearn.metrics import average_precision_score, roc_auc_score

    found: dict[str, float | None] = dict.fromkeys(("roc_auc", "average_precision"))
    if 0 < positive.sum() < len(positive):
        with config_context(assume_finite=True, skip_parameter_validation=True):
            found = {
                "roc_auc": float(roc_auc_score(positive, p)),
                "average_precision": float(average_precision_score(positive, p)),
            }
    return found | {"brier": float(((p - positive) ** 2).mean()), "ece": calibration_error(p, positive)}


class Bin(NamedTuple):
    """Records whose probability lies within one of `BINS`."""

    records: int
    predicted: float  # the mean probability
    observed: float  # the share in which it came true


def reliability(p: Array, came_true: Array) -> list[Bin]:
    """How often probabilities float64[N] came true, bool[N], in bins of equal width; empty bins are left out."""
    place = np.clip((p * BINS).astype(int), 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    predicted = np.bincount(place, p, BINS)
    observed = np.bincount(place, came_true.astype(float), BINS)
    return [Bin(int(count[i]), predicted[i] / count[i], observed[i] / count[i]) for i in range(BINS) if count[i]]


def calibration_error(p: Array, came_true: Array) -> float:
    """The expected calibration error: the mean distance between what was predicted and what was observed.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    bins = reliability(p, came_true)
    return float(sum(one.records * abs(one.predicted - one.observed) for one in bins) / len(p))


def classification(one: Judged) -> str:
    """scikit-learn's report by class, as text; answers that are no class count against their label's recall.

    Empty where there are no records.
    """
    from sklearn.metrics import classification_report

    if not one.labels:
        return ""
    said = [confusion.plain(answer) for answer in one.answers]
    return str(
        classification_report(
            one.labels, said, labels=list(one.classes), target_names=list(one.classes), zero_division=0, digits=4
        )
    )


def remarks(one: Judged) -> list[str]:
    """What keeps figures from saying more than they do."""
    if not one.labels:
        return ["there are no labelled records: nothing can be said"]
    lines = []
    present = [name for name in one.classes if name in one.labels]
    if len(present) == 1:
        lines.append(f'every label is "{present[0]}": what a model makes of the other class, nothing here tells')
    elif len(set(one.answers)) == 1:
        lines.append(f'every answer is "{one.answers[0]}": it may have learned nothing but to say that')
    strange = sum(confusion.plain(answer) not in one.classes for answer in one.answers)
    if strange:
        lines.append(f"{strange} answers are none of {', '.join(one.classes)}")
    if one.p is None and one.is_binary:
        lines.append("without p_yes there are no curves and no calibration")
    return lines

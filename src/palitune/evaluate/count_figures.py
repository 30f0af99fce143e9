"""Figures of counts, with intervals by Wilson's score: of what is only counted, and quickly. Imports nothing heavy."""

from palitune.confidence_interval import Figure, wilson_interval
from palitune.evaluate.confusion import Confusion


def share(right: int, total: int) -> Figure:
    """The share of some in all of them; not defined of none."""
    return Figure(right / total, *wilson_interval(right, total)) if total else Figure(None)


def of_counts(counts: Confusion) -> dict[str, Figure]:
    """The figures that are defined, by the names that settings have for them.

    The interval of the F-measure is that of the share of true positives in all that are positive or called so, of which
    it is a function: F = 2s / (1 + s). Source: Lam, Gopal and Qian, Confidence intervals for the F1 score: a comparison
    of four methods, 2023, where it is the indirect one by Wilson's score.
    """
    tp, tn, fp, fn = counts.tp, counts.tn, counts.fp, counts.fn
    found = {
        "accuracy": share(tp + tn, tp + tn + fp + fn),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f_measure": Figure(counts.f_measure, *map(_f_measure, share(tp, tp + fp + fn)[1:])),
        "balanced_accuracy": Figure(counts.balanced_accuracy),
    }
    return {name: one for name, one in found.items() if one.value is not None}


def _f_measure(positives: float | None) -> float | None:
    """The F-measure that goes with a share of true positives in all that are positive or called so."""
    return None if positives is None else 2 * positives / (1 + positives)

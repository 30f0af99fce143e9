"""What a validation during training tells of each of several labels."""

from collections.abc import Iterable, Sequence

import numpy as np

from palitune.data.example import Target
from palitune.evaluate.confusion import POSITIVE
from palitune.evaluate.several_labels import rates
from palitune.run.metrics_log import PREFIX


def ratios_of(targets: Iterable[Target], right: Sequence[bool]) -> dict[str, float | None]:
    """Ratios as of one label, which are means over the labels, and F-measures of each label and of all together.

    Accuracy, precision, recall and F-measure are macro means over the labels of which one is defined, as in
    `evaluate.several_labels`; the balanced accuracy is the mean of recall and specificity. `eval_NAME_f1` is of one
    label, `eval_macro_f1` and `eval_micro_f1` of all.

    Args:
      targets: those with a known answer, of all examples.
      right: whether each was answered right; a wrong answer is the other one of yes and no.
    """
    places: dict[str, int] = {}
    known = list(targets)
    for one in known:
        places.setdefault(one.name, len(places))
    counts = np.zeros((4, len(places)))  # true positives, false positives, false negatives, true negatives
    for one, is_right in zip(known, right, strict=True):
        is_yes = one.answer == POSITIVE
        row = (0 if is_right else 2) if is_yes else (3 if is_right else 1)
        counts[row, places[one.name]] += 1
    tp, fp, fn, tn = counts
    by_label = rates(tp, fp, fn, tn)
    micro = rates(*counts.sum(axis=1))
    with np.errstate(invalid="ignore"):
        balanced = (by_label["recall"] + tn / (tn + fp)) / 2
    found = {name: _mean(values) for name, values in (by_label | {"balanced_accuracy": balanced}).items()}
    own = {f"{PREFIX}{name}_f1": _value(float(by_label["f_measure"][place])) for name, place in places.items()}
    together = {f"{PREFIX}macro_f1": found["f_measure"], f"{PREFIX}micro_f1": _value(float(micro["f_measure"]))}
    return found | own | together


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)

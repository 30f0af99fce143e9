"""Precision, recall and F-measure of every class, as scikit-learn's report has them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from palitune.errors import printable
from palitune.evaluate.class_counts import ClassCounts
from palitune.evaluate.confusion import plain
from palitune.evaluate.outcomes import Outcomes
from palitune.text_tables import columns

TOP = (2, 3, 5)  # numbers of classes among which the label is looked for
MOST = 64  # classes with a line of their own, the commonest
HEAD = ("precision", "recall", "f1-score", "support")
Row = tuple[float, float, float, int]


def classification(one: Outcomes) -> str:
    """The report by class; answers that are not a class count against their label's recall. Empty without records."""
    return _report(Counter(zip(one.labels, map(plain, one.answers), strict=True)), one.classes)


def of_counts(counts: ClassCounts) -> str:
    """The same report of a confusion matrix."""
    names = [*counts.classes, "(none)"]
    pairs = {
        (label, answer): number
        for label, row in zip(counts.classes, counts.rows, strict=True)
        for answer, number in zip(names, row, strict=True)
        if number
    }
    return _report(Counter(pairs), counts.classes)


def _report(pairs: Counter[tuple[str, str]], classes: Sequence[str]) -> str:
    """The report of counts of labels and answers. Of more than two classes, means are of those that are either."""
    if not pairs:
        return ""
    true, told, hits = Counter[str](), Counter[str](), Counter[str]()
    for (label, answer), number in pairs.items():
        true[label] += number
        told[answer] += number
        hits[label] += number if label == answer else 0
    rows = {name: _row(hits[name], told[name], true[name]) for name in classes}
    found = [row for name, row in rows.items() if len(classes) == 2 or true[name] or told[name]]
    total = true.total()
    right = sum(hits.values())
    shown = set(sorted(classes, key=lambda name: -true[name])[:MOST])
    names = {name: printable(name) for name in classes if name in shown}
    width = max(len("weighted avg"), *map(columns, names.values()))
    lines = [f"{'':>{width}} " + "".join(f" {name:>9}" for name in HEAD), ""]
    lines += [_line(text, rows[name], width) for name, text in names.items()]
    if len(names) < len(classes):
        lines.append(f"{'':>{width}}  and {len(classes) - len(names)} more classes")
    lines.append("")
    if set(told) <= set(classes):
        lines.append(f"{'accuracy':>{width}} {'':>10}{'':>10} {right / total:>9.4f} {total:>9}")
    else:
        lines.append(_line("micro avg", _row(right, sum(told[name] for name in classes), total), width))
    lines.append(_line("macro avg", _mean(found, [1] * len(found), total), width))
    lines.append(_line("weighted avg", _mean(found, [row[3] for row in found], total), width))
    return "\n".join(lines) + "\n"


def top_k(one: Outcomes) -> dict[int, float]:
    """The share of examples whose label is among the 2, 3 and 5 likeliest classes, where there are more than these.

    It is empty where the probability of every class is not known. Among classes as likely as the label its place is
    left to chance.
    """
    if one.shares is None or not one.labels:
        return {}
    places = {name: place for place, name in enumerate(one.classes)}
    own = one.shares[np.arange(len(one.labels)), [places[label] for label in one.labels]]
    likelier, as_likely = (one.shares > own[:, None]).sum(axis=1), (one.shares == own[:, None]).sum(axis=1)
    return {k: float(np.clip((k - likelier) / as_likely, 0, 1).mean()) for k in TOP if k < len(one.classes)}


def several(one: Outcomes) -> str:
    """The report by class and top-k accuracy, where there are more than two classes; else nothing."""
    if len(one.classes) < 3 or not one.labels:
        return ""
    lines = [f"top-{k} accuracy: {share:.4f}\n" for k, share in top_k(one).items()]
    return classification(one) + "".join(lines)


def _row(hits: int, told: int, true: int) -> Row:
    """Precision, recall, F-measure and support; 0 where nothing is to be divided by."""
    return (
        hits / told if told else 0.0,
        hits / true if true else 0.0,
        2 * hits / (told + true) if told + true else 0.0,
        true,
    )


def _mean(rows: Sequence[Row], weights: Sequence[int], total: int) -> Row:
    precision, recall, f = (
        sum(row[k] * weight for row, weight in zip(rows, weights, strict=True)) / sum(weights) for k in range(3)
    )
    return float(precision), float(recall), float(f), total


def _line(name: str, row: Row, width: int) -> str:
    return (
        " " * (width - columns(name)) + f"{name} " + "".join(f" {figure:>9.4f}" for figure in row[:3]) + f" {row[3]:>9}"
    )

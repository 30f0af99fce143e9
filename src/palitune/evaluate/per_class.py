"""Precision, recall and F-measure of every class, as scikit-learn's report has them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.errors import printable
from palitune.evaluate.class_counts import ClassCounts
from palitune.evaluate.confusion import plain
from palitune.evaluate.outcomes import Outcomes
from palitune.sentence import Sentence
from palitune.text_tables import columns

TOP = (2, 3, 5)  # numbers of classes among which the label is looked for
MOST = 64  # classes with a line of their own, the commonest
HEAD = (Sentence("precision"), Sentence("recall"), Sentence("f1-score"), Sentence("support"))
MACRO, WEIGHTED = Sentence("macro avg"), Sentence("weighted avg")
Row = tuple[float, float, float, int]


class Report(NamedTuple):
    """The figures of every class, and of all together.

    Attributes:
      rows: of the commonest classes, with their names.
      others: how many classes have no row.
      accuracy: where each answer is a class; else None, and `micro` is told.
    """

    rows: list[tuple[str, Row]]
    others: int
    accuracy: float | None
    micro: Row
    macro: Row
    weighted: Row
    total: int

    @property
    def more(self) -> str:
        """How many classes have no row, in words; empty where each has one."""
        return Sentence("and %(count)d more classes", count=self.others) if self.others else ""

    def text(self) -> str:
        """The table as scikit-learn prints it."""
        width = max(len(WEIGHTED), *(columns(name) for name, _ in self.rows))
        lines = [f"{'':>{width}} " + "".join(f" {name:>9}" for name in HEAD), ""]
        lines += [_line(name, row, width) for name, row in self.rows]
        lines += [f"{'':>{width}}  {self.more}"] if self.more else []
        lines.append("")
        if self.accuracy is not None:
            lines.append(f"{'accuracy':>{width}} {'':>10}{'':>10} {self.accuracy:>9.4f} {self.total:>9}")
        else:
            lines.append(_line("micro avg", self.micro, width))
        lines += [_line(MACRO, self.macro, width), _line(WEIGHTED, self.weighted, width)]
        return "\n".join(lines) + "\n"

    def cells(self) -> list[list[str]]:
        """The same as the cells of a table, whose first row is the head."""
        found = [["", *HEAD], *([name, *_cells(row)] for name, row in self.rows)]
        found += [[self.more, "", "", "", ""]] if self.more else []
        if self.accuracy is not None:
            found.append([Sentence("accuracy"), "", "", f"{self.accuracy:.4f}", str(self.total)])
        else:
            found.append([Sentence("micro avg"), *_cells(self.micro)])
        return [*found, [MACRO, *_cells(self.macro)], [WEIGHTED, *_cells(self.weighted)]]


def classification(one: Outcomes) -> str:
    """The report by class; answers that are not a class count against their label's recall. Empty without records."""
    found = report(one)
    return found.text() if found is not None else ""


def report(one: Outcomes) -> Report | None:
    """The report by class; None without records."""
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
    found = _report(Counter(pairs), counts.classes)
    return found.text() if found is not None else ""


def _report(pairs: Counter[tuple[str, str]], classes: Sequence[str]) -> Report | None:
    """The report of counts of labels and answers. Of more than two classes, means are of those that are either."""
    if not pairs:
        return None
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
    return Report(
        rows=[(printable(name), rows[name]) for name in classes if name in shown],
        others=len(classes) - len(shown),
        accuracy=right / total if set(told) <= set(classes) else None,
        micro=_row(right, sum(told[name] for name in classes), total),
        macro=_mean(found, [1] * len(found), total),
        weighted=_mean(found, [row[3] for row in found], total),
        total=total,
    )


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
    return classification(one) + "".join(f"{line}\n" for line in top_lines(one))


def top_lines(one: Outcomes) -> list[str]:
    """`top_k` in words."""
    return [Sentence("top-%(k)d accuracy: %(share).4f", k=k, share=share) for k, share in top_k(one).items()]


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


def _cells(row: Row) -> list[str]:
    return [*(f"{figure:.4f}" for figure in row[:3]), str(row[3])]


def _line(name: str, row: Row, width: int) -> str:
    return (
        " " * (width - columns(name)) + f"{name} " + "".join(f" {figure:>9.4f}" for figure in row[:3]) + f" {row[3]:>9}"
    )

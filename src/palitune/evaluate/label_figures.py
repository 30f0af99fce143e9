"""What answers are worth label by label and together: of several labels of each record, or of three and more classes.

A run writes them down, where its result block of counts does not hold them. Axes: N records, C classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from palitune.evaluate import metrics, several_labels
from palitune.evaluate.confusion import plain
from palitune.evaluate.label_table import NO, YES, LabelTable
from palitune.evaluate.metrics import NAMES, RESAMPLES, Figure
from palitune.evaluate.outcomes import Outcomes
from palitune.evaluate.several_labels import SeveralResult

MACRO = ("precision", "recall", "f_measure")  # means over the classes, where there are more than two
TOGETHER = {
    "macro f_measure": "F-measure (macro)",
    "micro f_measure": "F-measure (micro)",
    "exact_match": "exact match",
    "macro precision": "precision (macro)",
    "macro recall": "recall (macro)",
    "macro accuracy": "accuracy (macro)",
}


class LabelFigures(NamedTuple):
    """What answers to one label are worth; None is what is not defined.

    Attributes:
      support: how many records have it, of those of which that is known.
    """

    support: int
    precision: float | None
    recall: float | None
    f_measure: Figure


class SetFigures(NamedTuple):
    """What answers to a set are worth.

    Attributes:
      figures: of all labels together, by their titles.
      labels: of each label, by its name.
    """

    records: int
    figures: Mapping[str, Figure]
    labels: Mapping[str, LabelFigures]

    def as_json(self) -> dict[str, object]:
        """Everything in it as JSON has it, which `from_json` reads."""
        return {
            "records": self.records,
            "figures": {name: list(figure) for name, figure in self.figures.items()},
            "labels": {name: [*one[:-1], list(one.f_measure)] for name, one in self.labels.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "SetFigures":
        """What `as_json` gave. Raises ValueError: it is something else."""
        figures, labels = content.get("figures"), content.get("labels")
        if not isinstance(figures, dict) or not isinstance(labels, dict):
            raise ValueError("no figures")
        made = {}
        for name, value in labels.items():
            if not isinstance(value, list) or len(value) != len(LabelFigures._fields):
                raise ValueError("no figures of a label")
            made[name] = LabelFigures(_count(value[0]), _share(value[1]), _share(value[2]), _figure(value[3]))
        return cls(_count(content.get("records")), {name: _figure(value) for name, value in figures.items()}, made)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("no count")
    return value


def _share(value: object) -> float | None:
    if value is not None and (type(value) not in (int, float) or not -1 <= float(str(value)) <= 1):
        raise ValueError("no figure")
    return None if value is None else float(str(value))


def _figure(value: object) -> Figure:
    if not isinstance(value, list) or len(value) != len(Figure._fields):
        raise ValueError("no figure")
    return Figure(*map(_share, value))


def of_several(table: LabelTable, resamples: int = RESAMPLES) -> SetFigures:
    """Of several labels, with intervals from a bootstrap over the records; of 0 resamples there are none."""
    drawn = several_labels.drawn_figures(table, resamples)
    together = {title: drawn[name] for name, title in TOGETHER.items() if drawn[name].value is not None}
    return SetFigures(len(table.truth), together, _of_each(table, drawn))


def of_classes(one: Outcomes, resamples: int = RESAMPLES) -> SetFigures:
    """Of classes, each of which is a label against the rest; the intervals are those of `of_several`."""
    found = metrics.with_intervals(one, resamples) if resamples else _without_intervals(one)
    together = {title_of(name, one): figure for name, figure in found.items() if figure.value is not None}
    return SetFigures(len(one.labels), together, of_each_class(one, resamples))


def title_of(name: str, one: Outcomes) -> str:
    """What a figure of `metrics.NAMES` is called: of more than two classes some are means over the classes."""
    return f"{NAMES[name]} (macro)" if name in MACRO and not one.is_binary else NAMES[name]


def of_each_class(one: Outcomes, resamples: int = RESAMPLES) -> dict[str, LabelFigures]:
    """Of each class against the rest."""
    places = {name: place for place, name in enumerate(one.classes)}
    true, told = ([places.get(plain(text), -1) for text in texts] for texts in (one.labels, one.answers))
    columns = np.arange(len(places))
    is_label, is_answer = (np.array(codes, int)[:, None] == columns for codes in (true, told))
    unknown = np.full(len(places), np.nan)
    table = LabelTable(
        tuple(one.classes),
        np.where(is_label, YES, NO).astype(np.int8),
        is_answer,
        np.full(is_label.shape, np.nan),
        unknown,
    )
    return _of_each(table, several_labels.drawn_figures(table, resamples))


def of_each_label(result: SeveralResult) -> dict[str, LabelFigures]:
    """Of each of several labels that have been evaluated."""
    return {
        name: LabelFigures(one.support, one.counts.precision, one.counts.recall, one.figures["f_measure"])
        for name, one in result.labels.items()
    }


def _without_intervals(one: Outcomes) -> dict[str, Figure]:
    return {name: Figure(value) for name, value in metrics.figures(one).items()}


def _of_each(table: LabelTable, drawn: Mapping[str, Figure]) -> dict[str, LabelFigures]:
    counts = several_labels.counts_of(table)
    return {
        name: LabelFigures(one.tp + one.fn, one.precision, one.recall, drawn[f"{place} f_measure"])
        for place, (name, one) in enumerate(zip(table.names, counts, strict=True))
    }

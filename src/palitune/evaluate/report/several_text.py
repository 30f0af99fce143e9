"""What answers to several labels are worth, as a block of text and as JSON."""

import itertools
import math
from collections.abc import Mapping

from palitune.errors import printable
from palitune.evaluate.metrics import Figure
from palitune.evaluate.report.text import between, value
from palitune.evaluate.several_labels import LabelResult, SeveralResult
from palitune.sentence import Sentence
from palitune.text_tables import aligned

HEAD = ("precision", "recall", "f_measure", "roc_auc", "average_precision", "accuracy")
INTERVAL = Sentence("95 %%")
TITLES = (
    *(Sentence("label"), Sentence("yes"), Sentence("known"), Sentence("precision"), Sentence("recall")),
    *(Sentence("F-measure"), INTERVAL, Sentence("ROC area"), Sentence("PR area"), Sentence("accuracy")),
    Sentence("threshold"),
)
PAIRS = 10  # of labels that come together, which are listed


def block(path: str, result: SeveralResult, label: str | None = None, title: str = "Result") -> str:
    """What a file's answers are worth: a line for each label, then all together, and how many labels records have.

    Args:
      label: beside the path, what was evaluated.
    """
    head = printable(f"{title}: {path}{f' ({label})' if label else ''}")
    lines = aligned(_without_empty(rows(result)))
    whole = sum(result.per_record.values())
    more = [f"exact match: {value(result.exact_match.value)}{_interval(result.exact_match)}"]
    if whole:
        left_out = f", without {result.partly_known} of which one is unknown" if result.partly_known else ""
        more.append(f"labels per record: {_histogram(result.per_record)}{left_out}")
        more.append(f"answered yes to:   {_histogram(result.said_per_record)}")
    if pairs := _pairs(result):
        more.append(f"together: {pairs}")
    return "\n".join([head, *(f"  {line}" for line in [*lines, *map(printable, more)])])


def rows(result: SeveralResult) -> list[list[str]]:
    """The table's cells: the head, a row for each label, and micro, macro and samples."""
    found: list[list[str]] = [[*TITLES]]
    for (name, one), threshold in zip(result.labels.items(), result.table.thresholds.tolist(), strict=True):
        said = "-" if math.isnan(threshold) else f"{threshold:.4g}"
        found.append([name, str(one.support), str(one.records), *_cells(one.figures), said])
    yes, known = sum(one.support for one in result.labels.values()), int(result.table.known.sum())
    found.append([Sentence("micro"), str(yes), str(known), *_cells(result.micro), ""])
    found.append([Sentence("macro"), "", "", *_cells(result.macro), ""])
    found.append([Sentence("samples"), "", "", *_cells(result.samples), ""])
    return found


def _without_empty(table: list[list[str]]) -> list[list[str]]:
    """A table without the column of intervals, where there are none."""
    place = TITLES.index(INTERVAL)
    return table if any(row[place] for row in table[1:]) else [row[:place] + row[place + 1 :] for row in table]


def _cells(figures: Mapping[str, Figure]) -> list[str]:
    shown = [value(figures.get(name, Figure(None)).value) for name in HEAD]
    f = figures.get("f_measure", Figure(None))
    return [*shown[:3], between(f.low, f.high), *shown[3:]]


def _interval(figure: Figure) -> str:
    interval = between(figure.low, figure.high)
    return f" ({interval})" if interval else ""


def _histogram(counts: Mapping[int, int]) -> str:
    return ", ".join(f"{number}: {count}" for number, count in counts.items())


def _pairs(result: SeveralResult) -> str:
    """The labels that come together most often."""
    names = result.table.names
    found = [
        (int(result.together[a, b]), names[a], names[b])
        for a, b in itertools.combinations(range(len(names)), 2)
        if result.together[a, b]
    ]
    found.sort(key=lambda one: -one[0])
    return ", ".join(f"{a} + {b} {count}" for count, a, b in found[:PAIRS])


def as_json(result: SeveralResult) -> dict[str, object]:
    """Everything in it as JSON has it."""
    thresholds = result.table.thresholds.tolist()
    return {
        "records": len(result.table.truth),
        "labels": {
            name: _label(one, threshold)
            for (name, one), threshold in zip(result.labels.items(), thresholds, strict=True)
        },
        "micro": _plain(result.micro),
        "macro": _plain(result.macro),
        "samples": _plain(result.samples),
        "exact_match": result.exact_match._asdict(),
        "together": {
            "names": list(result.table.names),
            "labels": result.together.tolist(),
            "answers": result.said_together.tolist(),
        },
        "labels_per_record": {str(number): count for number, count in result.per_record.items()},
        "answers_per_record": {str(number): count for number, count in result.said_per_record.items()},
        "partly_known": result.partly_known,
    }


def _label(one: LabelResult, threshold: float) -> dict[str, object]:
    counts = one.counts
    return {
        "support": one.support,
        "records": one.records,
        "threshold": None if math.isnan(threshold) else threshold,
        "confusion": {"tp": counts.tp, "tn": counts.tn, "fp": counts.fp, "fn": counts.fn},
        "figures": _plain(one.figures),
    }


def _plain(figures: Mapping[str, Figure]) -> dict[str, dict[str, float | None]]:
    return {name: figure._asdict() for name, figure in figures.items()}

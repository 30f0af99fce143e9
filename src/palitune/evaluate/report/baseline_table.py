"""Baselines as a table for a terminal and as JSON."""

from collections.abc import Sequence

from palitune.evaluate import metrics
from palitune.evaluate.baseline import Contestant
from palitune.evaluate.metrics import NAMES
from palitune.evaluate.report.text import between, value
from palitune.text_tables import aligned

WIDEST = 60  # characters of a prompt
OTHERS = ("accuracy", "balanced_accuracy", "f_measure", "roc_auc")


def baseline_lines(found: Sequence[Contestant], metric: str) -> list[str]:
    """A line for each way to answer: the compared figure with its interval, other figures, and what it is."""
    shown = [name for name in OTHERS if name != metric]
    table = [["", NAMES[metric], "95 %", *(NAMES[name] for name in shown), ""]]
    for one in found:
        figures = metrics.with_intervals(one.outcomes)
        main = figures[metric]
        rest = [value(figures[name].value if name in figures else None) for name in shown]
        detail = one.detail if len(one.detail) <= WIDEST else f"{one.detail[: WIDEST - 2]} …"
        table.append([one.name, value(main.value), between(main.low, main.high), *rest, detail])
    return aligned(table)


def as_json(found: Sequence[Contestant], metric: str, conclusion: str) -> dict[str, object]:
    """All figures with their intervals, and the conclusion."""
    rows = [
        {
            "name": one.name,
            "detail": one.detail,
            "figures": {name: figure._asdict() for name, figure in metrics.with_intervals(one.outcomes).items()},
        }
        for one in found
    ]
    return {"contestants": rows, "metric": metric, "verdict": conclusion}

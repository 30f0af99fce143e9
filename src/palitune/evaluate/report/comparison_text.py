"""A comparison of two files of answers as lines for a terminal, as lines of data, and as JSON."""

import collections

from palitune.data.formats.tsv import flat
from palitune.evaluate import comparison, metrics
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.comparison import Change, Comparison
from palitune.evaluate.report.summary import subject_of
from palitune.evaluate.report.text import value
from palitune.text_tables import aligned

METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f_measure", "matthews", "roc_auc")


def comparison_lines(before: Answers, after: Answers, found: Comparison) -> list[str]:
    """Figures of both with whether each difference is more than chance, how answers changed, and McNemar's test."""
    lines = [f"{after.name} against {before.name}, {len(after.examples)} records"]
    old, new = metrics.figures(before.outcomes), metrics.figures(after.outcomes)
    rows = [["", "before", "after", "difference", "95 %", "verdict", "by"]]
    for name, change in comparison.changes(before.outcomes, after.outcomes, found, METRICS).items():
        shown = "-" if change.value is None else f"{change.value:+.4f}"
        test = change.test if change.significance else ""
        rows.append(
            [
                metrics.NAMES[name],
                value(old[name]),
                value(new[name]),
                shown,
                _interval(change),
                change.significance,
                test,
            ]
        )
    lines += aligned(rows)
    directions = collections.Counter(_direction(flip.before, flip.after) for flip in found.flips)
    for direction, count in directions.most_common():
        fixed = sum(flip.is_better for flip in found.flips if _direction(flip.before, flip.after) == direction)
        lines.append(f"{direction}: {count}, of which {fixed} are right now")
    lines.append(
        f"right now and wrong before: {found.won}, the other way: {found.lost}; McNemar's p = {found.p_value:.3g}"
        + f": the difference in accuracy is {found.significance}"
    )
    return lines + ([f"WARNING: {found.warning}"] if found.warning else [])


def flip_lines(before: Answers, after: Answers, found: Comparison) -> list[str]:
    """A line of data for each changed answer: image or text, label, both answers, and whether it is fixed or broken."""
    lines = []
    for flip in found.flips:
        record = after.examples[flip.record]
        was = before.outcomes.right[flip.record]
        outcome = "fixed" if flip.is_better else "broken" if was else "wrong still"
        lines.append(f"{flat(record.subject)}\t{record.label}\t{flip.before}\t{flip.after}\t{outcome}")
    return lines


def as_json(before: Answers, after: Answers, found: Comparison) -> dict[str, object]:
    """Everything about a comparison, as JSON has it."""
    changes = comparison.changes(before.outcomes, after.outcomes, found, METRICS)
    return {
        "before": before.name,
        "after": after.name,
        "records": len(after.examples),
        "figures": {"before": metrics.figures(before.outcomes), "after": metrics.figures(after.outcomes)},
        "differences": {name: _change_as_json(change) for name, change in changes.items()},
        "mcnemar": comparison.mcnemar_as_json(found),
        "flips": [
            {
                **subject_of(after.examples[flip.record]),
                "label": after.examples[flip.record].label,
                "before": flip.before,
                "after": flip.after,
                "fixed": flip.is_better,
            }
            for flip in found.flips
        ],
        "warning": found.warning,
    }


def _change_as_json(change: Change) -> dict[str, object]:
    value, low, high, test, significance = change
    return {"value": value, "low": low, "high": high, "test": test, "verdict": significance}


def _direction(before: str, after: str) -> str:
    return f"{before or '(nothing)'} -> {after or '(nothing)'}"


def _interval(change: Change) -> str:
    """Three digits, or as many as tell a limit from 0."""
    if change.low is None or change.high is None:
        return ""
    return " to ".join(
        f"{limit:+.3f}" if not limit or abs(limit) >= 0.0005 else f"{limit:+.1g}" for limit in change[1:3]
    )

"""A summary as text for a terminal."""

from collections.abc import Sequence

from palitune.data.example import Example
from palitune.errors import printable
from palitune.evaluate import metrics, per_class
from palitune.evaluate.confusion import kind
from palitune.evaluate.metrics import NAMES, Figure
from palitune.evaluate.outcomes import Outcomes
from palitune.evaluate.report.result_block import outcome_block
from palitune.evaluate.report.summary import Item, Summary
from palitune.sentence import Sentence
from palitune.text_tables import aligned

MOST_SHOWN = 60  # characters of a text
LISTED = 10  # wrong answers; pages and pipelines have all of them


def text(one: Summary) -> str:
    """The block that people know, then everything else."""
    outcomes = one.outcomes
    parts = [outcome_block(one.title, *_compared(outcomes), positive=outcomes.positive)]
    if one.facts:
        parts.append("\n".join(printable(f"{name}: {value}") for name, value in one.facts.items()))
    parts += (
        [_figures(one), (per_class.several(outcomes) or metrics.classification(outcomes)).rstrip()]
        if outcomes.labels
        else []
    )
    if one.comparison is not None:
        parts.append(_comparison(one))
    if one.slices:
        rows = [["", "records", "right", "accuracy", "95 %"]]
        rows += [
            [f"{s.kind} {s.name}", str(s.records), str(s.right), f"{s.right / s.records:.3f}", between(s.low, s.high)]
            for s in one.slices
        ]
        parts.append("\n".join(aligned(rows)))
    wrong = int((~outcomes.right).sum()) if outcomes.labels else 0
    for title, items, total in (
        ("wrong, most confident first", one.wrong, wrong),
        ("uncertain", one.uncertain, len(one.items)),
    ):
        if items:
            title += f" ({LISTED} of {total})" if total > len(items[:LISTED]) and len(items) >= LISTED else ""
            parts.append(f"{title}:\n" + "\n".join(_items(items[:LISTED], outcomes.classes)))
    if one.next_runs:
        parts.append("\n".join(advice_lines(one.next_runs)))
    if one.remarks:
        parts.append("\n".join(printable(f"note: {remark}") for remark in one.remarks))
    return "\n\n".join(parts)


def advice_lines(next_runs: Sequence[tuple[str, str]]) -> list[str]:
    """What a run's metrics say of it, as `Learned` has that, in lines for a terminal."""
    return [printable(line) for what, command in next_runs for line in (f"learning: {what}", f"  try: {command}")]


def _compared(one: Outcomes) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    return one.labels, one.answers, one.classes


def between(low: float | None, high: float | None) -> str:
    """An interval with three decimals; empty where there is none."""
    return "" if low is None or high is None else Sentence("%(low).3f to %(high).3f", low=low, high=high)


def value(figure: float | None) -> str:
    """A figure with four decimals; - where it is not defined."""
    return "-" if figure is None else f"{figure:.4f}"


def _figures(one: Summary) -> str:
    shown = one.always if one.outcomes.is_binary else {}
    before = one.before_figures
    head = ["", *(["before", "after"] if before else ["value"]), "95 %", *(f"always {label}" for label in shown)]
    rows = [head]
    for name, title in NAMES.items():
        figure = one.figures.get(name)
        if figure is None:
            continue
        earlier = [value(before.get(name, Figure(None)).value)] if before else []
        others = [value(figures.get(name)) for figures in shown.values()]
        rows.append([title, *earlier, value(figure.value), between(figure.low, figure.high), *others])
    return "\n".join(aligned(rows))


def _comparison(one: Summary) -> str:
    found = one.comparison
    assert found is not None
    better = sum(flip.is_better for flip in found.flips)
    lines = [
        f"{len(found.flips)} answers changed, {better} of them to the right one",
        f"right now and wrong before: {found.won}, the other way: {found.lost}; "
        f"McNemar's p = {found.p_value:.3g}: the difference in accuracy is {found.significance}",
    ]
    return "\n".join(lines + ([printable(f"WARNING: {found.warning}")] if found.warning else []))


def _name(record: Example) -> str:
    """An image's name, or as much of a text as a table has room for."""
    if record.images or len(record.subject) <= MOST_SHOWN:
        return record.subject
    return f"{record.subject[:MOST_SHOWN]}…"


def _items(items: Sequence[Item], classes: Sequence[str]) -> list[str]:
    rows = []
    for item in items:
        kinds = [kind(item.answer, item.label, classes)] if len(classes) == 2 else []
        p = "" if item.p_yes is None else f"{item.p_yes:.4f}"
        rows.append([_name(item.record), item.label[:30], item.answer[:30], p, *kinds])
    head = "image" if any(item.record.images for item in items) else "text"
    likely = ["p_yes", "kind"] if len(classes) == 2 else ["probability"]
    return aligned([[head, "label", "answer", *likely], *rows])

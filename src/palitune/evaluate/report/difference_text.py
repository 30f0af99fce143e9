"""The difference of two runs as lines for a terminal, and as JSON."""

from palitune.confidence_interval import Figure
from palitune.errors import printable
from palitune.evaluate import several_comparison
from palitune.evaluate.past_run import FIGURES, PastRun
from palitune.evaluate.report import comparison_text, runs_table
from palitune.evaluate.report.text import between, value
from palitune.evaluate.run_difference import DataDifference, Paired, RunDifference
from palitune.evaluate.run_selection import when
from palitune.evaluate.run_settings import shown
from palitune.text_tables import aligned, clipped

LONGEST = 60  # columns of a setting's value


def lines(found: RunDifference) -> list[str]:
    """Settings, data and figures of both runs, and the test of the records that both have answered."""
    first, second = found.first, found.second
    rows = [["", first.name, second.name], ["date", when(first), when(second)]]
    rows += [["state", first.state, second.state], ["base", *_bases(first, second)]]
    rows += [[name, *(clipped(shown(one), LONGEST) for one in pair)] for name, pair in found.settings.items()]
    told = aligned(rows)
    if not found.settings:
        told.append("no setting differs")
    told += ["", *map(_of_data, found.data), "", *_figures(first, second)]
    if isinstance(found.tested, Paired):
        before, after = found.tested.before, found.tested.after
        named = before._replace(name=first.name), after._replace(name=second.name)
        told += ["", *comparison_text.comparison_lines(*named, found.tested.found)]
    elif found.tested is not None:
        several = found.tested.before._replace(name=first.name), found.tested.after._replace(name=second.name)
        told += ["", *several_comparison.lines(*several, found.tested.found)]
    else:
        told += ["", f"nothing in common to test: {found.why}"]
    return [printable(line) for line in told]


def _bases(*runs: PastRun) -> list[str]:
    is_same = len({run.base_hash for run in runs}) == 1
    return [run.base if is_same else f"{run.base} {run.base_hash[:7]}" for run in runs]


def _of_data(one: DataDifference) -> str:
    first, second = one.first, one.second
    if not first.sha256 or not second.sha256:
        return f"{one.what}: not known of both"
    if one.is_same:
        return f"{one.what}: the same, {first.file} ({first.records} records, {first.short})"
    if first.sha256 == second.sha256:
        return f"{one.what}: the same lines ({first.short}), and other images"
    both = f"{first.file} ({first.records} records, {first.short}) and {second.file} ({second.records}, {second.short})"
    if one.records is None:
        return f"{one.what}: {both}; {one.gone} is not what it was, so records cannot be compared"
    counts = one.records
    changed = f"{counts.added} added, {counts.removed} removed, {counts.relabelled} with another label"
    return f"{one.what}: {both}; {changed}"


def _figures(first: PastRun, second: PastRun) -> list[str]:
    rows = [["validation", first.name, "95 %", second.name, "95 %"]]
    for name, title in FIGURES.items():
        pair = [run.after.figures.get(name, Figure(None)) for run in (first, second)]
        if any(one.value is not None for one in pair):
            rows.append([title, *(cell for one in pair for cell in (value(one.value), between(one.low, one.high)))])
    records = [run.after.records for run in (first, second)]
    rows.append(["records", shown(records[0]), "", shown(records[1]), ""])
    return aligned(rows)


def as_json(found: RunDifference) -> dict[str, object]:
    """Everything in it, as JSON has it."""
    tested: dict[str, object] | None = None
    if isinstance(found.tested, Paired):
        tested = comparison_text.as_json(*found.tested)
    elif found.tested is not None:
        tested = several_comparison.as_json(*found.tested)
    return {
        "first": runs_table.as_json(found.first, {}),
        "second": runs_table.as_json(found.second, {}),
        "settings": {name: {"first": old, "second": new} for name, (old, new) in found.settings.items()},
        "data": [
            {
                "what": one.what,
                "same": one.is_same,
                "records": None if one.records is None else one.records._asdict(),
                "gone": one.gone or None,
            }
            for one in found.data
        ],
        "tested": tested,
        "why": found.why or None,
    }

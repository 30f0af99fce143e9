"""Runs as a table for a terminal, and as JSON. Imports nothing heavy."""

import datetime
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from palitune.confidence_interval import Figure
from palitune.evaluate import run_settings
from palitune.evaluate.past_run import FIGURES, DataFile, PastRun, Worth
from palitune.evaluate.run_selection import when
from palitune.text_tables import aligned, clipped, columns

Changes = Mapping[str, Mapping[str, tuple[object, object]]]
BETWEEN = 2  # columns between two cells
LONGEST_NAME, SHORTEST_NAME = 40, 8  # of a run, in columns
LONGEST_CHANGES, SHORTEST_CHANGES = 100, 16
LONGEST_DATA = 30
# What is left out of a table that is too wide, the first first. Of what no run has, everything goes before these.
DROPPED = (
    *("memory", "base", "seconds", "step", "recall", "precision", "loss", "data", "F-measure", "test", "method"),
    *("changed", "date", "state"),
)


class Table(NamedTuple):
    """Lines of a table, and the columns that it has no room for."""

    lines: list[str]
    left_out: list[str]


def table(runs: Sequence[PastRun], changed: Changes, width: int | None = None) -> Table:
    """Runs as a table.

    Args:
      changed: what each run has other than the one before it, by its folder.
      width: the most columns of a line; None is any number.
    """
    cells = [_cells(run, changed.get(str(run.folder), {})) for run in runs]
    if not cells:
        return Table([], [])
    names = list(cells[0])
    widths = {name: max([columns(name), *(columns(row[name]) for row in cells)]) for name in names}
    most = {"name": LONGEST_NAME, "changed": LONGEST_CHANGES, "data": LONGEST_DATA}
    widths = {name: min(size, most.get(name, size)) for name, size in widths.items()}
    kept = names if width is None else _fitting(names, widths, cells, width)
    if width is not None:
        for name, least in (("changed", SHORTEST_CHANGES), ("name", SHORTEST_NAME)):
            over = _total(kept, widths) - width
            if name in kept and over > 0:
                widths[name] = max(min(least, widths[name]), widths[name] - over)
    rows = [kept, *([clipped(row[name], widths[name]) for name in kept] for row in cells)]
    return Table(aligned(rows), [name for name in names if name not in kept])


def _fitting(
    names: Sequence[str], widths: Mapping[str, int], cells: Sequence[Mapping[str, str]], width: int
) -> list[str]:
    """The columns that there is room for, where names and changes are as short as they may be."""
    shortest = {"name": SHORTEST_NAME, "changed": SHORTEST_CHANGES}
    least = {name: min(size, shortest.get(name, size)) for name, size in widths.items()}
    is_empty = {name: all(row[name] == "-" for row in cells) for name in names}
    kept = list(names)
    for name in sorted(DROPPED, key=lambda one: (not is_empty[one], DROPPED.index(one))):
        if _total(kept, least) <= width:
            break
        kept.remove(name)
    return kept


def _total(names: Sequence[str], widths: Mapping[str, int]) -> int:
    return sum(widths[name] for name in names) + BETWEEN * (len(names) - 1)


def _cells(run: PastRun, changed: Mapping[str, tuple[object, object]]) -> dict[str, str]:
    """The cells of a run by the heads of their columns, in the order of the table."""
    test, memory = run.test, run.planned if run.taken is None else run.taken
    hashes = "/".join(dict.fromkeys(one.short for one in (run.trained_on, run.evaluated_on) if one.short))
    tested = "-" if test is None else f"{_figure(test.worth.figures.get('accuracy'))} {test.data.name}"
    state = run.state if run.has_checkpoint or run.state != "finished" else "finished, checkpoint gone"
    return {
        "date": when(run),
        "name": run.name,
        "state": state,
        "data": f"{run.settings.get('data', '-')} {hashes}".strip(),
        "base": run.base or "-",
        "method": run_settings.shown(run.settings.get("method")),
        "accuracy": _figure(run.after.figures.get("accuracy")),
        "precision": _figure(run.after.figures.get("precision")),
        "recall": _figure(run.after.figures.get("recall")),
        "F-measure": _figure(run.after.figures.get("f_measure")),
        "loss": _figure(run.after.figures.get("loss")),
        "test": tested,
        "step": run_settings.shown(run.step),
        "seconds": "-" if run.seconds is None else f"{run.seconds:.0f}",
        "memory": "-" if memory is None else size(memory),
        "changed": run_settings.brief(changed) or "-",
    }


def size(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _figure(one: Figure | None) -> str:
    """A figure with its interval, in the same number of columns whatever it is."""
    if one is None or one.value is None:
        return "-"
    interval = "" if one.low is None or one.high is None else f" ({one.low:.2f}-{one.high:.2f})"
    return f"{one.value:.3f}{interval}"


def as_json(run: PastRun, changed: Mapping[str, tuple[object, object]]) -> dict[str, object]:
    """Everything about a run as JSON has it."""
    return {
        "name": run.name,
        "folder": str(run.folder),
        "began": _time(run.began),
        "state": run.state,
        "has_checkpoint": run.has_checkpoint,
        "settings": dict(run.settings),
        "changed": {name: {"before": old, "after": new} for name, (old, new) in changed.items()},
        "data": {"trained_on": _data(run.trained_on), "evaluated_on": _data(run.evaluated_on)},
        "base": {"name": run.base, "hash": run.base_hash},
        "best": {"step": run.step, "epoch": run.epoch, "trial": run.winner + 1},
        "before": worth_as_json(run.before),
        "after": worth_as_json(run.after),
        "evaluations": [
            {
                "date": _time(one.date),
                "data": {**_data(one.data), "seen": one.seen},
                "asked": dict(one.asked),
                **worth_as_json(one.worth),
            }
            for one in run.evaluations
        ],
        "test": None if run.test is None else run.evaluations.index(run.test),
        "seconds": run.seconds,
        "memory": {"planned": run.planned, "taken": run.taken},
        "answers": None if run.answers is None else str(run.answers),
    }


def worth_as_json(one: Worth) -> dict[str, object]:
    """What a model is worth, as JSON has it."""
    known = {name: one.figures[name]._asdict() for name in FIGURES if name in one.figures}
    return {"records": one.records, "counts": None if one.counts is None else vars(one.counts), "figures": known}


def _data(one: DataFile) -> dict[str, object]:
    return {"file": one.file, "records": one.records, "sha256": one.sha256, "images": one.images}


def _time(seconds: float) -> str | None:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None

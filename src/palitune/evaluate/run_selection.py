"""Some of the runs: those that conditions say, in the order that is asked for. Imports nothing heavy."""

import datetime
import difflib
import fnmatch
from collections.abc import Mapping, Sequence

from palitune.errors import UsageError
from palitune.evaluate.past_run import FIGURES, PastRun
from palitune.evaluate.run_settings import shown

# What there is to sort and choose by beside the figures and the settings.
FACTS = ("name", "date", "state", "base", "hash", "step", "epoch", "seconds", "memory", "test")


def when(run: PastRun) -> str:
    """When a run was begun, by this machine's clock."""
    try:
        return datetime.datetime.fromtimestamp(run.began).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "-"


def facts_of(run: PastRun) -> dict[str, object]:
    """Everything that a run can be chosen by, by name."""
    test = run.test
    return {
        **run.settings,
        **{name: figure.value for name, figure in run.after.figures.items()},
        "name": run.name,
        "date": when(run),
        "state": run.state,
        "base": run.base,
        "hash": run.evaluated_on.short,
        "step": run.step,
        "epoch": run.epoch,
        "seconds": run.seconds,
        "memory": run.planned if run.taken is None else run.taken,
        "test": None if test is None or "accuracy" not in test.worth.figures else test.worth.figures["accuracy"].value,
    }


def chosen(runs: Sequence[PastRun], conditions: Sequence[str]) -> list[PastRun]:
    """The runs for which every condition holds.

    Args:
      conditions: each is `NAME=PATTERN`; * and ? in the pattern stand for any characters and for one.

    Raises:
      UsageError: a condition is none, or no run has anything of that name.
    """
    facts = [facts_of(run) for run in runs]
    kept = list(range(len(runs)))
    for condition in conditions:
        name, equals, pattern = condition.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            hint = "method=lora, data=set1, name=trial*, state=finished"
            raise UsageError(f"--where {condition!r} is no NAME=PATTERN", hint=f"For example {hint}")
        _require_known("--where", name, facts)
        kept = [place for place in kept if _holds(facts[place].get(name), pattern)]
    return [runs[place] for place in kept]


def _holds(value: object, pattern: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(pattern) == value
        except ValueError:
            pass
    return fnmatch.fnmatchcase(shown(value).lower(), pattern.lower())


def ordered(runs: Sequence[PastRun], name: str | None, reverse: bool = False, most: int | None = None) -> list[PastRun]:
    """Runs by something of theirs, or by date; those that have none of it come last, whichever way round.

    Args:
      name: of what they are ordered by; None is the date.
      most: only so many, the first ones; without a name the latest ones.

    Raises:
      UsageError: no run has anything of that name.
    """
    if name is None and most is not None:
        runs = sorted(runs, key=lambda one: one.began)[-most:]
    wanted = (name or "date").replace("-", "_")
    facts = {str(run.folder): facts_of(run) for run in runs}
    _require_known("--sort", wanted, list(facts.values()))

    def key(run: PastRun) -> tuple[bool, float, str]:
        value = run.began if wanted == "date" else facts[str(run.folder)].get(wanted)
        is_number = isinstance(value, (int, float))
        return is_number, float(value) if isinstance(value, (int, float)) else 0.0, shown(value)

    is_known = [wanted == "date" or facts[str(run.folder)].get(wanted) is not None for run in runs]
    known, rest = ([run for run, one in zip(runs, is_known, strict=True) if one == which] for which in (True, False))
    return [*sorted(known, key=key, reverse=reverse), *rest][:most]


def _require_known(option: str, name: str, facts: Sequence[Mapping[str, object]]) -> None:
    known = sorted({*FACTS, *FIGURES, *(name for one in facts for name in one)})
    if not facts or name in known:
        return
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f"Did you mean {near[0]}?" if near else f"There are {', '.join((*FACTS, *FIGURES))}, and settings of learning"
    )
    raise UsageError(f"{option}: no run has a {name}", hint=hint)

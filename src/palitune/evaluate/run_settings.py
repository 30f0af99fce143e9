"""Settings of runs compared: what was changed from one to the other, in few words. Imports nothing heavy."""

import itertools
import json
from collections.abc import Mapping, Sequence

from palitune.evaluate.past_run import PastRun
from palitune.sentence import Sentence, joined

LONGEST = 24  # characters of a value that is shown in a list of changes
FOLLOWS = {"examples": "epochs"}  # a setting that follows from another, where that was given
FIRST = ("model", "data", "method")  # in a list of changes
TRAINING, VALIDATION = Sentence("training data"), Sentence("validation data")


def settings_of(run: PastRun) -> dict[str, object]:
    """The settings of a run, and beside them the hashes of the data that it learned from and was evaluated on."""
    found = dict(run.settings)
    for name, data in ((TRAINING, run.trained_on), (VALIDATION, run.evaluated_on)):
        if data.sha256 and (name == TRAINING or run.has_validation):
            found[name] = data.short
    return found


def changes(first: PastRun, second: PastRun) -> dict[str, tuple[object, object]]:
    """Both values of every setting that differs, by name; None is a setting that one of both does not have."""
    old, new = settings_of(first), settings_of(second)
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    follow = {name for name, cause in FOLLOWS.items() if cause in names and old.get(cause) and new.get(cause)}
    return {name: (old.get(name), new.get(name)) for name in names if name not in follow}


def since_the_one_before(runs: Sequence[PastRun]) -> dict[str, dict[str, tuple[object, object]]]:
    """What each run has other than the one that was begun before it, by the run's folder."""
    ordered = sorted(runs, key=lambda one: one.began)
    found: dict[str, dict[str, tuple[object, object]]] = {str(one.folder): {} for one in ordered[:1]}
    for first, second in itertools.pairwise(ordered):
        found[str(second.folder)] = changes(first, second)
    return found


def brief(changed: Mapping[str, tuple[object, object]]) -> str:
    """Changes as a list of names and new values, what decides most first."""
    hidden = (TRAINING, VALIDATION) if "data" in changed else ()  # of other data the hashes are others anyway
    names = [name for name in FIRST if name in changed]
    names += [name for name in changed if name not in (*FIRST, *hidden)]
    return joined([_brief(name, changed[name][1]) for name in names])


def _brief(name: str, value: object) -> str:
    if value is None:
        return Sentence("no %(name)s", name=name)
    text = shown(value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return Sentence("%(name)s %(value)s", name=name, value=text)


def shown(value: object) -> str:
    """A value as a person reads it: "-" where there is none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

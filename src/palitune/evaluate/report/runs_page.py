"""Runs as one HTML file that needs nothing else: the best, its figure over all runs, settings, losses, confusions."""

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import __version__, console
from palitune.confidence_interval import Figure
from palitune.errors import printable
from palitune.evaluate import loss_curve, run_choice, run_settings, setting_effects
from palitune.evaluate.language import Language, language_of
from palitune.evaluate.past_run import FIGURES, LOWER, STATES, PastRun
from palitune.evaluate.report.runs_table import size
from palitune.evaluate.run_choice import Choice
from palitune.evaluate.run_selection import when
from palitune.evaluate.setting_effects import Effect
from palitune.sentence import Sentence, joined, listed
from palitune.storage import atomic_files

MOST_SHOWN = 24  # runs with their losses and confusion matrices
MOST_LISTED = 500
MOST_VALUES = 12  # of a setting
LONGEST = 60  # characters of a value


class RunsSummary(NamedTuple):
    """What the page shows.

    Attributes:
      runs: all of them, the oldest first.
      compared: those with a figure on the same validation records.
      changed: what each run has other than the one before, by its folder.
      left_out: folders that could not be read.
    """

    runs: Sequence[PastRun]
    compared: Sequence[PastRun]
    choice: Choice
    effects: Sequence[Effect]
    changed: Mapping[str, Mapping[str, tuple[object, object]]]
    left_out: int


def summarize(runs: Sequence[PastRun], by: str, data: str | None = None, left_out: int = 0) -> RunsSummary:
    """The summary of runs, of which those are compared that `run_choice.best` compares. Raises as it does."""
    choice = run_choice.best(runs, by, data)
    compared, _ = run_choice.candidates(runs, by, data)
    effects = setting_effects.effects(compared, by)
    return RunsSummary(runs, compared, choice, effects, run_settings.since_the_one_before(runs), left_out)


def html(one: RunsSummary, say: Language) -> str:
    """The page, in a language."""
    from palitune.evaluate.report import page, runs_curves  # matplotlib takes a second

    by, best = one.choice.by, one.choice.best
    latest = list(reversed(one.compared))
    shown = [best, *(run for run in latest if run is not best)][:MOST_SHOWN]
    curves = {run.folder: loss_curve.read(run.metrics, run.winner) for run in shown if run.metrics is not None}
    drawn = {
        folder: page.address(runs_curves.losses(curve, say), "png")
        for folder, curve in curves.items()
        if curve is not None
    }
    return (
        page.environment(say)
        .get_template("runs.html")
        .render(
            one=one,
            best=best,
            trend=page.address(runs_curves.trend(one.compared, by, FIGURES[by], best, say), "png"),
            losses=drawn,
            shown=shown,
            rows=list(reversed(one.runs))[:MOST_LISTED],
            most_values=MOST_VALUES,
            figures=FIGURES,
            nothing=Figure(None),
            is_lower=by in LOWER,
            states=states(one.runs),
            by_test=[rival for rival in one.choice.rivals if rival.test],
            when=when,
            size=size,
            brief=run_settings.brief,
            listed=listed,
            cut=lambda text: page.shortened(text, LONGEST, say),
            block=lambda text: "\n".join(map(printable, text.splitlines()[1:])),
            version=__version__,
        )
    )


def states(runs: Sequence[PastRun]) -> str:
    """How many runs are in which state, of those in which there are some: "2 finished, 1 failed"."""
    counts = collections.Counter(run.state for run in runs)
    return joined([Sentence("%(count)d %(state)s", count=counts[one], state=one) for one in STATES if counts[one]])


def write(target: Path, one: RunsSummary, lang: str | None, quiet: bool) -> None:
    """Writes the page, in a language as `language_of` has it. Raises StorageError, ConfigurationError."""
    console.status("drawing", quiet)
    from palitune.evaluate.report import canvas

    content = html(one, language_of(lang)).encode("utf-8", "replace")
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(target, content)
    if why := canvas.reason():
        console.note(f"{target}: {why}")
    if not quiet:
        console.note(f"wrote {target}")

"""A loop of runs as one HTML file that needs nothing else: what it was worth, what was tried, and every step."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import __version__, console
from palitune.confidence_interval import Figure
from palitune.data.example import Example
from palitune.evaluate.conclusion import Conclusion
from palitune.evaluate.language import Language, language_of
from palitune.evaluate.loss_curve import Curve
from palitune.evaluate.outcomes import Outcomes
from palitune.storage import atomic_files

LONGEST = 200  # characters of a text


class CandidateRow(NamedTuple):
    """Settings that were tried.

    Attributes:
      number: 0 is the recipe.
      settings: what it has other than the recipe.
      losses: mean loss out of fold, of each round that it was in.
      accuracy: mean of the same.
      is_chosen: whether the last run has them.
      why: what it ended with, where it came to no end.
    """

    number: int
    settings: str
    losses: Sequence[float]
    accuracy: float | None
    is_chosen: bool
    why: str = ""


class StepRow(NamedTuple):
    """A step, and what a person can type to take it; `error` where it failed."""

    title: str
    command: str
    seconds: float
    error: str = ""


class Shown(NamedTuple):
    """A record with its label, if it has one, and its answer."""

    example: Example
    label: str
    answer: str
    p_yes: float | None


class LoopSummary(NamedTuple):
    """What the page shows.

    Attributes:
      name: of the result.
      began: date and time.
      data: as it was named.
      records: how many there are.
      seconds: that all steps took.
      runs: how often it learned.
      recipe: what was worth trying, as a sentence.
      folder: of the loop.
      candidates: what was tried, the best first, or the rounds over hard examples.
      doubted: wrong answers to records that were not learned from, the surest first.
      after: answers to them; None of several labels.
      before: answers before that.
      curve: losses of the run that is kept, where it is not in folds.
      folds: losses of the folds of the last run.
      following: records without labels that the model is least sure of.
      unlabelled: the file that they are from.
      test: the test part of a split with the accuracy there and the count of its records.
    """

    name: str
    began: str
    data: str
    records: int
    seconds: float
    runs: int
    conclusion: Conclusion
    recipe: str
    folder: str
    steps: Sequence[StepRow]
    candidates: Sequence[CandidateRow]
    doubted: Sequence[Shown]
    after: Outcomes | None
    before: Outcomes | None
    curve: Curve | None = None
    folds: Sequence[Curve] = ()
    following: Sequence[Shown] = ()
    unlabelled: str = ""
    test: tuple[str, Figure, int] | None = None

    @property
    def sentences(self) -> list[str]:
        """The conclusion in words."""
        return [*self.conclusion.sentences, self.recipe]


def html(one: LoopSummary, say: Language) -> str:
    """The page, in a language."""
    from palitune.evaluate.report import curves, loop_drawing, page, runs_curves  # matplotlib takes a second

    confusion = None
    if one.after is not None:
        confusion = page.address(curves.draw(one.after, {}, say, None, one.before)["confusion"], "png")
    tried = [loop_drawing.Tried(row.losses, row.number == 0, row.is_chosen) for row in one.candidates if row.losses]
    losses = None
    if one.folds:
        losses = page.address(loop_drawing.of_folds(one.folds, say), "png")
    elif one.curve is not None:
        losses = page.address(runs_curves.losses(one.curve, say), "png")
    shown = [*one.doubted, *one.following]
    return (
        page.environment(say)
        .get_template("loop.html")
        .render(
            one=one,
            confusion=confusion,
            losses=losses,
            search=page.address(loop_drawing.losses(tried, say), "png") if one.folds and len(tried) > 1 else None,
            rounds=max((len(row.losses) for row in one.candidates), default=1),
            thumbnails={
                row.example.image.name: page.thumbnail(row.example.image.path, row.example.where)
                for row in shown
                if row.example.images
            },
            loss=lambda value: f"{value:.4f}" if math.isfinite(value) else "-",
            cut=lambda text: page.shortened(text, LONGEST, say),
            version=__version__,
        )
    )


def write(target: Path, one: LoopSummary, lang: str | None) -> None:
    """Writes the page, in a language as `language_of` has it. Raises StorageError, ConfigurationError."""
    from palitune.evaluate.report import canvas

    content = html(one, language_of(lang)).encode("utf-8", "replace")
    atomic_files.write(target, content)
    if why := canvas.reason():
        console.note(f"{target}: {why}")

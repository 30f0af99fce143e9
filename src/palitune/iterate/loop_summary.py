"""What the page about a loop shows, of the steps that were taken."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palitune.confidence_interval import Figure, wilson_interval
from palitune.data import dataset_files, example_files
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.prediction import Prediction
from palitune.errors import PalituneError
from palitune.evaluate import comparison, conclusion, loss_curve
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.conclusion import Conclusion, Either
from palitune.evaluate.confusion import POSITIVE
from palitune.evaluate.loss_curve import Curve
from palitune.evaluate.report.loop_page import CandidateRow, LoopSummary, Shown, StepRow
from palitune.iterate import halving
from palitune.iterate.halving import RECIPE, Try
from palitune.iterate.loop import TEST, UNSURE, ZERO_SHOT, Loop
from palitune.iterate.loop_folder import typed
from palitune.iterate.search import BESIDE, Search, key_of
from palitune.iterate.steps import LAST, Steps, read_answers
from palitune.run.folder import RunFolder
from palitune.sentence import Sentence

MOST_DOUBTED, MOST_NEXT = 12, 20  # records on the page


def of(loop: Loop) -> LoopSummary:
    """The summary of a loop that has come to its end."""
    steps = loop.steps
    last, before = steps.answers(LAST), _answers(steps, ZERO_SHOT)
    return described(
        steps,
        loop.conclusion(),
        _recipe(loop),
        test=_test(steps),
        after=last.outcomes if isinstance(last, Answers) else None,
        before=before.outcomes if isinstance(before, Answers) and isinstance(last, Answers) else None,
        folds=_curves(loop),
        candidates=_candidates(loop.search),
        doubted=doubted(last, steps.records.examples),
        following=_following(loop),
        unlabelled=loop.config.unlabelled or "",
    )


def described(steps: Steps, found: Conclusion, recipe: str, **others: Any) -> LoopSummary:
    """A summary with what every loop has; the arguments are those of `LoopSummary`."""
    folder = steps.folder
    return LoopSummary(
        name=steps.name,
        began=time.strftime("%Y-%m-%d %H:%M", time.localtime(folder.config.stat().st_mtime)),
        data=steps.config.data,
        records=len(steps.records.examples),
        seconds=folder.seconds,
        runs=sum(step.command.startswith("palitune learn ") for step in folder.steps.values()),
        conclusion=found,
        recipe=recipe,
        steps=[
            StepRow(one.title, one.command, one.seconds, one.facts.get("error", "")) for one in folder.steps.values()
        ],
        folder=folder.shown,
        **others,
    )


def examples(file: str, steps: Steps) -> list[Example]:
    """The records of a file, with their images."""
    return dataset_files.load(Path(file), steps.config.run(), labels=None)


def _curves(loop: Loop) -> list[Curve]:
    """The losses of the folds of the last run."""
    metrics = RunFolder(loop.folder.target).metrics
    found = [loss_curve.read(metrics, fold) for fold in range(loop.config.folds)]
    return [one for one in found if one is not None]


def _answers(steps: Steps, key: str) -> Either | None:
    """The answers that a step wrote; None where it did not, or they cannot be read."""
    step = steps.folder.steps.get(key)
    if step is None or step.code:
        return None
    try:
        return read_answers(Path(steps.output(key)), tuple(steps.records.labels))
    except PalituneError:
        return None


def _recipe(loop: Loop) -> str:
    """What the search was worth: the settings that were chosen against the recipe, both from a new seed."""
    search = loop.search
    chosen = search.chosen()
    if search.count == 1:
        return _nothing_else(loop)
    if chosen == RECIPE:
        return Sentence(
            "The recipe stays: none of %(count)d other settings was better by more than a standard error.",
            count=search.count - 1,
        )
    settings = search.settings(chosen)
    found = loop.against_recipe()
    if found is None:
        return Sentence("Chosen: %(settings)s. The recipe came to no end beside it.", settings=settings)
    told = {"settings": settings, "won": found.won, "lost": found.lost, "p": f"{found.p_value:.2g}"}
    if found.p_value < comparison.SURE and found.won > found.lost:
        return Sentence(
            "Chosen: %(settings)s. It is better than the recipe by more than chance: from a new seed it has %(won)d "
            "records right that the recipe has wrong, and %(lost)d the other way (p = %(p)s).",
            **told,
        )
    return Sentence(
        "Chosen: %(settings)s. That it is better than the recipe may be chance: from a new seed it has %(won)d records "
        "right that the recipe has wrong, and %(lost)d the other way (p = %(p)s).",
        **told,
    )


def _nothing_else(loop: Loop) -> str:
    """Why there was no search."""
    config, seconds = loop.config, loop.folder.seconds
    if config.runs is not None and halving.most(config.runs - BESIDE) == 1:
        least = next(runs for runs in itertools.count(config.runs) if halving.most(runs - BESIDE) > 1)
        return Sentence(
            "Nothing but the recipe was tried: --runs %(runs)d leaves nothing for other settings, --runs %(least)d "
            "does.",
            runs=config.runs,
            least=least,
        )
    if config.seconds is not None and seconds > config.seconds:
        return Sentence(
            "Nothing but the recipe was tried: it and the last run took %(minutes).1f minutes, and %(asked).1f were "
            "asked for.",
            minutes=seconds / 60,
            asked=config.seconds / 60,
        )
    return Sentence("Nothing but the recipe was tried: there was no time for more.")


def _test(steps: Steps) -> tuple[str, Figure, int] | None:
    """The accuracy on the test part, which nothing was chosen by."""
    answers = _answers(steps, TEST)
    if answers is None or steps.records.test is None:
        return None
    right = conclusion.right_of(answers)
    figure = Figure(float(right.mean()), *wilson_interval(int(right.sum()), len(right)))
    return typed(steps.records.test), figure, len(right)


def _candidates(search: Search) -> list[CandidateRow]:
    """The candidates with their losses in each round, the best first."""
    losses, chosen = search.losses, search.chosen()
    rows = []
    for number in range(search.count):
        own = []
        for round in range(len(halving.sizes(search.count))):
            if (number, round) in losses:
                own.append(losses[number, round])
        facts = [search.folder.steps[key_of(Try(number, one))].facts for one in range(len(own))]
        told = [one for one in facts if "total" in one]
        accuracy = sum(one["right"] / one["total"] for one in told) / len(told) if told else None
        why = next((str(one["error"]) for one in facts if "error" in one), "")
        rows.append(CandidateRow(number, search.settings(number), own, accuracy, number == chosen, why))
    return sorted(rows, key=lambda row: (-len(row.losses), sum(row.losses) / max(1, len(row.losses)), row.number))


def doubted(answers: Either, examples: Sequence[Example]) -> list[Shown]:
    """Records that were answered wrong by models that have not learned from them, the surest answers first.

    Args:
      examples: the records as they were read, with their images.
    """
    losses, right = conclusion.losses_of(answers), conclusion.right_of(answers)
    order = sorted((place for place in range(len(right)) if not right[place]), key=lambda place: -losses[place])
    placed = {one.subject: one for one in examples}
    found = []
    for place in order[:MOST_DOUBTED]:
        if isinstance(answers, Answers):
            one = answers.predictions[place]
        else:
            said = [one for one in answers.groups[place][1] if one.target.answer is not None]
            one = max(said, key=lambda one: abs((one.p_yes or 0.5) - (one.target.answer == POSITIVE)))
        found.append(_shown(one, placed.get(one.example.subject, one.example)))
    return found


def _shown(one: Prediction, example: Example) -> Shown:
    name = f"{one.target.name}: " if one.target.name else ""
    return Shown(example, f"{name}{one.target.answer or ''}", f"{name}{one.text}", one.p_yes)


def _following(loop: Loop) -> list[Shown]:
    """Records without labels that the model is least sure of."""
    path = loop.folder.path / f"{UNSURE}.out"
    if UNSURE not in loop.folder.steps or not path.exists() or not path.stat().st_size:
        return []
    folders = ImageFolders.beside(Path(loop.config.unlabelled or ""))
    found = []
    try:
        for _, (example, said) in example_files.Reader(path, labelled=False).answered():
            placed: Example = folders.placed(example)
            found.append(Shown(placed, "", said.text if said else "", said.p_yes if said else None))
    except PalituneError:
        return []
    return found[:MOST_NEXT]

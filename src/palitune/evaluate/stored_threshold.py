"""Thresholds chosen on a file of answers, and stored beside the checkpoint that gave them.

Axes: N examples.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune import console, workspace
from palitune.checkpoint import manifest, opening, operating_point
from palitune.checkpoint.operating_point import OperatingPoint, Stored
from palitune.data.probabilities import log_odds
from palitune.errors import BadDataError, MissingInputError, printable
from palitune.evaluate import answer_files, threshold
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.threshold import Booleans, Floats, Goal
from palitune.labels import plain
from palitune.sentence import Sentence

LONGEST = 1_000  # characters of what a threshold was chosen for
AS_LIKELY = Sentence("as likely as not")  # what the usual threshold is for


class Wanted(NamedTuple):
    """What is to be chosen, and on which answers.

    Attributes:
      path: the answers.
      file: what messages call them.
      goal: None keeps the threshold where it is.
      fit_temperature: also choose a temperature.
      checkpoint: whose stored threshold and temperature the answers were given with.
      labels: which there are; by default those that the file tells.
      positive: the one that counts as yes; by default the first of two, of more that which the answers are made with.
      written_with: the temperature that the answers' probabilities were written with; by default it is worked out.
      quiet: write no notes to stderr.
    """

    path: Path
    file: str
    goal: Goal | None = None
    fit_temperature: bool = False
    checkpoint: Path | None = None
    labels: tuple[str, ...] | None = None
    positive: str | None = None
    written_with: float | None = None
    quiet: bool = False


class Known(NamedTuple):
    """Answers, and what was stored for the model that gave them.

    Attributes:
      mark: of its parameters; empty without a checkpoint.
      stored: for these parameters and labels; None where nothing is.
      written: the temperature that the answers' probabilities were written with.
    """

    answers: Answers
    mark: str
    stored: Stored | None
    written: float

    def with_file(self, path: Path) -> dict[str, float]:
        """The files that something was chosen on, this one among them."""
        return {**(self.stored.files if self.stored else {}), sha256(path): self.written}


class Chosen(NamedTuple):
    """A threshold and temperature chosen on a file of answers.

    Attributes:
      file: the file's name.
      scores: float64[N], log-odds of the positive label before any temperature.
      positive: bool[N], whether an example's label is the positive one.
      before: what the answers are given with now.
      point: what was chosen.
      log_odds: the thresholds of both on `scores`.
      stored: what belongs beside the checkpoint.
    """

    file: str
    scores: Floats
    positive: Booleans
    before: OperatingPoint
    point: OperatingPoint
    log_odds: tuple[float, float]
    stored: Stored


def current(checkpoint: Path) -> Stored | None:
    """What is stored for the very parameters of a checkpoint. Raises MissingInputError, BadDataError."""
    stored = operating_point.read(checkpoint)
    if stored is None:
        return None
    return stored if stored.checkpoint == mark_of(checkpoint) else None


def of_model(name: str) -> Stored:
    """What is stored beside a checkpoint. Raises MissingInputError where nothing is."""
    source = workspace.checkpoint_to_read(name)
    stored = operating_point.read(source)
    if stored is None:
        hint = "Choose one: palitune threshold --help"
        raise MissingInputError("no threshold is stored", where=str(source), hint=hint)
    return stored


def remove(name: str) -> tuple[Path, bool]:
    """Removes what is stored beside a checkpoint: the file, and whether it was there."""
    file = operating_point.path_of(workspace.checkpoint_to_annotate(name))
    was_there = file.is_file()
    if was_there:
        file.unlink()
    return file, was_there


def known(wanted: Wanted) -> Known:
    """The answers that something is chosen on, with what is stored. Raises as `answer_files.read`."""
    answers = answer_files.read(wanted.path, wanted.labels, wanted.quiet, wanted.positive)
    checkpoint, typed = wanted.checkpoint, wanted.written_with
    mark = mark_of(checkpoint) if checkpoint else ""
    stored = usable(operating_point.read(checkpoint) if checkpoint else None, mark, answers.outcomes.classes)
    if typed is None and answers.made is not None:
        typed = answers.made.temperature
    written = temperature_written(wanted.path, wanted.file, typed, stored, checkpoint, wanted.quiet)
    return Known(answers, mark, stored, written)


def choose(wanted: Wanted) -> Chosen:
    """Chooses a threshold for a goal, a temperature, or both.

    Raises:
      MissingInputError, BadDataError: no such file, no probabilities, one label only, or no threshold reaches the goal.
    """
    file, goal = wanted.file, wanted.goal
    found = known(wanted)
    outcomes, stored = found.answers.outcomes, found.stored
    classes = outcomes.classes
    if outcomes.p is None:
        what = "the lines have no p_yes that their answers follow from"
        what = what if outcomes.is_binary else "a threshold is for two labels"
        raise BadDataError(what, where=file, hint="Answers as palitune inference writes them are needed")
    scores = log_odds(outcomes.p) * found.written
    is_yes = np.array([label == classes[0] for label in outcomes.labels], bool)
    before = stored.point if stored else OperatingPoint()
    place = place_before = log_odds_of(before)
    chosen = stored.chosen if stored else AS_LIKELY
    try:
        temperature = threshold.temperature(scores, is_yes) if wanted.fit_temperature else before.temperature
        if goal is not None:
            place = threshold.choose(scores, is_yes, goal).log_odds
            chosen = Sentence(
                "%(goal)s on %(file)s, %(count)d records", goal=goal.words, file=printable(file), count=len(is_yes)
            )
    except BadDataError as error:
        raise BadDataError(error.what, where=file, hint=error.hint) from None
    # Answers stay as they are with another temperature: the threshold moves with it.
    point = OperatingPoint(round(threshold.to_probability(place, temperature), 9), temperature)
    own = stored.thresholds if stored else {}
    after = Stored(point, classes, of_one_line(chosen), found.with_file(wanted.path), found.mark, thresholds=own)
    return Chosen(file, scores, is_yes, before, point, (place_before, place), after)


def mark_of(checkpoint: Path) -> str:
    """What tells a checkpoint's parameters from all others."""
    found = opening.load(checkpoint, workspace.checkpoint_to_read)
    return operating_point.mark(found, manifest.quantization(checkpoint))


def usable(stored: Stored | None, mark: str, classes: Sequence[str]) -> Stored | None:
    """What is stored, unless it is for other parameters or labels; of two labels their order matters."""
    if stored is None or stored.checkpoint != mark:
        return None
    own, asked = list(map(plain, stored.labels)), list(map(plain, classes))
    same = own == asked if len(asked) == 2 else set(own) == set(asked)
    return stored if same else None


def of_one_line(chosen: str) -> str:
    """What a threshold was chosen for, as it is stored: a printable line that is not too long."""
    line = printable(chosen)[:LONGEST]
    return chosen if line == chosen else line  # which may be a sentence


def log_odds_of(point: OperatingPoint) -> float:
    """A threshold in log-odds without the temperature."""
    return float(log_odds(np.array(point.threshold))) * point.temperature if point.threshold else -math.inf


def temperature_written(
    path: Path, file: str, typed: float | None, stored: Stored | None, checkpoint: Path | None, quiet: bool
) -> float:
    """The temperature with which a file's p_yes were written.

    A file that was there before a temperature was stored has none of it: files that something was chosen on are
    recognised by their content, others by their time.
    """
    if typed is not None:
        return typed
    if stored is None or checkpoint is None:
        return 1.0
    known = stored.files.get(sha256(path))
    if known is not None:
        return known
    if stored.point.temperature == 1:
        return 1.0
    newer = path.stat().st_mtime >= operating_point.path_of(checkpoint).stat().st_mtime
    written = stored.point.temperature if newer else 1.0
    if not quiet:
        what = f"is {'newer' if newer else 'older'} than the stored temperature: taken as written with {written:.4g}"
        console.note(f"{file} {what} (--written-with says otherwise)")
    return written


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

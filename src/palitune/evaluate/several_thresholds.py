"""A threshold for each of several labels, chosen on a file of answers by the same rules as for one.

Axes: N records, of which a label is known.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune import console
from palitune.checkpoint import operating_point
from palitune.checkpoint.operating_point import OperatingPoint, Stored
from palitune.data.probabilities import log_odds
from palitune.errors import BadDataError, printable
from palitune.evaluate import several_answers, stored_threshold, threshold
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.label_table import YES, LabelTable
from palitune.evaluate.threshold import Booleans, Floats, Goal
from palitune.labels import LABELS
from palitune.sentence import Sentence


class LabelChoice(NamedTuple):
    """The threshold of one label before and after, and what each gives on the records that it was chosen on.

    Attributes:
      why_not: why no threshold was chosen, so that it stays as it was; empty where one was.
    """

    name: str
    records: int
    before: float
    after: float
    counts: tuple[Confusion, Confusion]
    why_not: str = ""


class SeveralChosen(NamedTuple):
    """Thresholds and a temperature chosen on a file of answers.

    Attributes:
      temperature: of all labels together.
      log_losses: without a temperature and with it, over all known labels.
      stored: what belongs beside the checkpoint.
    """

    file: str
    choices: list[LabelChoice]
    temperature: float
    log_losses: tuple[float, float]
    stored: Stored


def choose(
    path: Path,
    file: str,
    goal: Goal | None,
    *,
    fit_temperature: bool = False,
    checkpoint: Path | None = None,
    written_with: float | None = None,
    quiet: bool = False,
) -> SeveralChosen:
    """Chooses a threshold for each label, one temperature for all, or both. The arguments are those for one label.

    A label for which no threshold can be chosen keeps its own, and is named.

    Raises:
      MissingInputError, BadDataError: no such file, no probabilities, or a threshold can be chosen for no label.
    """
    found = several_answers.read(path, quiet)
    table = found.table
    if np.isnan(table.p[table.known]).any():
        hint = "Answers as palitune inference writes them are needed"
        raise BadDataError("some answers have no p_yes", where=file, hint=hint)
    mark = stored_threshold.mark_of(checkpoint) if checkpoint else ""
    known = operating_point.read(checkpoint) if checkpoint else None
    stored = stored_threshold.usable(known, mark, LABELS)
    if written_with is None and found.made is not None:
        written_with = found.made.temperature
    written = stored_threshold.temperature_written(path, file, written_with, stored, checkpoint, quiet)
    scores = log_odds(table.p) * written
    point = stored.point if stored else OperatingPoint()
    own = dict(stored.thresholds) if stored else {}
    temperature = point.temperature
    everything, positive = scores[table.known], (table.truth == YES)[table.known]
    if fit_temperature:
        temperature = threshold.temperature(everything, positive)
    choices = [
        _chosen(name, *_of_label(table, scores, column), own.get(name, point.threshold), goal, (point, temperature))
        for column, name in enumerate(table.names)
    ]
    for one in choices if not quiet else ():
        if one.why_not:
            console.note(f"{file}: {one.name}: {one.why_not}; its threshold stays")
    if goal is not None and all(one.why_not for one in choices):
        raise BadDataError("a threshold can be chosen for no label", where=file, hint="Ask for less, or label more")
    chosen = stored.chosen if stored else stored_threshold.AS_LIKELY
    if goal is not None:
        chosen = Sentence(
            "%(goal)s for each label on %(file)s, %(count)d records",
            goal=goal.words,
            file=printable(file),
            count=len(table.truth),
        )
    files = {**(stored.files if stored else {}), stored_threshold.sha256(path): written}
    moved = OperatingPoint(_moved(point.threshold, point.temperature, temperature), temperature)
    after = Stored(moved, LABELS, stored_threshold.of_one_line(chosen), files, mark,
                   thresholds=own | {one.name: one.after for one in choices})  # fmt: skip
    losses = (_log_loss(everything, positive, 1.0), _log_loss(everything, positive, temperature))
    return SeveralChosen(file, choices, temperature, losses, after)


def _of_label(table: LabelTable, scores: Floats, column: int) -> tuple[Floats, Booleans]:
    """Log-odds float64[N] and whether the label is there, bool[N]."""
    rows = table.known[:, column]
    return scores[rows, column], table.truth[rows, column] == YES


def _chosen(
    name: str,
    scores: Floats,
    positive: Booleans,
    before: float,
    goal: Goal | None,
    how: tuple[OperatingPoint, float],
) -> LabelChoice:
    """The choice for one label. `how` is what was stored, whose temperature its threshold is with, and the new one."""
    point, temperature = how
    place_before = stored_threshold.log_odds_of(point._replace(threshold=before))
    place, why_not = place_before, ""
    if goal is not None:
        try:
            place = threshold.choose(scores, positive, goal).log_odds
        except BadDataError as error:
            why_not = error.what
    counts = threshold.at(scores, positive, place_before), threshold.at(scores, positive, place)
    after = round(threshold.to_probability(place, temperature), 9)
    return LabelChoice(name, len(scores), before, after, counts, why_not)


def _moved(value: float, before: float, after: float) -> float:
    """A threshold with another temperature, so that answers stay as they are."""
    place = stored_threshold.log_odds_of(OperatingPoint(value, before))
    return value if before == after else round(threshold.to_probability(place, after), 9)


def _log_loss(scores: Floats, positive: Booleans, temperature: float) -> float:
    return threshold.log_loss(1 / (1 + np.exp(-scores / temperature)), positive) if len(scores) else 0.0


def rows(chosen: SeveralChosen) -> list[list[str]]:
    """The cells of a table: the head, and a row for each label with its figures before and after."""
    head = ["label", "records", "threshold", "precision", "recall", "F-measure", "->", "threshold", "precision"]
    found = [[*head, "recall", "F-measure"]]
    for one in chosen.choices:
        before, after = ([f"{place:.4g}", *_figures(counts)] for place, counts in _both(one))
        found.append([one.name, str(one.records), *before, "->", *after])
    return found


def _both(one: LabelChoice) -> list[tuple[float, Confusion]]:
    return [(one.before, one.counts[0]), (one.after, one.counts[1])]


def _figures(counts: Confusion) -> list[str]:
    # A label that is there and was never found has 0, as in the table of several labels.
    f_measure = counts.f_measure or (0.0 if counts.tp + counts.fn else None)
    values = (counts.precision, counts.recall, f_measure)
    return ["-" if value is None else f"{value:.4f}" for value in values]


def macro_f(chosen: SeveralChosen) -> tuple[float | None, float | None]:
    """The mean F-measure of the labels before and after; one that is never found counts as 0."""
    return _mean_f([one.counts[0] for one in chosen.choices]), _mean_f([one.counts[1] for one in chosen.choices])


def _mean_f(counts: list[Confusion]) -> float | None:
    there = [one.f_measure or 0.0 for one in counts if one.tp + one.fn]
    return sum(there) / len(there) if there else None


def shown(thresholds: Mapping[str, float]) -> list[str]:
    """Lines of data: the threshold of each label."""
    return [f"threshold of {printable(name)}: {value:.9g}" for name, value in thresholds.items()]

"""A temperature for three or more classes, and a threshold of one of them against the rest, chosen on answers.

Axes: N examples, C classes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palitune.checkpoint.operating_point import OperatingPoint, Stored
from palitune.confidence_interval import wilson_interval
from palitune.data.probabilities import SMALLEST, log_odds, probabilities
from palitune.errors import BadDataError, UsageError, printable
from palitune.evaluate import answer_files, metrics, stored_threshold, threshold
from palitune.evaluate.confusion import Confusion, plain
from palitune.evaluate.report.result_block import result_block
from palitune.evaluate.stored_threshold import Wanted
from palitune.evaluate.threshold import COLDEST, HOTTEST, Floats
from palitune.sentence import Sentence
from palitune.text_tables import aligned

Codes = npt.NDArray[np.int64]


class ChosenOfSeveral(NamedTuple):
    """What was chosen on a file of answers.

    Attributes:
      file: the file's name.
      codes: int[N], the class of each label.
      scores: float64[N, C], log-probabilities of every class before any temperature; None where they are not known.
      before: one class against the rest, as the answers are; None where no threshold was asked for.
      after: the same with the chosen threshold.
      point: the threshold and the temperature.
      stored: what belongs beside the checkpoint.
    """

    file: str
    codes: Codes
    scores: Floats | None
    before: Confusion | None
    after: Confusion | None
    point: OperatingPoint
    stored: Stored


def are_several(path: Path, labels: tuple[str, ...] | None) -> bool:
    """Whether a file's answers are one of more than two labels. Raises as `answer_files.read`."""
    return not answer_files.read(path, labels, quiet=True).outcomes.is_binary


def temperature(scores: Floats, codes: Codes) -> float:
    """What log-probabilities float64[N, C] are divided by so that classes int[N] have the least log loss.

    Where every answer is right that would be endless certainty: then targets are a little less than certain, by one
    example of every other class in all of them, as Platt has it for two.

    Sources: as `threshold.temperature`.
    """
    from scipy.optimize import minimize_scalar

    count, classes = scores.shape
    targets = np.eye(classes)[codes]
    if (scores.argmax(axis=1) == codes).all():
        targets = (targets * count + 1) / (count + classes)

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        highest = scaled.max(axis=1, keepdims=True)
        whole = highest[:, 0] + np.log(np.exp(scaled - highest).sum(axis=1))
        return float((whole - (targets * scaled).sum(axis=1)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def choose(wanted: Wanted) -> ChosenOfSeveral:
    """Chooses a threshold of one label, the positive one, against the rest, a temperature, or both.

    Raises:
      MissingInputError, BadDataError: no such file, not every probability that is needed, or no threshold does it.
      UsageError: no label is the positive one.
    """
    file, goal, fit_temperature = wanted.file, wanted.goal, wanted.fit_temperature
    found = stored_threshold.known(wanted)
    one, made, stored, written = found.answers.outcomes, found.answers.made, found.stored, found.written
    positive = plain(wanted.positive) if wanted.positive is not None else one.positive
    if goal is not None and not positive:
        raise UsageError("a threshold is for one of the labels", hint="--positive LABEL says which, against the rest")
    if fit_temperature and one.shares is None:
        raise BadDataError("the probability of every class is needed", where=file, hint="inference --jsonl writes it")
    scores = None if one.shares is None else np.log(np.maximum(one.shares, SMALLEST)) * written
    codes = np.array([one.classes.index(label) for label in one.labels], np.int64)
    hot = temperature(scores, codes) if fit_temperature and scores is not None else None
    point = OperatingPoint(
        stored.point.threshold if stored else 0.5, hot or (stored.point.temperature if stored else written)
    )
    before = after = None
    chosen, of = (stored.chosen, stored.positive) if stored else (stored_threshold.AS_LIKELY, "")
    if goal is not None:
        rest = one.against_rest(positive)
        p = rest.p if scores is None else probabilities(scores, point.temperature)[:, one.classes.index(positive)]
        if p is None:
            what = f"the lines do not have the probability of {positive}"
            raise BadDataError(what, where=file, hint=f"inference --positive {positive}, or --jsonl, writes it")
        choice = threshold.choose(log_odds(p), codes == one.classes.index(positive), goal)
        before, after, of = rest.counts, choice.counts, positive
        point = point._replace(threshold=round(threshold.to_probability(choice.log_odds), 9))
        chosen = Sentence(
            "%(goal)s of %(label)s on %(file)s, %(count)d records",
            goal=goal.words,
            label=printable(positive),
            file=printable(file),
            count=len(codes),
        )
    names = _as_asked(one.classes, made.labels if made is not None else None)
    of = next((name for name in names if plain(name) == of), "")
    after_all = Stored(point, names, stored_threshold.of_one_line(chosen), found.with_file(wanted.path), found.mark, of)
    return ChosenOfSeveral(file, codes, scores, before, after, point, after_all)


def _as_asked(classes: tuple[str, ...], asked: Sequence[str] | None) -> tuple[str, ...]:
    """Classes as the model is asked for them, where that is known."""
    return tuple(asked) if asked is not None and set(map(plain, asked)) == set(classes) else classes


def chosen_lines(chosen: ChosenOfSeveral, with_temperature: bool) -> Iterator[str]:
    """Result blocks of one label against the rest before and after, with intervals, and the calibration of all."""
    if chosen.before is not None and chosen.after is not None:
        name = printable(chosen.stored.positive)
        yield result_block(chosen.file, chosen.before, f"{name} against the rest")
        yield result_block(chosen.file, chosen.after, f"{name} from {chosen.point.threshold:.4g} on")
        after = chosen.after
        for figure, total in (("precision", after.tp + after.fp), ("recall", after.tp + after.fn)):
            if total:
                low, high = wilson_interval(after.tp, total)
                yield f"{figure} {after.tp / total:.4f}, 95 % {low:.3f} to {high:.3f}"
    if with_temperature and chosen.scores is not None:
        rows = [["", "before", "after"], ["calibration error"], ["log loss"]]
        for hot in (1.0, chosen.point.temperature):
            p = probabilities(chosen.scores, hot)
            rows[1].append(f"{metrics.calibration_error(p.max(axis=1), p.argmax(axis=1) == chosen.codes):.4f}")
            own = np.maximum(p[np.arange(len(p)), chosen.codes], SMALLEST)
            rows[2].append(f"{-np.log(own).mean():.4f}")
        yield "\n".join(aligned(rows))

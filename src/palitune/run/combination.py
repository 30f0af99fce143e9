"""Several trained models made into one: an ensemble, the average of their weights, or the best of them.

What they have learned is combined as it would be saved: parameters by path, of the same paths for each. The names are
those of the setting `combine`.

* `ensemble`: all of them answer together, by the mean of their probabilities (https://arxiv.org/abs/1612.01474).
* `soup`: the mean of their weights, which holds where learning has not left a common basin; `greedy-soup` takes into
  the mean, from the best on, what does not make it worse (https://arxiv.org/abs/2203.05482, Recipe 1).
* `best`: the one with the best evaluation.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from palitune.config.run_config import BEST, ENSEMBLE, SOUP
from palitune.evaluate.report.result_block import TrialResult
from palitune.models import ensemble, lora
from palitune.models.arrays import AnyArray, Weights

MOST = 8  # models that are combined where each was trained with settings of its own


class Combined(NamedTuple):
    """What several trials come to.

    Attributes:
      weights: everything that differs from the base.
      trials: the numbers of the trials that are part of it, or have taught it, from 0.
      how: as the setting `combine` has it; one trial alone is the best.
      result: what it is worth on the validation set; None of a single trial, of a student, and of folds.
    """

    weights: Weights
    trials: tuple[int, ...]
    how: str = BEST
    result: TrialResult | None = None


def ranked(results: Sequence[TrialResult]) -> list[int]:
    """The numbers of the trials that came to an end, the best first."""
    sound = [number for number, one in enumerate(results) if not one.diverged]
    return sorted(sound, key=lambda number: (-results[number].score, results[number].loss))


def chosen(results: Sequence[TrialResult], repeat: int) -> list[int]:
    """The trials worth combining, by their numbers, the best first.

    Those of one combination of settings, the one with the best mean, where each was repeated: of those whose trials
    all came to an end, if there are any, because the rest is luck. Else the better half of all, and at most `MOST`.
    """
    sound = ranked(results)
    if repeat == 1:
        return sound[: min(MOST, max(2, len(results) // 2))]
    groups: dict[int, list[int]] = {}
    for number in sound:
        groups.setdefault(number // repeat, []).append(number)
    return max(groups.values(), key=lambda group: (len(group) == repeat, mean_of(results, group)), default=[])


def mean_of(results: Sequence[TrialResult], numbers: Sequence[int]) -> tuple[float, float]:
    """The means of the scores of some trials, and of their losses with the other sign: higher is better."""
    score, loss = np.mean([(results[one].score, results[one].loss) for one in numbers], axis=0)
    return float(score), -float(loss)


def is_of_one_kind(one: Weights, other: Weights) -> bool:
    """Whether two models have learned the same parameters, of the same shapes: others cannot be combined."""
    return set(one) == set(other) and all(tuple(one[path].shape) == tuple(other[path].shape) for path in one)


def of_one_kind(members: Sequence[Weights]) -> list[Weights]:
    """Those that can be combined with the first."""
    return [one for one in members if is_of_one_kind(one, members[0])]


def combine(
    how: str, trials: Sequence[int], learned: Mapping[int, Weights], score: Callable[[Weights], float]
) -> Combined:
    """One model of several.

    Args:
      how: `ensemble`, `soup`, `greedy-soup` or `best`.
      trials: which, the best first.
      learned: what each of them has learned, by its number.
      score: what weights are worth on the validation set, higher is better; a greedy soup asks.
    """
    first = trials[0]
    trials = [one for one in trials if is_of_one_kind(learned[one], learned[first])]
    if how == BEST or len(trials) == 1:
        return Combined(learned[first], (first,))
    if how == ENSEMBLE:
        return Combined(ensemble.stacked([learned[one] for one in trials]), tuple(trials))
    if how == SOUP:
        return Combined(soup([learned[one] for one in trials]), tuple(trials))
    taken, best = [first], score(learned[first])
    for one in trials[1:]:
        found = score(soup([learned[number] for number in (*taken, one)]))
        if found >= best:
            taken, best = [*taken, one], found
    return Combined(soup([learned[one] for one in taken]), tuple(taken))


def soup(members: Sequence[Weights]) -> dict[str, AnyArray]:
    """The mean of what some models have learned.

    The mean of what adapters add is one adapter with the factors of all side by side, of the sum of their ranks: the
    mean of the factors would be something else.

    Args:
      members: of the same paths each.
    """
    if len(members) == 1:
        return dict(members[0])
    found: dict[str, AnyArray] = {}
    for path, leaf in members[0].items():
        if not lora.is_adapter(path):
            mean = np.mean([np.asarray(one[path], np.float32) for one in members], axis=0)
            found[path] = mean.astype(leaf.dtype)
    for path in lora.adapted(members[0]):
        names = [path + part for part in (lora.A, lora.B, lora.ALPHA)]
        parts = [(np.asarray(one[names[0]]), np.asarray(one[names[1]]), np.asarray(one[names[2]])) for one in members]
        dtypes = [part.dtype for part in parts[0]]
        joined = lora.mean(path, parts)
        for part, array, dtype in zip((lora.A, lora.B, lora.ALPHA), joined, dtypes, strict=True):
            found[path + part] = array.astype(dtype)
    return {path: found[path] for path in sorted(found)}

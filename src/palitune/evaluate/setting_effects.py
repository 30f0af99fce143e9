"""What settings of runs have to do with what the runs are worth, and how little can be said of that.

Axes: K runs, S settings that have several values.
"""

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune import randomness
from palitune.evaluate.comparison import SURE
from palitune.evaluate.past_run import LOWER, PastRun
from palitune.evaluate.run_settings import settings_of, shown

CHANCE = "seed"  # a setting that only says which chance it was
FIRST = ("model", "method", "data", "learning_rate", "batch_size")  # by which settings that change together are called
PERMUTATIONS = 1_000
# What can be said of a setting: it never changed alone; one run of a value tells nothing of chance; noise; more.
SIGNIFICANCES = REAL, NOISE, SINGLE, CONFOUNDED = ("real", "noise", "single", "confounded")

Codes = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class ValueMean(NamedTuple):
    """The runs with one value of a setting.

    Attributes:
      mean, low, high: of their figures.
    """

    value: str
    runs: int
    mean: float
    low: float
    high: float


class Effect(NamedTuple):
    """A setting that has several values.

    Attributes:
      values: the best first.
      together: settings that part the runs in the very same way.
      significance: one of `SIGNIFICANCES`.
      others: where it never changed alone, settings that always changed with it, or else all that could be the cause.
      compared: runs that another run is beside which is the same but for this setting and the seed.
      p_value: where it could be tested.
    """

    name: str
    values: list[ValueMean]
    together: list[str]
    significance: str
    others: list[str]
    compared: int = 0
    p_value: float | None = None


def effects(runs: Sequence[PastRun], by: str) -> list[Effect]:
    """Every setting with several values among runs that have a figure on the same records, what is sure first."""
    figures = np.array([run.value(by) for run in runs], float)
    settings = [{name: shown(value) for name, value in settings_of(run).items()} for run in runs]
    names = sorted({name for one in settings for name in one} - {CHANCE}, key=lambda one: (_place(one), one))
    columns = {name: [one.get(name, "-") for one in settings] for name in names}
    parts: dict[tuple[int, ...], list[str]] = {}
    for name, column in columns.items():
        if len(set(column)) > 1:
            parts.setdefault(tuple(map(column.index, column)), []).append(name)
    if not parts:
        return []
    codes = np.array(list(parts), np.int64).T  # [K, S]
    together = list(parts.values())
    found = [_effect(place, together, columns[names[0]], codes, figures, by) for place, names in enumerate(together)]
    return sorted(found, key=lambda one: (SIGNIFICANCES.index(one.significance), one.p_value or 0.0))


def _place(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _effect(
    place: int, together: Sequence[Sequence[str]], values: Sequence[str], codes: Codes, figures: Floats, by: str
) -> Effect:
    """The effect of the settings that are `together` at a place; `codes` int64[K, S] tells their values apart."""
    own, others = codes[:, place], np.delete(codes, place, axis=1)
    name, *more = together[place]
    means = _means(values, figures, by)
    # Runs that are the same but for this setting and the seed, where there are such with different values of it.
    blocks = np.unique(others, axis=0, return_inverse=True)[1].ravel() if others.size else np.zeros(len(own), int)
    several = [block for block in set(blocks.tolist()) if len(set(own[blocks == block].tolist())) > 1]
    fair = np.isin(blocks, several)
    if not several:
        return Effect(name, means, more, CONFOUNDED, _with(place, together, codes))
    if min(collections.Counter(own[fair].tolist()).values()) < 2:
        return Effect(name, means, more, SINGLE, [], int(fair.sum()))
    p_value = permuted(own[fair], blocks[fair], figures[fair])
    return Effect(name, means, more, REAL if p_value < SURE else NOISE, [], int(fair.sum()), p_value)


def _means(values: Sequence[str], figures: Floats, by: str) -> list[ValueMean]:
    groups: dict[str, list[float]] = collections.defaultdict(list)
    for value, figure in zip(values, figures.tolist(), strict=True):
        groups[value].append(figure)
    found = [ValueMean(value, len(own), sum(own) / len(own), min(own), max(own)) for value, own in groups.items()]
    return sorted(found, key=lambda one: one.mean, reverse=by not in LOWER)


def _with(place: int, together: Sequence[Sequence[str]], codes: Codes) -> list[str]:
    """Settings that differ between every two runs which differ in this one; where there are none, all others."""
    differs = codes[:, None, place] != codes[None, :, place]
    others = [other for other in range(codes.shape[1]) if other != place]
    always = [one for one in others if not (differs & (codes[:, None, one] == codes[None, :, one])).any()]
    return [name for one in always or others for name in together[one]]


def permuted(values: Codes, blocks: Codes, figures: Floats, seed: int = 0) -> float:
    """How often values that are dealt out again within each block differ as much: a permutation test's p-value.

    What differs is the sum of squares between the values' means, of figures without their block's mean. Source: Good,
    Permutation, parametric and bootstrap tests of hypotheses, 2005.

    Args:
      values: int64[K], by which they are told apart.
      blocks: int64[K]; within one the runs are the same otherwise.
      figures: float64[K].
    """
    codes, parts = (np.unique(one, return_inverse=True)[1].ravel() for one in (values, blocks))
    rest = figures - (np.bincount(parts, figures) / np.bincount(parts))[parts]
    sizes = np.bincount(codes)

    def spread(dealt: Codes) -> float:
        return float((np.bincount(dealt, rest, len(sizes)) ** 2 / sizes).sum())

    rng, reached = randomness.generator(seed, "permutations", len(codes)), 0
    least, order = spread(codes) - 1e-12, np.argsort(parts, kind="stable")
    for _ in range(PERMUTATIONS):
        dealt = np.empty_like(codes)
        dealt[order] = codes[np.lexsort((rng.random(len(codes)), parts))]
        reached += spread(dealt) >= least
    return (reached + 1) / (PERMUTATIONS + 1)

"""Successive halving: many candidates are tried once, the best third of them once more, and so on.

What a candidate gets more of is repeats: each round is a cross-validation from another seed, with other folds, so that
those that stay are compared by the mean of more of them. The recipe stays in all rounds, as what the others are held
against. Source: Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016,
as Li et al., Hyperband, 2018, use it.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

KEPT = 3  # one of so many is kept
RECIPE = 0  # the number of the recipe

# Losses by candidate and round; one that has failed is infinite.
Losses = Mapping[tuple[int, int], float]


class Try(NamedTuple):
    """A candidate in a round, both numbers from 0."""

    candidate: int
    round: int


def sizes(count: int) -> list[int]:
    """How many candidates are in each round, of so many in the first; a few are left for the last one."""
    found = [count]
    while found[-1] > KEPT:
        found.append(math.ceil(found[-1] / KEPT))
    return found


def runs(count: int) -> int:
    """How many runs all rounds take at most: the recipe is in each of them beside the others."""
    first, *later = sizes(count)
    return first + sum(size + 1 for size in later)


def most(allowed: float) -> int:
    """How many candidates the first round can have for so many runs; at least the recipe alone."""
    count = 1
    while runs(count + 1) <= allowed:
        count += 1
    return count


def members(count: int, round: int, losses: Losses) -> list[int]:
    """The candidates of a round, once the rounds before it are complete."""
    if round == 0:
        return list(range(count))
    before = members(count, round - 1, losses)
    ranked = sorted(before, key=lambda one: (mean(one, round, losses), one))
    kept = [one for one in ranked[: sizes(count)[round]] if math.isfinite(mean(one, round, losses))]
    return sorted({RECIPE, *kept} if math.isfinite(mean(RECIPE, round, losses)) else kept)


def mean(candidate: int, rounds: int, losses: Losses) -> float:
    """The mean loss of a candidate over the first rounds."""
    return sum(losses[candidate, one] for one in range(rounds)) / rounds


def following(count: int, losses: Losses) -> Try | None:
    """What is tried next, of which nothing is known yet; None at the end."""
    for round in range(len(sizes(count))):
        for candidate in members(count, round, losses):
            if (candidate, round) not in losses:
                return Try(candidate, round)
    return None


def complete(count: int, losses: Losses) -> int:
    """How many rounds are complete."""
    for round in range(len(sizes(count))):
        if any((one, round) not in losses for one in members(count, round, losses)):
            return round
    return len(sizes(count))

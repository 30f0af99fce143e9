"""Thinning: fewer examples, with lines dropped at random until the shares of yes come close to a target."""

import numpy as np
from numpy.typing import NDArray

from palitune import randomness
from palitune.data.checks.label_counts import Table
from palitune.errors import BadDataError


def thin(table: Table, target: float, drop_yes: bool, seed: int) -> NDArray[np.bool_]:
    """Returns bool[N]: the lines to keep, so that the share of yes in each column comes close to `target`.

    Only lines without any yes are dropped: as many as minimise the mean distance of the columns' shares from the
    target, and no more than necessary. With `drop_yes`, other lines are dropped too, one by one, if each yes in them is
    in a column that is above the target even with all other lines kept.

    Args:
      table: the lines, all of whose values must be yes or no.
      target: the wanted share of yes, from 0 to 1.
      seed: of the random choice of lines.

    Raises:
      BadDataError: a value is neither yes nor no.
    """
    values = table.values
    if (values < 0).any():
        line, column = np.argwhere(values < 0)[0]
        where, hint = f"{table.path}:{table.numbers[line]}", "Name other columns with --columns"
        raise BadDataError(f"neither yes nor no in {table.names[column]}", where=where, hint=hint)
    rng = randomness.generator(seed, "thin")
    keep = np.ones(len(values), bool)
    has_yes = values.any(axis=1)
    if drop_yes:
        counts, total = values.sum(axis=0, dtype=np.int64), len(values)
        for line in rng.permutation(np.flatnonzero(has_yes)):
            if (counts[values[line] == 1] > target * total).all():
                keep[line] = False
                counts -= values[line]
                total -= 1
    none = rng.permutation(np.flatnonzero(~has_yes))
    counts, some = values[keep].sum(axis=0, dtype=np.int64), int((keep & has_yes).sum())
    kept = np.arange(len(none), -1, -1)  # the largest first, which is chosen among equally good numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / (some + kept)[:, None]
    distance = np.abs(np.nan_to_num(shares) - target).mean(axis=1)
    keep[none[kept[np.argmin(np.round(distance, 12))] :]] = False
    return keep

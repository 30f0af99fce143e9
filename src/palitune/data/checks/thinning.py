"""Thinning: fewer examples, with lines dropped at random until the shares of yes come close to a target."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from palitune import randomness
from palitune.data.checks.label_counts import MISSING, OTHER, Table
from palitune.errors import BadDataError


def thin(table: Table, target: float | Sequence[float], drop_yes: bool, seed: int) -> NDArray[np.bool_]:
    """Returns bool[N]: the lines to keep, so that the share of yes in each column comes close to its target.

    Only lines without any yes are dropped: as many as minimise the mean distance of the columns' shares from their
    targets, and no more than necessary. With `drop_yes`, other lines are dropped too, one by one, if each yes in them
    is in a column that is above its target even with all other lines kept. A share is of the lines of which a value is
    known.

    Args:
      table: the lines, all of whose values must be yes, no or missing.
      target: the wanted share of yes, from 0 to 1: of all columns, or of each.
      seed: of the random choice of lines.

    Raises:
      BadDataError: a value is neither yes nor no.
    """
    values = table.values
    if (values == OTHER).any():
        line, column = np.argwhere(values == OTHER)[0]
        where, hint = f"{table.path}:{table.numbers[line]}", "Name other columns with --columns"
        raise BadDataError(f"neither yes nor no in {table.names[column]}", where=where, hint=hint)
    rng = randomness.generator(seed, "thin")
    targets = np.broadcast_to(np.asarray(target, float), values.shape[1])
    keep = np.ones(len(values), bool)
    said, known = values == 1, values != MISSING
    has_yes = said.any(axis=1)
    if drop_yes:
        counts, totals = said.sum(axis=0, dtype=np.int64), known.sum(axis=0, dtype=np.int64)
        for line in rng.permutation(np.flatnonzero(has_yes)):
            if (counts[said[line]] > (targets * totals)[said[line]]).all():
                keep[line] = False
                counts -= said[line]
                totals -= known[line]
    none = rng.permutation(np.flatnonzero(~has_yes))
    counts, some = said[keep].sum(axis=0, dtype=np.int64), known[keep & has_yes].sum(axis=0, dtype=np.int64)
    kept = np.arange(len(none), -1, -1)  # the largest first, which is chosen among equally good numbers
    others = np.concatenate([np.zeros_like(some)[None], known[none].cumsum(axis=0, dtype=np.int64)])
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / (some + others[kept])
    distance = np.abs(np.nan_to_num(shares) - targets).mean(axis=1)
    keep[none[kept[np.argmin(np.round(distance, 12))] :]] = False
    return keep

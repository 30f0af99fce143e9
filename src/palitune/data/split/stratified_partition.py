"""Stratified partition: lines assigned to subsets with the labels' shares of the whole, and groups kept together."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from palitune.errors import UsageError

MOST_LABELS = 1000  # different labels that can be stratified by
Ints = NDArray[np.integer]


def partition(
    labels: Ints, together: Ints | None, order: Ints, sizes: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Ints]:
    """Assigns each line to one subset. Returns the lines of each subset, in the order in which `order` has them.

    Args:
      labels: int[N], numbers from 0; every subset gets the shares of the whole. All are zero to not stratify.
      together: int[N]; lines with equal numbers stay together. None if every line stands alone.
      order: int[N], a permutation of the lines.
      sizes: the size of each subset; their sum is N. Groups can make a subset smaller or larger.

    Raises:
      UsageError: more than `MOST_LABELS` labels.
    """
    kinds = int(labels.max()) + 1
    if kinds > MOST_LABELS:
        raise UsageError(f"--stratify: {kinds:,} different labels are too many", hint="It is for classes")
    counts = np.bincount(labels, minlength=kinds)
    columns = np.array(list(sizes.values()))
    wanted = _rounded(counts, columns, np.outer(counts, columns) / len(order))
    # Groups come first, as long as they fit; single lines then fill what groups have left open.
    part = np.full(len(order), -1, np.int16)
    alone = np.ones(len(order), bool)
    if together is not None:
        alone = np.bincount(together)[together] == 1
        members = ~alone
        wanted = wanted - _place_groups(part, together, labels, members, wanted, rng)
        single = np.bincount(labels[alone], minlength=kinds)
        room = np.maximum(wanted.sum(axis=0), 0)
        room = _rounded(np.array([single.sum()]), None, room[None] * (single.sum() / max(1, room.sum())))[0]
        wanted = _rounded(single, room, np.maximum(wanted, 0).astype(float))
    for kind in range(kinds):
        chosen = alone & (labels == kind) if kinds > 1 else alone
        lines = order[chosen[order]]
        part[lines] = np.repeat(np.arange(len(columns)), wanted[kind])
    return {name: order[part[order] == number] for number, name in enumerate(sizes)}


def _place_groups(
    part: Ints, together: Ints, labels: Ints, members: Ints, wanted: Ints, rng: np.random.Generator
) -> Ints:
    """Assigns every group of several lines to a subset. Returns the number of lines by label and subset."""
    lines = np.flatnonzero(members)
    lines = lines[np.argsort(together[lines], kind="stable")]
    groups = np.split(lines, np.flatnonzero(np.diff(together[lines])) + 1)
    open_ = wanted.astype(np.int64)
    placed = np.zeros_like(open_)
    for number, chance in zip(rng.permutation(len(groups)), rng.random(len(groups)), strict=True):
        group = groups[number]
        counts = np.bincount(labels[group], minlength=len(open_))
        fits = (open_ >= counts[:, None]).all(axis=0)
        # At random, more often to a subset with more room; a group that fits nowhere goes where there is most room.
        total = open_.sum(axis=0)
        room = np.cumsum(total * fits)
        chosen = int(np.searchsorted(room, chance * room[-1], "right")) if room[-1] > 0 else int(total.argmax())
        part[group] = chosen
        open_[:, chosen] -= counts
        placed[:, chosen] += counts
    return placed


def _rounded(rows: Ints, columns: Ints | None, target: NDArray[np.float64]) -> Ints:
    """Returns int64[R, C] close to `target`, with these sums of rows and columns: controlled rounding.

    Every entry is its target rounded up or down, if that is possible (Causey, Cox and Ernst 1985). It is solved as a
    linear program: a transport problem has integer solutions at its vertices, and the dual simplex method ends at one.
    """
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, hstack, kron, vstack

    if len(rows) == 1 and columns is not None:
        return columns[None].astype(np.int64)
    count, width = target.shape
    below = np.floor(target + 1e-9)
    fraction = np.clip(target - below, 0, 1)
    cells = count * width
    sums = [kron(eye_array(count), np.ones((1, width)))]
    ends = [rows - below.sum(axis=1)]
    if columns is not None:
        sums.append(kron(np.ones((1, count)), eye_array(width)))
        ends.append(columns - below.sum(axis=0))
    one = vstack(sums)
    # Each entry is its floor, plus one if it is not an integer, plus or minus more at a high cost.
    costs = np.concatenate([(1 - 2 * fraction).ravel(), np.full(2 * cells, 1000.0)])
    bounds = (
        [(0, int(part > 1e-6)) for part in fraction.ravel()]
        + [(0, None)] * cells
        + [(0, most) for most in below.ravel()]
    )
    found = linprog(costs, A_eq=hstack([one, one, -one]), b_eq=np.concatenate(ends), bounds=bounds, method="highs-ds")
    up, more, less = np.rint(found.x).reshape(3, count, width)
    return (below + up + more - less).astype(np.int64)

"""Which lines of a data file have to stay in one subset: those of one image, of near-duplicate images, of one group."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from palitune.data.checks import near_duplicates
from palitune.data.image_folders import ImageFolders
from palitune.data.images.loader import raise_all
from palitune.data.split.line_index import LineIndex
from palitune.errors import PalituneError, UsageError

Ints = NDArray[np.int64]


def groups_of(index: LineIndex, near: str, images: ImageFolders, remarks: list[str]) -> NDArray[np.int32] | None:
    """Returns int32[N]: lines with the same number stay in one subset. Returns None if every line stands alone.

    Args:
      near: "together" if an image that cannot be compared is an error.
      images: where the images are.
      remarks: takes sentences for the user about groups and near-duplicates.

    Raises:
      UsageError: there are groups to be kept together, and no line is in one.
      PalituneError: an image cannot be decoded, and `near` is "together".
    """
    count = len(index.offsets)
    links = [] if index.images is None else [_linked(index.images)]
    if index.groups is not None:
        members = int(np.count_nonzero(index.groups))
        if not members:
            raise UsageError("--group: no record has it", hint="image:REGEX is looked for in names like images/a_1.jpg")
        different = len(np.unique(index.groups[index.groups != 0]))
        remarks.append(f"{members} of {count} records are in {different} groups")
        grouped = np.flatnonzero(index.groups)
        links.append(grouped[_linked(index.groups[grouped])])
    if index.names is not None:
        links.append(_near(index.names, near == "together", images, remarks))
    elif near == "auto":
        remarks.append(f"{count:,} lines: images are not compared (--near-duplicates together does)")
    pairs = np.concatenate(links)
    return near_duplicates.components(count, pairs) if len(pairs) else None


def _linked(values: Ints) -> Ints:
    """Returns int64[M, 2]: pairs of the positions of equal values, each with the next one."""
    ordered = np.sort(values)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.zeros((0, 2), np.int64)
    order = np.argsort(values, kind="stable")
    same = np.flatnonzero(values[order[1:]] == values[order[:-1]])
    return np.stack([order[same], order[same + 1]], axis=1)


def _near(names: Sequence[str], strict: bool, images: ImageFolders, remarks: list[str]) -> Ints:
    """Returns int64[M, 2]: pairs of lines with near-duplicate images. Raises the errors of images if `strict`."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if name:
            first.setdefault(name, number)
    if not first:
        return np.zeros((0, 2), np.int64)
    lines, known = [], []
    problems: list[PalituneError] = []
    for line, found in zip(first.values(), near_duplicates.hashes_of(first, images), strict=True):
        if isinstance(found, PalituneError):
            problems.append(found)
        else:
            lines.append(line)
            known.append(found)
    if problems and strict:
        raise_all(problems)
    if problems and known:
        text = f"{len(problems)} of {len(first)} images cannot be compared with others, the first: {problems[0].what}"
        remarks.append(text)
    elif problems:
        remarks.append(f"images are not compared, because none can be read: {problems[0].what}")
    if not known:
        return np.zeros((0, 2), np.int64)
    pairs = near_duplicates.near_pairs(np.stack(known))
    if len(pairs):
        remarks.append(f"{len(np.unique(pairs))} images are near-duplicates of others and stay in one subset with them")
    return np.array(lines)[pairs]

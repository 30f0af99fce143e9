"""Which examples have to be in one fold: those about the same images or text, and about copies and near-duplicates.

Axes: N examples, M images.
"""

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palitune import console
from palitune.data.checks import near_duplicates
from palitune.data.example import Content, Example, Image
from palitune.data.split.line_index import MOST_COMPARED
from palitune.errors import PalituneError
from palitune.labels import plain

Ints = NDArray[np.int64]


def groups_of(examples: Sequence[Example], folds: int, *, quiet: bool = False) -> Ints:
    """The group of each example, int64[N], numbered in order of their first examples.

    Near-duplicates, as `near_duplicates` finds them, are one image here, unless so many of them are connected that a
    fold could not have them all: then images are too much of one kind to be told apart so, and only copies are one.
    Which it is, stderr is told. Every image is decoded once; those that cannot be are not compared.

    Args:
      folds: how many there are.
    """
    paths = list(dict.fromkeys(image.path for example in examples for image in example.images))
    if not paths or len(paths) > MOST_COMPARED:
        return _numbered(examples, {path: number for number, path in enumerate(paths)})
    marks = zip(paths, near_duplicates.marks_of(paths), strict=True)
    known = {path: one for path, one in marks if not isinstance(one, PalituneError)}
    if not known:
        return _numbered(examples, {path: number for number, path in enumerate(paths)})
    digests, hashes = zip(*known.values(), strict=True)
    copies = np.unique(np.array([digest.hex() for digest in digests]), return_inverse=True)[1]
    pairs = near_duplicates.near_pairs(np.stack(hashes))
    near = near_duplicates.components(len(hashes), pairs).astype(np.int64)
    exact, found = (_numbered(examples, _images(paths, list(known), one)) for one in (copies, near))
    if np.array_equal(found, exact):
        return exact
    largest = int(np.bincount(found).max())
    is_too_large = largest > max(len(examples) // folds, int(np.bincount(exact).max()))
    together = int((np.bincount(near)[near] > 1).sum())
    said = f"{together} images are near-duplicates of others and stay in one fold with them"
    if is_too_large:
        several = f"{largest} of {len(examples)} records are about near-duplicates of one image"
        said = f"{several}: they are in several folds, and only copies are together"
    if not quiet:
        console.note(said)
    return exact if is_too_large else found


def _images(paths: Sequence[Path], read: Sequence[Path], groups: Ints) -> dict[Path, int]:
    """A number for each image: that of its group, or one of its own where it could not be compared."""
    known = {path: int(number) for path, number in zip(read, groups, strict=True)}
    return {path: known.get(path, len(read) + place) for place, path in enumerate(paths)}


def _numbered(examples: Sequence[Example], images: Mapping[Path, int]) -> Ints:
    """The group of each example, int64[N], where the group of each image is known."""
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(_thing(example, images), len(numbers)) for example in examples]
    return np.array(found, np.int64)


def _thing(example: Example, images: Mapping[Path, int]) -> Hashable:
    """What an example is about: its images by their groups, and its texts but for case, width and blanks."""
    if len(example.messages) > 1:
        return example.about
    shown = [part for part in example.messages[0].parts if type(part) is not str] if example.messages else []
    if not shown:
        return _letters(example.prompt)
    return tuple(
        images[part.path] if isinstance(part, Image) else _letters(part.text if isinstance(part, Content) else part)
        for part in shown
    )


def _letters(text: str) -> str:
    return plain(unicodedata.normalize("NFKC", text)).casefold()

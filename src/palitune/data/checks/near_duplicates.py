"""Pictures that look the same: perceptual fingerprints, and which of them are near each other."""

from collections.abc import Iterable, Iterator
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.images.loader import prefetch
from palitune.errors import PalituneError

SIDE = 16  # of the hash: with the usual 8 different advertisements of one layout come as near as copies do
# Bits of 256. Copies in another size, quality or brightness differ by up to 20, drawn advertisements by 34 and more.
NEAR = 24
BLOCK = 1 << 20  # pairs that are compared at once
Fingerprints = np.ndarray[Any, np.dtype[np.uint64]]


def fingerprint(picture: Image.Image) -> Fingerprints:
    """uint64[4]: signs of the lowest 16 x 16 frequencies of the greyscale picture (pHash, Zauner 2010)."""
    bits = imagehash.phash(picture, hash_size=SIDE).hash
    return np.packbits(bits.ravel()).view(np.uint64)


def of_names(names: Iterable[str], folders: ImageFolders) -> Iterator[Fingerprints | PalituneError]:
    """The fingerprint of every picture in order, or what is wrong with it; computed in threads."""

    def of_name(name: str) -> Fingerprints:
        with decoder.shown(folders.locate(name, name), name) as (_, upright):
            return fingerprint(upright.reduced())

    return prefetch(of_name, names)


def near_pairs(fingerprints: Fingerprints) -> np.ndarray[Any, Any]:
    """int64[M, 2]: of uint64[N, 4], pairs that differ in at most `NEAR` bits, fewer than N: what they connect is what
    all such pairs connect, of which there can be N²/2.
    """
    count = len(fingerprints)
    group = np.arange(count)  # the first of those that each is connected with
    step = max(1, BLOCK // max(count, 1))
    first, second = (np.ascontiguousarray(fingerprints[:, word]) for word in (0, 1))
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, count, step):
        end = start + step
        # Half of the bits decide almost always.
        half = np.bitwise_count(first[start:end, None] ^ first[None, start:])
        half += np.bitwise_count(second[start:end, None] ^ second[None, start:])
        pairs = np.argwhere((half <= NEAR) & (group[start:end, None] != group[None, start:])) + start
        different = fingerprints[pairs[:, 0]] ^ fingerprints[pairs[:, 1]]
        pairs = pairs[np.bitwise_count(different).sum(axis=1, dtype=np.uint16) <= NEAR]
        if len(pairs):
            pairs = _spanning(group[pairs], pairs, count)
            found.append(pairs)
            group = _joined(group, group[pairs], count)
    return np.concatenate(found)


def _spanning(edges: np.ndarray[Any, Any], pairs: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Of pairs between groups those that are enough to connect what all of them connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    edges = np.sort(edges, axis=1)
    _, first = np.unique(edges[:, 0] * count + edges[:, 1], return_index=True)
    # A tree over the groups; an entry of the matrix leads back to its pair.
    tree = minimum_spanning_tree(coo_array((first + 1.0, edges[first].T), shape=(count, count)).tocsr())
    return pairs[np.sort(tree.data.astype(np.int64) - 1)]


def _joined(group: np.ndarray[Any, Any], edges: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The groups once these are connected, each still named by its first."""
    names = components(count, edges)[group]
    _, first, where = np.unique(names, return_index=True, return_inverse=True)
    return first[where]


def components(count: int, pairs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """int32[count]: the number of the group that each item is in, when pairs and pairs of pairs stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False)[1]

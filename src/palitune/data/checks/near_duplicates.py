"""Near-duplicate images: perceptual hashes, and which of them are close to each other."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.images.loader import prefetch
from palitune.errors import PalituneError

SIDE = 16  # of the hash; with the usual 8, different advertisements of one layout are as close as copies are
# Bits of 256. Copies in another size, quality or brightness differ by up to 20, drawn advertisements by 34 and more.
NEAR = 24
BLOCK = 1 << 20  # pairs that are compared at once
Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


def perceptual_hash(image: Image.Image) -> Hashes:
    """Returns uint64[4]: the signs of the lowest 16 x 16 frequencies of the greyscale image (pHash, Zauner 2010)."""
    bits = imagehash.phash(image, hash_size=SIDE).hash
    return np.packbits(bits.ravel()).view(np.uint64)


def hashes_of(names: Iterable[str], folders: ImageFolders) -> Iterator[Hashes | PalituneError]:
    """Yields the hash of every image in order, or its error if it cannot be decoded; computed in threads."""

    def of_name(name: str) -> Hashes:
        with decoder.opened(folders.locate(name, name), name) as (_, image):
            return perceptual_hash(image.reduced())

    return prefetch(of_name, names)


def marks_of(paths: Iterable[Path]) -> Iterator[tuple[bytes, Hashes] | PalituneError]:
    """Yields of every image file its digest, which is equal for copies, and its hash, or its error; as `hashes_of`."""

    def of_file(path: Path) -> tuple[bytes, Hashes]:
        with decoder.opened(path) as (_, image):
            return image.digest(), perceptual_hash(image.reduced())

    return prefetch(of_file, paths)


def near_pairs(hashes: Hashes) -> Ints:
    """Returns int64[M, 2]: pairs of hashes, of uint64[N, 4], that differ in at most `NEAR` bits.

    There can be N²/2 such pairs. Fewer than N are returned, which connect everything that all of them connect.
    """
    count = len(hashes)
    group = np.arange(count)  # for each hash, the first one that it is connected with
    step = max(1, BLOCK // max(count, 1))
    first, second = (np.ascontiguousarray(hashes[:, word]) for word in (0, 1))
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, count, step):
        end = start + step
        # Half of the bits almost always decide.
        half = np.bitwise_count(first[start:end, None] ^ first[None, start:])
        half += np.bitwise_count(second[start:end, None] ^ second[None, start:])
        pairs = np.argwhere((half <= NEAR) & (group[start:end, None] != group[None, start:])) + start
        different = hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]
        pairs = pairs[np.bitwise_count(different).sum(axis=1, dtype=np.uint16) <= NEAR]
        if len(pairs):
            pairs = _spanning(group[pairs], pairs, count)
            found.append(pairs)
            group = _joined(group, group[pairs], count)
    return np.concatenate(found)


def _spanning(edges: Ints, pairs: Ints, count: int) -> Ints:
    """Returns those pairs between groups that are enough to connect what all of them connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    edges = np.sort(edges, axis=1)
    _, first = np.unique(edges[:, 0] * count + edges[:, 1], return_index=True)
    # A spanning tree over the groups; an entry of the matrix is the number of its pair, plus one.
    tree = minimum_spanning_tree(coo_array((first + 1.0, edges[first].T), shape=(count, count)).tocsr())
    return pairs[np.sort(tree.data.astype(np.int64) - 1)]


def _joined(group: Ints, edges: Ints, count: int) -> Ints:
    """Returns the groups after these are connected, each still named by its first member."""
    names = components(count, edges)[group]
    _, first, where = np.unique(names, return_index=True, return_inverse=True)
    return first[where]


def components(count: int, pairs: Ints) -> NDArray[np.int32]:
    """Returns int32[count]: for each item the number of its connected component, where `pairs` are the edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False)[1]

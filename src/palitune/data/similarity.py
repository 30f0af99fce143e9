"""Pictures that look the same: perceptual fingerprints, and which of them are near each other."""

from collections.abc import Iterable, Iterator
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from palitune.data import images
from palitune.data.folders import ImageFolders
from palitune.data.pictures import ahead
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
    return ahead(lambda name: fingerprint(images.decode(folders.locate(name, name), name)), names)


def near_pairs(fingerprints: Fingerprints) -> np.ndarray[Any, Any]:
    """int64[M, 2]: the pairs i < j of uint64[N, 4] that differ in at most `NEAR` bits."""
    count = len(fingerprints)
    step = max(1, BLOCK // max(count, 1))
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, count, step):
        block, rest = fingerprints[start : start + step], fingerprints[start:]
        distance = np.bitwise_count(block[:, None] ^ rest[None]).sum(axis=-1, dtype=np.uint16)
        first, second = np.nonzero(distance <= NEAR)
        pairs = np.stack([first, second], axis=1) + start
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def components(count: int, pairs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """int32[count]: the number of the group that each item is in, when pairs and pairs of pairs stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False)[1]

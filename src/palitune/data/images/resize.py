"""Pictures squeezed to what the image tower takes: float32[size, size, 3] in [-1, 1]."""

import functools
from typing import Any

import numpy as np
from PIL import Image

from palitune.data.images.oriented_image import STRIP, WHOLE, Bytes, OrientedImage

# Multiplications of one matrix product: below this BLAS starts no threads, which would stand in ours' way, and what is
# multiplied stays in the processor's cache.
PRODUCT = 1 << 18
# Bytes between both directions, of pictures up to `LARGE` pixels and of larger ones; wider ones are done in columns.
FLAT, FLAT_OF_LARGE = 64 << 20, 8 << 20
LARGE = 13_000_000
Pixels = np.ndarray[Any, np.dtype[np.float32]]
Part = tuple[slice, slice, Pixels]


@functools.lru_cache(256)
def _filter(length: int, size: int, rows: int) -> list[tuple[int, int, Pixels]]:
    """What each `rows` rows of a resize from `length` to `size` are made of: from, to, and their weights.

    Pillow's triangle filter: its width is that of the scale where it shrinks. Pillow 12, `precompute_coeffs`.
    """
    scale = length / size
    support = max(scale, 1.0)
    parts = []
    for first in range(0, size, rows):
        centers = (np.arange(first, min(first + rows, size)) + 0.5) * scale
        start, end = max(0, int(centers[0] - support + 0.5)), min(length, int(centers[-1] + support + 0.5))
        weights = np.maximum(1 - np.abs(np.arange(start, end) + 0.5 - centers[:, None]) / support, 0)
        parts.append((start, end, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)))
    return parts


def _parts(length: int, size: int, width: int) -> list[Part]:
    """A resize of `width` lines from `length` to `size` in products that are small enough: to, from, and weights."""
    scale = length / size
    step = 16
    while step > 1 and step * (step * scale + 2 * max(scale, 1)) * width > PRODUCT:
        step //= 2
    parts = _filter(length, size, step)
    return [(slice(i * step, i * step + step), slice(start, end), w) for i, (start, end, w) in enumerate(parts)]


def _blocks(parts: list[Part], size: int, most: int) -> list[list[Part]]:
    """Parts of the columns, as many together as take no more than so many bytes."""
    blocks: list[list[Part]] = []
    for part in parts:
        if blocks and (part[1].stop - blocks[-1][0][1].start) * 3 * size * 4 <= most:
            blocks[-1].append(part)
        else:
            blocks.append([part])
    return blocks


class _Rows:
    """Rows of some columns of a picture, asked for from top to bottom; as many are kept as are converted at once."""

    def __init__(self, picture: OrientedImage, left: int, right: int) -> None:
        self.picture, self.left, self.right = picture, left, right
        width, height = picture.size
        self.step = height if width * height <= WHOLE else max(1, STRIP // (right - left))
        self.start = self.end = 0
        self.kept: Bytes = np.zeros((0, 0), np.uint8)

    def __call__(self, start: int, end: int) -> Bytes:
        if end > self.end or start < self.start:
            self.start, self.end = start, min(max(end, start + self.step), self.picture.size[1])
            self.kept = self.picture.rows(self.start, self.end, self.left, self.right)
        return self.kept[start - self.start : end - self.start]


def to_pixels(picture: Image.Image | OrientedImage, size: int) -> Pixels:
    """A picture squeezed to a square: float32[size, size, 3] in [-1, 1].

    The bilinear filter widens with the scale when it shrinks, which is `jax.image.resize(..., antialias=True)`,
    TensorFlow's antialiased resize and Pillow's on float bands. Pillow's on bytes rounds after each direction, and the
    sum of both can exceed one grey level. Done here a few rows at a time: no float copy of a large picture is made.
    """
    upright = picture if isinstance(picture, OrientedImage) else OrientedImage(picture)
    width, height = upright.size
    pixels = np.empty((size, size, 3), np.float32)
    most = FLAT if width * height <= LARGE else FLAT_OF_LARGE
    for block in _blocks(_parts(width, size, size), size, most):
        left, right = block[0][1].start, block[-1][1].stop
        rows = _Rows(upright, left, right)
        flat = np.empty((size, (right - left) * 3), np.float32)
        for target, source, weights in _parts(height, size, flat.shape[1]):
            np.matmul(weights, rows(source.start, source.stop).astype(np.float32), out=flat[target])
        for band in range(3):
            plane = np.ascontiguousarray(flat[:, band::3])
            for target, source, weights in block:
                pixels[:, target, band] = plane[:, source.start - left : source.stop - left] @ weights.T
        del flat, plane  # before the next ones are made
    pixels /= np.float32(127.5)
    pixels -= np.float32(1)
    return np.clip(pixels, -1, 1, out=pixels)  # what sums of weights make of white

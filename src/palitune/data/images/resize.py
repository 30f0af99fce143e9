"""Images resized to what the image encoder takes: float32[size, size, 3] in [-1, 1]."""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palitune.data.images.oriented_image import STRIP, WHOLE, OrientedImage

# Multiplications of one matrix product. With fewer than this, BLAS starts no threads, which would compete with ours,
# and the matrices stay in the processor's cache.
PRODUCT = 1 << 18
# Bytes between the vertical and the horizontal resize, of images up to `LARGE` pixels and of larger ones; images that
# would take more are resized in blocks of columns.
FLAT, FLAT_OF_LARGE = 64 << 20, 8 << 20
LARGE = 13_000_000
Pixels = NDArray[np.float32]
Part = tuple[slice, slice, Pixels]  # target rows, the source rows that they are made of, and the weights of those


@functools.lru_cache(256)
def _filter(length: int, size: int, rows: int) -> list[tuple[int, int, Pixels]]:
    """Returns, for each group of `rows` rows of a resize from `length` to `size`, its source rows and their weights.

    This is Pillow's triangle filter, which is as wide as the scale where it shrinks (Pillow 12, `precompute_coeffs`).
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
    """Returns a resize of `width` lines from `length` to `size` as matrix products of at most `PRODUCT`."""
    scale = length / size
    step = 16
    while step > 1 and step * (step * scale + 2 * max(scale, 1)) * width > PRODUCT:
        step //= 2
    parts = _filter(length, size, step)
    return [(slice(i * step, i * step + step), slice(start, end), w) for i, (start, end, w) in enumerate(parts)]


def _blocks(parts: list[Part], size: int, most: int) -> list[list[Part]]:
    """Returns the parts of the columns in blocks that take at most `most` bytes."""
    blocks: list[list[Part]] = []
    for part in parts:
        if blocks and (part[1].stop - blocks[-1][0][1].start) * 3 * size * 4 <= most:
            blocks[-1].append(part)
        else:
            blocks.append([part])
    return blocks


class _Rows:
    """Rows of some columns of an image, which are asked for from top to bottom; a strip of them is kept."""

    def __init__(self, image: OrientedImage, left: int, right: int) -> None:
        self.image, self.left, self.right = image, left, right
        width, height = image.size
        self.step = height if width * height <= WHOLE else max(1, STRIP // (right - left))
        self.start = self.end = 0
        self.kept: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def __call__(self, start: int, end: int) -> NDArray[np.uint8]:
        if end > self.end or start < self.start:
            self.start, self.end = start, min(max(end, start + self.step), self.image.size[1])
            self.kept = self.image.rows(self.start, self.end, self.left, self.right)
        return self.kept[start - self.start : end - self.start]


def to_pixels(image: Image.Image | OrientedImage, size: int) -> Pixels:
    """Returns float32[size, size, 3] in [-1, 1]: the image squeezed to a square.

    The bilinear filter widens with the scale when it shrinks, as that of `jax.image.resize(..., antialias=True)`, of
    TensorFlow's antialiased resize, and of Pillow on float bands. On bytes, Pillow rounds after each direction, and the
    sum of both errors can exceed one grey level. The resize works on a few rows at a time, so that there is never a
    float copy of a large image.
    """
    upright = image if isinstance(image, OrientedImage) else OrientedImage(image)
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
        del flat, plane  # so that their memory is free before the next ones are made
    pixels /= np.float32(127.5)
    pixels -= np.float32(1)
    return np.clip(pixels, -1, 1, out=pixels)  # the rounded weights of white pixels may sum to more than 1

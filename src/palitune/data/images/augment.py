"""Random augmentation of training images: a few images vary as if they were more. It is off by default.

An image is augmented in the form that the model takes: `float32[size, size, 3]` in [-1, 1].
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KINDS = ("flip", "crop", "color")
SMALLEST_CROP = 0.7  # share of the area
COLOR = 0.2  # brightness, contrast and saturation change by at most this share

Pixels = NDArray[np.float32]


def augment(pixels: Pixels, kinds: Sequence[str], rng: np.random.Generator) -> Pixels:
    """Returns a changed copy of an image, float32[size, size, 3] in [-1, 1].

    Args:
      kinds: some of `KINDS`: "flip" mirrors half of the images, "crop" enlarges a part, "color" changes the colours.
    """
    if "flip" in kinds and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if "crop" in kinds:
        pixels = _crop(pixels, rng)
    if "color" in kinds:
        pixels = _color(pixels, rng)
    return np.ascontiguousarray(pixels)


def _crop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Enlarges a random square part to the size of the image by Pillow's bilinear filter."""
    size = pixels.shape[0]
    side = size * rng.uniform(SMALLEST_CROP, 1.0) ** 0.5
    left, top = rng.uniform(0, size - side, 2)
    box = (left, top, left + side, top + side)
    bands = [
        Image.fromarray(pixels[..., band]).resize((size, size), Image.Resampling.BILINEAR, box=box) for band in range(3)
    ]
    return np.stack([np.asarray(band, np.float32) for band in bands], axis=-1)


def _color(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Changes brightness, then contrast around the mean, then saturation around the grey of each pixel."""
    brightness, contrast, saturation = rng.uniform(1 - COLOR, 1 + COLOR, 3).astype(np.float32)
    light = (pixels + 1) * brightness
    light = (light - light.mean()) * contrast + light.mean()
    # Rec. 601 luma, as Pillow's own conversion to greyscale.
    grey = light @ np.array([0.299, 0.587, 0.114], np.float32)
    light = (light - grey[..., None]) * saturation + grey[..., None]
    changed: Pixels = np.clip(light - 1, -1, 1).astype(np.float32)
    return changed

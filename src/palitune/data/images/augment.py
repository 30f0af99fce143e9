"""Training pictures changed at random, so that few look like more. Off unless asked for.

They are changed as the model takes them, `float32[size, size, 3]` in [-1, 1].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("flip", "crop", "color")
SMALLEST_CROP = 0.7  # share of the picture's area
COLOR = 0.2  # brightness, contrast and saturation change by at most this share

Pixels = np.ndarray[Any, np.dtype[np.float32]]


def augment(pixels: Pixels, kinds: Sequence[str], rng: np.random.Generator) -> Pixels:
    """A changed copy, by some of `KINDS`: mirrored half of the time, a part of it enlarged, other colours."""
    if "flip" in kinds and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if "crop" in kinds:
        pixels = _crop(pixels, rng)
    if "color" in kinds:
        pixels = _color(pixels, rng)
    return np.ascontiguousarray(pixels)


def _crop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A square part, enlarged to the whole by Pillow's bilinear filter."""
    size = pixels.shape[0]
    side = size * rng.uniform(SMALLEST_CROP, 1.0) ** 0.5
    left, top = rng.uniform(0, size - side, 2)
    box = (left, top, left + side, top + side)
    bands = [
        Image.fromarray(pixels[..., band]).resize((size, size), Image.Resampling.BILINEAR, box=box) for band in range(3)
    ]
    return np.stack([np.asarray(band, np.float32) for band in bands], axis=-1)


def _color(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Brightness, then contrast about the mean, then saturation about each pixel's grey."""
    brightness, contrast, saturation = rng.uniform(1 - COLOR, 1 + COLOR, 3).astype(np.float32)
    light = (pixels + 1) * brightness
    light = (light - light.mean()) * contrast + light.mean()
    # Rec. 601 luma, as Pillow's own conversion to greyscale.
    grey = light @ np.array([0.299, 0.587, 0.114], np.float32)
    light = (light - grey[..., None]) * saturation + grey[..., None]
    changed: Pixels = np.clip(light - 1, -1, 1).astype(np.float32)
    return changed

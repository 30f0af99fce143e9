"""The images of examples, some of which may have none."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from palitune.data.example import Example
from palitune.data.images.loader import ImageArray, ImageRequest, ImageSource
from palitune.errors import PalituneError, UsageError


class NoImages:
    """What a model gets that takes no images: no image tokens."""

    def __init__(self, width: int) -> None:
        """Args:
        width: D, of the language model.
        """
        self.absent: NDArray[np.float16] = np.zeros((0, width), np.float16)

    def prefetch(self, requests: Iterable[ImageRequest]) -> Iterator[ImageArray | PalituneError]:
        """Yields nothing for nothing: the template has refused every example with an image."""
        return (self.absent for _ in requests)

    def problems(self, requests: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """Yields nothing."""
        return iter(())

    def check(self, requests: Iterable[ImageRequest]) -> None:
        """Finds nothing wrong."""


def images_of(examples: Iterable[Example], source: ImageSource) -> Iterator[ImageArray | PalituneError]:
    """Yields the first image of each example in order, or its error; what stands for none where there is none."""
    for_requests, listed = itertools.tee(examples)
    shown = source.prefetch(ImageRequest(one.image.path, one.where) for one in for_requests if one.images)
    for one in listed:
        yield next(shown) if one.images else source.absent


def require_images(examples: Iterable[Example], name: str, hint: str | None = None) -> None:
    """Raises UsageError unless one of the examples has an image, for a sheet that was typed as `name`."""
    if not any(example.images for example in examples):
        raise UsageError(f"{name}: a sheet shows images, and no record has one", hint=hint)

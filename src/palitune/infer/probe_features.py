"""Image features of records, for linear probes."""

import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from palitune.data.example import Example
from palitune.data.images.loader import ImageRequest, ImageSource, raise_first
from palitune.errors import BadDataError

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def feature(tokens: Array) -> Array:
    """The feature of an image, float32[D]: the mean of its image tokens [tokens, D]."""
    mean: Array = np.asarray(tokens, np.float32).mean(axis=0)
    return mean


def require_images(records: Sequence[Example], hint: str) -> None:
    """Raises BadDataError at the first record without an image, of which there are no image features."""
    bare = next((record for record in records if not record.images), None)
    if bare is not None:
        raise BadDataError("a linear probe learns from image features, and this is a text", where=bare.where, hint=hint)


def features(records: Sequence[Example], shown: ImageSource, quiet: bool = False) -> Array:
    """float32[N, D], from the image features of N records' images; computed where they are missing."""
    silent = quiet or not sys.stderr.isatty()
    tokens = raise_first(shown.prefetch(ImageRequest(record.image.path, record.where) for record in records))
    bar = tqdm(tokens, "encoding", len(records), unit="images", leave=False, disable=silent)
    return np.stack([feature(one) for one in bar])

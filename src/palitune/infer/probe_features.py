"""What the image tower sees of records' pictures, for linear probes."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from palitune.data.images.loader import ImageRequest, ImageSource, raise_first
from palitune.data.records import Record
from palitune.evaluate import probe


def features(records: Sequence[Record], shown: ImageSource, quiet: bool = False) -> np.ndarray[Any, Any]:
    """float32[N, D], from the kept image tokens of N records' pictures; computed where they are missing."""
    silent = quiet or not sys.stderr.isatty()
    tokens = raise_first(shown.prefetch(ImageRequest(record.image, record.where) for record in records))
    bar = tqdm(tokens, "looking", len(records), unit="pictures", leave=False, disable=silent)
    return np.stack([probe.feature(one) for one in bar])

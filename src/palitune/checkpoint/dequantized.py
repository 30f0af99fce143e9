"""A checkpoint as it was computed with: its quantized parameters as the numbers that stand for them.

Who merges adapters that were trained beside quantized weights can keep those, or put the adapters onto the weights as
they are; these are others, and so are the scores then.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palitune.checkpoint import manifest, npz
from palitune.checkpoint.quantized_cache import QuantizedCache
from palitune.checkpoint.store import Array, ArrayInfo, Storable, Stored
from palitune.errors import UsageError
from palitune.models import quantization


class Difference(NamedTuple):
    """How far quantized weights are from those they were made of, as the RMS of the difference by that of the latter.

    Attributes:
      all: over all quantized parameters together.
      worst: the parameter with the largest one of its own.
      largest: that.
    """

    all: float
    worst: str
    largest: float

    def __str__(self) -> str:
        return f"{self.all:.2%} (relative RMS; up to {self.largest:.2%}, in {self.worst})"


class DequantizedCheckpoint(Stored):
    """The same parameters, of which those that `cache` quantizes are float32, made when they are read."""

    def __init__(self, checkpoint: Stored, cache: QuantizedCache) -> None:
        self.checkpoint, self.cache = checkpoint, cache
        self.path, self.spec = checkpoint.path, checkpoint.spec
        self.quantized = set(cache.paths())

    def __getitem__(self, path: str) -> Array:
        found: Array = np.asarray(self.sliced(path)[:])
        return found

    @property
    def files(self) -> list[Path]:
        """As of the checkpoint."""
        return self.checkpoint.files

    @property
    def whole(self) -> Stored:
        """As of the checkpoint."""
        return self.checkpoint.whole

    def leaves(self) -> Mapping[str, ArrayInfo]:
        """As of any checkpoint."""
        single = np.dtype(np.float32)
        found = self.checkpoint.leaves()
        return {path: ArrayInfo(leaf.shape, single) if path in self.quantized else leaf for path, leaf in found.items()}

    def sliced(self, path: str) -> Storable:
        """As of any checkpoint."""
        if path not in self.quantized:
            return self.checkpoint.sliced(path)
        ((_, arrays),) = self.cache([path])
        return quantization.dequantized(self.cache.how, path, arrays, self.checkpoint.leaves()[path].shape)

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """Of what it was quantized from."""
        return self.checkpoint.fingerprints(silent)

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Of what it was quantized from."""
        return self.checkpoint.digests(wanted)

    def verify(self, silent: bool = True) -> None:
        """As of the checkpoint."""
        self.checkpoint.verify(silent)

    def difference(self) -> Difference:
        """How far what is quantized is from the checkpoint's own; reads all of it."""
        squares: dict[str, tuple[float, float]] = {}
        for path in sorted(self.quantized):
            wrong = own = 0.0
            for exact, rounded in zip(_layers(self.checkpoint.sliced(path)), _layers(self.sliced(path)), strict=True):
                own += float(np.square(exact).sum(dtype=np.float64))
                wrong += float(np.square(rounded - exact).sum(dtype=np.float64))
            squares[path] = wrong, own
        each = {path: (wrong / own) ** 0.5 if own else 0.0 for path, (wrong, own) in squares.items()}
        wrong, own = (sum(both[place] for both in squares.values()) for place in (0, 1))
        worst = max(each, key=lambda path: each[path])
        return Difference((wrong / own) ** 0.5 if own else 0.0, worst, each[worst])


class Kept(NamedTuple):
    """What is written of a checkpoint that may have been trained beside quantized weights.

    Attributes:
      checkpoint: the parameters to write.
      has_same_scores: whether they are those that it was trained and evaluated with.
      note: what a person should know, a sentence without its end; empty where there is nothing.
    """

    checkpoint: Stored
    has_same_scores: bool = True
    note: str = ""


def for_merging(source: Path, checkpoint: Stored, folder: Path, *, keep: bool) -> Kept:
    """The parameters to write for the checkpoint at `source`: as they are, or, with `keep`, as they were quantized.

    Args:
      folder: of quantized parameters, `cache/quantized/`.

    Raises:
      UsageError: nothing of it was quantized that could be kept.
    """
    how = manifest.quantization(source)
    if not how.is_any:
        if keep:
            raise UsageError("--keep-quantized has no effect: nothing of this model was quantized in training")
        return Kept(checkpoint)
    rounded = DequantizedCheckpoint(checkpoint, QuantizedCache(folder, checkpoint, how))
    if keep:
        return Kept(rounded, note=f"{how.name} are kept: written as numbers, with the scores that the model has")
    what = f"it was trained beside {how.name}, and is written with the weights that these were made of"
    more = "scores differ, and a stored threshold is left out: validate it, or use --keep-quantized"
    return Kept(checkpoint, False, f"{what}, which differ by {rounded.difference()}; {more}")


def _layers(array: Storable) -> Iterator[NDArray[np.float32]]:
    """An array in pieces of axis 0, float32: the layers of a stack one by one, a table some rows at a time."""
    rows = max(1, npz.SLICE // max(1, 4 * array.size // array.shape[0]))
    for at in range(0, array.shape[0], rows):
        yield np.asarray(array[at : at + rows]).astype(np.float32)

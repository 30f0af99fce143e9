"""One whole checkpoint out of a trained delta and its base, with adapters multiplied into their weights."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from palitune.checkpoint.parameter_dtypes import is_finite
from palitune.checkpoint.store import ArrayInfo, Storable, Stored
from palitune.errors import BadDataError
from palitune.models import lora
from palitune.models.arrays import AnyArray, DType


class MergedWeight:
    """A stacked weight, [L, ...], whose adapter is multiplied into the layers that are asked for, a few at a time."""

    def __init__(self, path: str, checkpoint: Stored, dtype: DType) -> None:
        self.path = path
        self.parts = [checkpoint.sliced(name) for name in (path, path + lora.A, path + lora.B, path + lora.ALPHA)]
        weight = self.parts[0]
        self.shape, self.ndim, self.size, self.dtype = weight.shape, weight.ndim, weight.size, dtype

    def __getitem__(self, layers: slice) -> AnyArray:
        """Some layers, merged. Raises BadDataError where a value is too large for the dtype."""
        merged = lora.merged(self.path, *(np.asarray(part[layers]) for part in self.parts)).astype(self.dtype)
        if not is_finite(merged):
            raise BadDataError(f"{self.path} does not fit into {self.dtype}", hint="Use --save-dtype float32")
        return merged


class MergedCheckpoint(Mapping[str, Storable]):
    """A checkpoint's arrays without adapters, each made when it is asked for, slice by slice."""

    def __init__(self, checkpoint: Stored, dtype: DType) -> None:
        """Args:
        dtype: of the weights that had an adapter.
        """
        self.checkpoint, self.dtype = checkpoint, dtype
        self.adapted = set(lora.adapted(checkpoint))
        self.paths = [path for path in checkpoint if not lora.is_adapter(path)]

    def __getitem__(self, path: str) -> Storable:
        return MergedWeight(path, self.checkpoint, self.dtype) if path in self.adapted else self.checkpoint.sliced(path)

    def leaves(self) -> dict[str, ArrayInfo]:
        """Shape and dtype of every array, of which none is made."""
        found = self.checkpoint.leaves()
        merged = {path: dataclasses.replace(found[path], dtype=self.dtype) for path in self.adapted}
        return {path: merged.get(path, found[path]) for path in self.paths}

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

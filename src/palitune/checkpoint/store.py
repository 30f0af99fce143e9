"""What all checkpoints have in common, whichever files their arrays are in."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palitune.models.spec import ModelSpec

Array = NDArray[np.generic]
DType = np.dtype[np.generic]


class Storable(Protocol):
    """An array of NumPy or JAX, or one that is made piece by piece, as far as saving needs it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> DType: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> object: ...


@dataclasses.dataclass(frozen=True)
class ArrayInfo:
    """Shape and dtype of an array that has not been read."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


class Stored(Mapping[str, Array], ABC):
    """Read-only arrays by parameter path; one is read when it is asked for.

    Attributes:
      path: of the file or folder.
      spec: the model, where the files say which it is; None where shapes alone tell (`families.read`).
    """

    path: Path
    spec: ModelSpec | None

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """The files that it is read from."""

    @property
    def whole(self) -> "Stored":
        """Itself; of a delta its base, beside which a model's other files are."""
        return self

    @abstractmethod
    def leaves(self) -> Mapping[str, ArrayInfo]:
        """Shape and dtype of every array, without reading any. Raises BadDataError for one that cannot be read."""

    def __len__(self) -> int:
        return len(self.leaves())

    def __iter__(self) -> Iterator[str]:
        return iter(self.leaves())

    def __contains__(self, path: object) -> bool:
        return path in self.leaves()  # without reading the array, as Mapping would

    def sliced(self, path: str) -> Storable:
        """An array that is read in slices of axis 0, for what needs no more of it at once."""
        return self[path]

    @abstractmethod
    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """What tells arrays apart by content, by path. `silent` shows no progress bar where that takes reading."""

    @abstractmethod
    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """SHA-256 of arrays, which nobody can make another array to. Raises BadDataError as reading them does."""

    @abstractmethod
    def verify(self, silent: bool = True) -> None:
        """Reads everything through once, unless that is remembered. Raises BadDataError for what is damaged.

        `silent` shows no progress bar.
        """

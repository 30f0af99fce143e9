"""Small checkpoints: only what a run changed, and which base the rest is in.

A delta is an `.npz` like any other whose manifest has a `base`. It is opened as one checkpoint with its base's arrays
behind its own. The base is told by a hash of its contents, so that a delta is never put on another model.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from palitune.checkpoint import manifest
from palitune.checkpoint.store import Array, ArrayInfo, DType, Storable, Stored


class Overlay(Stored):
    """Arrays of a delta, and its base's where the delta has none.

    Attributes:
      base_name: what the base was found by, where nothing else tells which it is: an adapter from elsewhere has no
        hash of it. None where it was recognised.
    """

    def __init__(self, base: Stored, changed: Stored, base_name: str | None = None) -> None:
        self.base, self.changed, self.path, self.base_name = base, changed, changed.path, base_name
        self.spec = changed.spec or base.spec

    def __getitem__(self, path: str) -> Array:
        return self._of(path)[path]

    def __contains__(self, path: object) -> bool:
        return path in self.changed or path in self.base

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.base, *self.changed}))

    def __len__(self) -> int:
        return len({*self.base, *self.changed})

    @property
    def files(self) -> list[Path]:
        """The base's and the delta's."""
        return [*self.base.files, *self.changed.files]

    @property
    def whole(self) -> Stored:
        """Its base."""
        return self.base

    def leaves(self) -> Mapping[str, ArrayInfo]:
        """As of any checkpoint."""
        found = {**self.base.leaves(), **self.changed.leaves()}
        return {path: found[path] for path in sorted(found)}

    def sliced(self, path: str) -> Storable:
        """As of any checkpoint."""
        return self._of(path).sliced(path)

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """As of any checkpoint."""
        own = self.changed.digests(wanted)
        return self.base.digests(lambda path: wanted(path) and path not in own) | own

    def verify(self, silent: bool = True) -> None:
        """As of any checkpoint."""
        for part in (self.base, self.changed):
            part.verify(silent)

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """As of any checkpoint."""
        return self.base.fingerprints(silent) | self.changed.fingerprints(silent)

    def _of(self, path: str) -> Stored:
        return self.changed if path in self.changed else self.base


def content_hash(checkpoint: Stored, silent: bool = True) -> str:
    """What a base is recognised by: SHA-256 of its arrays' names and fingerprints.

    `silent` shows no progress bar where that takes reading.
    """
    return hashlib.sha256(json.dumps(checkpoint.fingerprints(silent), sort_keys=True).encode()).hexdigest()


def describe(checkpoint: Stored, name: str) -> dict[str, str]:
    """What a manifest says of the base of what is learned on this checkpoint: a delta's base is also its heirs'."""
    if isinstance(checkpoint, Overlay):
        if checkpoint.base_name is not None:
            return describe(checkpoint.base, checkpoint.base_name)
        return cast(dict[str, str], manifest.read(checkpoint.changed.path)["base"])  # a delta's manifest has one
    return {"name": name, "file": str(checkpoint.path.resolve()), "hash": content_hash(checkpoint)}


def inherited(checkpoint: Stored) -> list[str]:
    """Paths that already differ from the base, which a new delta has to hold too."""
    return list(checkpoint.changed) if isinstance(checkpoint, Overlay) else []


def stored_dtype(base: Mapping[str, ArrayInfo | Array], path: str, trained: DTypeLike) -> DType:
    """The dtype to save a changed parameter in: its own if that has 16 bit, else its base's; 16 bit for new ones."""
    dtype: DType = np.dtype(trained)
    if dtype.itemsize == 2:
        return dtype
    return base[path].dtype if path in base else np.dtype(np.float16)

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
from palitune.checkpoint.npz import Array, Checkpoint, DType
from palitune.errors import BadDataError, MissingInputError

Find = Callable[[str], Path]  # a base's file by its name; raises MissingInputError


class Overlay(Mapping[str, Array]):
    """Arrays of a delta, and its base's where the delta has none."""

    def __init__(self, base: Checkpoint, changed: Checkpoint) -> None:
        self.base, self.changed = base, changed

    def __getitem__(self, path: str) -> Array:
        return self.changed[path] if path in self.changed else self.base[path]

    def __contains__(self, path: object) -> bool:
        return path in self.changed or path in self.base

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.base, *self.changed}))

    def __len__(self) -> int:
        return len({*self.base, *self.changed})

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """As of a `Checkpoint`."""
        own = self.changed.digests(wanted)
        return self.base.digests(lambda path: wanted(path) and path not in own) | own

    def verify(self, silent: bool = True) -> None:
        """As of a `Checkpoint`."""
        for part in (self.base, self.changed):
            part.verify(silent)

    def fingerprints(self) -> dict[str, str]:
        """As of a `Checkpoint`."""
        return self.base.fingerprints() | self.changed.fingerprints()


def content_hash(checkpoint: Checkpoint) -> str:
    """What a base is recognised by: SHA-256 of its arrays' names and fingerprints."""
    return hashlib.sha256(json.dumps(checkpoint.fingerprints(), sort_keys=True).encode()).hexdigest()


def load(path: Path, find: Find) -> Checkpoint | Overlay:
    """A checkpoint, whole or as a delta with its base.

    Raises:
      MissingInputError: the checkpoint or its base is not there.
      BadDataError: one of them is damaged, or the base is not the one that the delta was made from.
    """
    changed = Checkpoint(path)
    base = manifest.read(path).get("base")
    if not isinstance(base, dict):
        return changed
    known = Path(base["file"])
    there = _is_file(known)
    if there and manifest.read(known).get("base"):
        what = f"its base {known} is a delta itself, and a delta's base has to be whole"
        raise BadDataError(what, where=str(manifest.path_of(path)))
    if there and content_hash(behind := Checkpoint(known)) == base["hash"]:
        return Overlay(behind, changed)
    # It has moved, or its name means another file by now, and the right one may still be known by name.
    try:
        other = find(base["name"])
    except (OSError, ValueError):  # no name that a file could have
        raise BadDataError("its base has an impossible name", where=str(manifest.path_of(path))) from None
    except MissingInputError as error:
        what = f"its base {base['name']} is not there: {error.what}"
        raise MissingInputError(what, where=str(path), hint=error.hint) from None
    if content_hash(behind := Checkpoint(other)) != base["hash"]:
        hint = "Put the base it was made from there, or merge the delta where the base is"
        raise BadDataError(f"{other} is not the base {base['name']} this was made from", where=str(path), hint=hint)
    return Overlay(behind, changed)


def _is_file(path: Path) -> bool:
    """Whether the path is a regular file; false for an invalid name, which an untrusted manifest may have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def describe(checkpoint: Checkpoint | Overlay, name: str) -> dict[str, str]:
    """What a manifest says of the base of what is learned on this checkpoint: a delta's base is also its heirs'."""
    if isinstance(checkpoint, Overlay):
        return cast(dict[str, str], manifest.read(checkpoint.changed.path)["base"])  # a delta's manifest has one
    return {"name": name, "file": str(checkpoint.path.resolve()), "hash": content_hash(checkpoint)}


def inherited(checkpoint: Checkpoint | Overlay) -> list[str]:
    """Paths that already differ from the base, which a new delta has to hold too."""
    return list(checkpoint.changed) if isinstance(checkpoint, Overlay) else []


def stored_dtype(checkpoint: Mapping[str, Array], path: str, trained: DTypeLike) -> DType:
    """The dtype to save a changed parameter in: its own if that has 16 bit, else its base's; 16 bit for new ones."""
    dtype: DType = np.dtype(trained)
    if dtype.itemsize == 2:
        return dtype
    return checkpoint[path].dtype if path in checkpoint else np.dtype(np.float16)

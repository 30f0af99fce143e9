"""Any checkpoint by its path: an `.npz`, whole or as a delta with its base behind it, or a model of Hugging Face."""

from collections.abc import Callable
from pathlib import Path

from palitune.checkpoint import manifest, transformers_checkpoint
from palitune.checkpoint.delta import Overlay, content_hash
from palitune.checkpoint.npz import Checkpoint
from palitune.checkpoint.store import Stored
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.errors import BadDataError, MissingInputError

Find = Callable[[str], Path]  # a base's path by its name; raises MissingInputError


def load(path: Path, find: Find, silent: bool = True) -> Stored:
    """A checkpoint, whole or as a delta with its base.

    Args:
      silent: no progress bar where a base has to be read to be recognised.

    Raises:
      MissingInputError: the checkpoint or its base is not there.
      BadDataError: one of them is damaged, or the base is not the one that the delta was made from.
      ConfigurationError: a model of Hugging Face that is not computed.
    """
    if transformers_checkpoint.is_model(path):
        return TransformersCheckpoint(path)
    changed = Checkpoint(path)
    base = manifest.read(path).get("base")
    if not isinstance(base, dict):
        return changed
    known = Path(base["file"])
    there = _is_there(known)
    if there and _base_of(known):
        what = f"its base {known} is a delta itself, and a delta's base has to be whole"
        raise BadDataError(what, where=str(manifest.path_of(path)))
    if there and content_hash(behind := _whole(known), silent) == base["hash"]:
        return Overlay(behind, changed)
    # It has moved, or its name means another file by now, and the right one may still be known by name.
    try:
        other = find(base["name"])
    except (OSError, ValueError):  # no name that a file could have
        raise BadDataError("its base has an impossible name", where=str(manifest.path_of(path))) from None
    except MissingInputError as error:
        what = f"its base {base['name']} is not there: {error.what}"
        raise MissingInputError(what, where=str(path), hint=error.hint) from None
    if content_hash(behind := _whole(other), silent) != base["hash"]:
        hint = "Put the base it was made from there, or merge the delta where the base is"
        raise BadDataError(f"{other} is not the base {base['name']} this was made from", where=str(path), hint=hint)
    return Overlay(behind, changed)


def _whole(path: Path) -> Stored:
    return TransformersCheckpoint(path) if transformers_checkpoint.is_model(path) else Checkpoint(path)


def _base_of(path: Path) -> object:
    return None if transformers_checkpoint.is_model(path) else manifest.read(path).get("base")


def _is_there(path: Path) -> bool:
    """Whether the path can be a base; false for an invalid name, which an untrusted manifest may have."""
    try:
        return path.is_file() or transformers_checkpoint.is_model(path)
    except (OSError, ValueError):
        return False

"""Any checkpoint by its path: an `.npz`, a model of Hugging Face, or what stands in front of one of these.

That is a delta, which knows its base by a hash, or an adapter in PEFT's form, which knows it by name alone.
"""

from collections.abc import Callable
from pathlib import Path

from palitune.checkpoint import manifest, peft_config, transformers_checkpoint
from palitune.checkpoint.delta import Overlay, content_hash
from palitune.checkpoint.npz import Checkpoint
from palitune.checkpoint.store import Stored
from palitune.checkpoint.tensor_files import INDEX, WHOLE
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.errors import BadDataError, ConfigurationError, MissingInputError
from palitune.models import families

Find = Callable[[str], Path]  # a base's path by its name; raises MissingInputError


def load(path: Path, find: Find, silent: bool = True) -> Stored:
    """A checkpoint, whole, or as a delta or an adapter with its base.

    Args:
      silent: no progress bar where a base has to be read to be recognised.

    Raises:
      MissingInputError: the checkpoint or its base is not there.
      BadDataError: one of them is damaged, or the base is not the one that the delta was made from.
      ConfigurationError: a model of Hugging Face, or an adapter, that is not computed.
    """
    if peft_config.is_adapter(path):
        return _with_base(path, find)
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


def _with_base(adapter: Path, find: Find) -> Overlay:
    """An adapter in PEFT's form in front of the base that it names, whose shapes it has to fit."""
    from palitune.checkpoint.peft_reader import PeftAdapter  # imports JAX

    if adapter.is_dir() and (there := [name for name in (WHOLE, INDEX) if (adapter / name).is_file()]):
        hint = f"Name the file that you mean: {there[0]}, or {peft_config.WEIGHTS}"
        raise BadDataError("it has a whole model and an adapter", where=str(adapter), hint=hint)
    place = (adapter if adapter.is_dir() else adapter.parent) / peft_config.CONFIG
    hint = f"Write the base's name, or where it is, as base_model_name_or_path into {peft_config.CONFIG}"
    if (name := peft_config.read(place).base) is None:
        raise ConfigurationError("it does not say which model it is for", where=str(place), hint=hint)
    try:
        found = find(name)
    except (OSError, ValueError):  # no name that a file could have
        raise BadDataError("its base has an impossible name", where=str(place), hint=hint) from None
    except MissingInputError as error:
        what = f"its base {name} is not there: {error.what}"
        raise MissingInputError(
            what, where=str(adapter), hint=f"{error.hint}. {hint}" if error.hint else hint
        ) from None
    if peft_config.is_adapter(found) or _base_of(found):
        what = f"its base {found} is an adapter or a delta itself, and an adapter's base has to be whole"
        raise BadDataError(what, where=str(place), hint="Merge that first: palitune merge")
    base = _whole(found)
    return Overlay(base, PeftAdapter(adapter, base.spec or families.read(base.leaves(), str(found))), name)


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

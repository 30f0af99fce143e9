"""What an export has instead of whole weights: a delta's adapters, or adapters in place of changed weights."""

from typing import NamedTuple

from palitune.checkpoint import low_rank
from palitune.checkpoint.delta import Overlay
from palitune.checkpoint.exported_tensors import converted
from palitune.checkpoint.store import Array, DType, Stored
from palitune.errors import ConfigurationError
from palitune.models import lora
from palitune.models.spec import ModelSpec


class Adapters(NamedTuple):
    """Adapters by path, and what is to be said of them, in sentences without their end."""

    arrays: dict[str, Array]
    notes: list[str]


def of_checkpoint(checkpoint: Stored, dtype: DType | None) -> Adapters:
    """The adapters that a checkpoint has.

    Args:
      dtype: to convert to; None leaves them as they are.

    Raises:
      ConfigurationError: it has none, or something else has changed beside them.
    """
    own = checkpoint.changed if isinstance(checkpoint, Overlay) else checkpoint
    found = [path for path in own if lora.is_adapter(path)]
    if not found:
        hint = "--as-lora RANK makes one of changed weights; without either, whole weights are written"
        raise ConfigurationError("it has no adapter that could be written", where=str(checkpoint.path), hint=hint)
    if isinstance(checkpoint, Overlay) and len(found) < len(own):
        what = "it has changed other weights than those of its adapters, which an adapter cannot say"
        hint = "Write whole weights, without --adapter"
        raise ConfigurationError(what, where=str(checkpoint.path), hint=hint)
    return Adapters({path: _converted(path, own[path], dtype) for path in found}, [])


def of_changes(spec: ModelSpec, checkpoint: Stored, rank: int, dtype: DType | None) -> Adapters:
    """Adapters that come closest to what a delta has changed.

    Raises:
      ConfigurationError: it is no delta, or has changed what no adapter can say.
    """
    if not isinstance(checkpoint, Overlay):
        what = "this is a whole checkpoint, and what learning has changed in it is not known"
        hint = "Name the checkpoint that learning has written"
        raise ConfigurationError(what, where=str(checkpoint.path), hint=hint)
    if lora.adapted(checkpoint.changed):
        raise ConfigurationError("it has adapters already", where=str(checkpoint.path), hint="Use --adapter")
    changed = {path: checkpoint.changed.sliced(path) for path in checkpoint.changed}
    base = {path: checkpoint.base.sliced(path) for path in checkpoint.base}
    found = low_rank.factors(spec, base, changed, rank)
    errors = found.errors
    note = (
        f"with rank {rank} weights are off by up to {errors.frobenius:.2%} ({errors.worst}), by up to "
        f"{errors.of_change:.2%} of what learning has changed in them (Frobenius norms), and single values by up to "
        f"{errors.largest:.2%} of the largest"
    )
    other = "what the changed weights were worth is not what the adapter is worth: palitune validate tells"
    return Adapters({path: _converted(path, array, dtype) for path, array in found.adapters.items()}, [note, other])


def _converted(path: str, array: Array, dtype: DType | None) -> Array:
    return array if dtype is None or path.endswith(lora.ALPHA) else converted(path, array, dtype)

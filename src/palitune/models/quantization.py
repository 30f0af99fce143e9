"""Which of a model's frozen parameters are kept in fewer bits, and what stands in their place."""

from collections.abc import Mapping

from palitune.config.quantization import INT8, NONE, Quantization
from palitune.models import table, weight
from palitune.models.arrays import HostArray, Tree
from palitune.models.weight import Described


def covers(how: Quantization, path: str) -> bool:
    """Whether the parameter at `path`, if it is frozen, is quantized."""
    if path in table.PATHS:
        return how.embeddings
    return how.kind != NONE and weight.can_quantize(path)


def kind_of(how: Quantization, path: str) -> str:
    """The kind of a parameter that is covered."""
    return INT8 if path in table.PATHS else how.kind


def names(how: Quantization, path: str) -> tuple[str, ...]:
    """The paths of what stands in place of a parameter that is covered."""
    return table.names(path) if path in table.PATHS else weight.names(path, how.kind)


def described(how: Quantization, path: str, shape: tuple[int, ...]) -> dict[str, Described]:
    """Shape and dtype of what stands in place of a parameter of this shape, by path."""
    found: Tree = table.described(shape) if path in table.PATHS else weight.described(shape, how.kind)
    return dict(zip(names(how, path), found, strict=True))


def quantize(how: Quantization, path: str, array: Tree) -> dict[str, HostArray]:
    """What stands in place of a parameter, by path.

    Args:
      array: of NumPy, or read in slices of axis 0.

    Raises:
      ValueError: a value is not finite.
    """
    found: Tree = table.quantize(array) if path in table.PATHS else weight.quantize(array, how.kind)
    return dict(zip(names(how, path), found, strict=True))


def dequantized(
    how: Quantization, path: str, arrays: Mapping[str, HostArray], shape: tuple[int, ...]
) -> table.Dequantized | weight.Dequantized:
    """A parameter as its layers compute with it, float32 of `shape`, which is read in slices of axis 0."""
    own: Tree = [arrays[name] for name in names(how, path)]
    if path in table.PATHS:
        return table.Dequantized(table.Rows(*own))
    return weight.Dequantized(weight.Quantized(*own), shape)

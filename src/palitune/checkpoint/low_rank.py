"""What learning has changed in weights, as the adapters of a given rank that come closest to it.

The best approximation of a matrix by one of rank r keeps its r largest singular values (Eckart and Young, 1936). Each
linear layer is decomposed alone, and exactly, by the eigenvectors of the smaller of its two products with itself.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from palitune.checkpoint import npz, tensor_names
from palitune.checkpoint.peft_modules import WEIGHT, modules
from palitune.checkpoint.store import Array, Storable
from palitune.checkpoint.tensor_names import Tensor
from palitune.errors import BadDataError, ConfigurationError, listed
from palitune.models import lora
from palitune.models.spec import ModelSpec

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]


class Errors(NamedTuple):
    """The largest differences between learned weights and the base with the adapters, over all linear layers.

    Attributes:
      frobenius: of a weight, in relation to the learned one, both by the Frobenius norm.
      largest: of one value, in relation to the largest one of the learned weight.
      of_change: as `frobenius`, but in relation to what learning has changed.
      worst: the linear layer with the largest `frobenius`, by its plain name.
    """

    frobenius: float
    largest: float
    of_change: float
    worst: str


class Approximation(NamedTuple):
    """Adapters in place of changed weights: float32, by our paths, and how far they are from them."""

    adapters: dict[str, Array]
    errors: Errors


def factors(
    spec: ModelSpec, base: Mapping[str, Storable], changed: Mapping[str, Storable], rank: int, silent: bool = True
) -> Approximation:
    """Adapters of rank `rank` that come closest to what learning has changed.

    Takes the memory of a linear layer in float64, a few times, beside that of the result, if arrays are read in slices
    (`Stored.sliced`). Where a linear layer has fewer inputs or outputs than `rank`, the rest of its factors is zero.

    Args:
      base: the base's parameters by path.
      changed: what learning has changed, whole parameters by path, without adapters.
      silent: show no progress bar. A linear layer of 2,560 by 2,048 takes about four seconds on two cores.

    Raises:
      ConfigurationError: something else has changed than weights that can have an adapter.
      BadDataError: a weight has values that are not finite.
    """
    found = modules(spec)
    adaptable = {module.path for module in found.values()}
    paths = [path for path in sorted(changed) if path in adaptable or not _same(base, changed, path)]
    if left := [path for path in paths if path not in adaptable]:
        what = f"adapters cannot say what has changed in {listed(left)}"
        raise ConfigurationError(what, hint="Write whole weights instead")
    if not paths:
        raise ConfigurationError("nothing has changed that adapters could say")
    adapters = _empty(spec, paths, changed, rank)
    errors: dict[str, Errors] = {}
    tensors = {name: tensor for name, tensor in tensor_names.tensors(spec).items() if tensor.path in paths}
    for name, tensor in tqdm(tensors.items(), "decomposing", leave=False, disable=silent):
        plain = name.removesuffix(WEIGHT)
        before, after = (_matrix(tensor, arrays[tensor.path]) for arrays in (base, changed))
        if not np.isfinite(change := after.astype(np.float64) - before).all():
            raise BadDataError(f"{tensor.path} has values that are not finite")
        first, second = decomposed(change, rank)
        found[plain].put_a(first, adapters[tensor.path + lora.A])
        found[plain].put_b(second, adapters[tensor.path + lora.B])
        errors[plain] = _errors(plain, before, after, second @ first)
    worst = max(errors.values(), key=lambda one: one.frobenius)
    largest = max(one.largest for one in errors.values())
    of_change = max(one.of_change for one in errors.values())
    return Approximation(adapters, worst._replace(largest=largest, of_change=of_change))


def decomposed(matrix: Float64, rank: int) -> tuple[Float32, Float32]:
    """Two factors whose product, the second times the first, is closest to a matrix [outputs, inputs].

    Returns:
      The first [r, inputs] and the second [outputs, r], of equal norms; r is `rank`, or less where that is exact.
    """
    from scipy.linalg import eigh  # takes a while to import

    wide = matrix.shape[0] <= matrix.shape[1]
    squared = matrix @ matrix.T if wide else matrix.T @ matrix
    size, rank = len(squared), min(rank, len(squared))
    wanted = (size - rank, size - 1)  # the largest eigenvalues: numpy.linalg.eigh takes twice the time, for all
    vectors: Float64 = eigh(squared, subset_by_index=wanted, overwrite_a=True, check_finite=False)[1]
    rest = vectors.T @ matrix if wide else matrix @ vectors
    sizes = np.sqrt(np.linalg.norm(rest, axis=1 if wide else 0))  # square roots of the singular values
    divisors = np.where(sizes > 0, sizes, 1)
    first, second = (rest / divisors[:, None], vectors * sizes) if wide else ((vectors * sizes).T, rest / divisors)
    return first.astype(np.float32), second.astype(np.float32)


def _empty(spec: ModelSpec, paths: list[str], changed: Mapping[str, Storable], rank: int) -> dict[str, Array]:
    """Adapters of zeros; their alpha is the rank, so that the product of the factors is all they add."""
    made: dict[str, Array] = {}
    for path in paths:
        for name, shape in lora.shapes(path, tuple(changed[path].shape), rank).items():
            made[name] = np.full(shape, rank if name.endswith(lora.ALPHA) else 0, np.float32)
    return made


def _matrix(tensor: Tensor, array: Storable) -> Float32:
    """A linear layer's weight [outputs, inputs]."""
    layer, *more = tensor.place
    values = np.asarray(array[layer : layer + 1])[(0, *more)]
    return tensor.write(values.astype(np.float32)).astype(np.float32, copy=False)


def _errors(plain: str, before: Float32, after: Float32, added: Float32) -> Errors:
    wrong = np.abs(before + added - after)
    norm = float(np.linalg.norm(wrong))
    change = float(np.linalg.norm(after - before))
    return Errors(
        norm / float(np.linalg.norm(after)) if norm else 0.0,
        float(wrong.max()) / float(np.abs(after).max()) if norm else 0.0,
        norm / change if norm and change else 0.0,
        plain,
    )


def _same(base: Mapping[str, Storable], changed: Mapping[str, Storable], path: str) -> bool:
    if path not in base or tuple(base[path].shape) != tuple(changed[path].shape):
        return False
    pieces = zip(npz.slices(base[path]), npz.slices(changed[path]), strict=False)
    return all(np.array_equal(one, other) for one, other in pieces)

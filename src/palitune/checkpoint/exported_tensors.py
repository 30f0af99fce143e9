"""Our parameters as a model's tensors under the names of published files, each made when it is written."""

import re
from collections.abc import Mapping

import numpy as np

from palitune.checkpoint import tensor_names
from palitune.checkpoint.store import Array, DType, Storable
from palitune.checkpoint.tensor_names import Tensor
from palitune.checkpoint.tensor_writer import TensorSource
from palitune.errors import BadDataError
from palitune.models.spec import ModelSpec


def tensors_of(spec: ModelSpec, arrays: Mapping[str, Storable], dtype: DType | None = None) -> dict[str, TensorSource]:
    """What `tensor_writer.save` takes: every tensor of a model, by its published name, in the order of the layers.

    A tensor of a stacked parameter takes the memory of its layer alone, if `arrays` reads slices (`Stored.sliced`).

    Args:
      arrays: the model's parameters by path, without adapters.
      dtype: to convert to; None leaves every tensor in its own.
    """
    found = {
        tensor_names.published_name(name, spec): _source(tensor, arrays, dtype)
        for name, tensor in tensor_names.tensors(spec).items()
    }
    return {name: found[name] for name in sorted(found, key=_with_numbers)}


def _source(tensor: Tensor, arrays: Mapping[str, Storable], dtype: DType | None) -> TensorSource:
    dtype = dtype or np.dtype(arrays[tensor.path].dtype)
    return TensorSource(tensor.theirs, dtype, lambda: tensor.write(_read(tensor, arrays[tensor.path], dtype)))


def _read(tensor: Tensor, array: Storable, dtype: DType) -> Array:
    """The values of a tensor, with the parameter's axes. Raises BadDataError where one is too large for the dtype."""
    if not tensor.place:
        values = np.asarray(array[0 : array.shape[0]])
    else:
        layer, *more = tensor.place
        values = np.asarray(array[layer : layer + 1])[(0, *more)]
    return converted(tensor.path, values, dtype)


def converted(path: str, values: Array, dtype: DType) -> Array:
    """Values of a parameter in another dtype. Raises BadDataError where one is too large for it."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        made = values.astype(dtype)
    if not np.isfinite(made).all() and np.isfinite(values).all():
        what = f"{path} has values that do not fit into {dtype}"
        raise BadDataError(what, hint="Use float32, or bfloat16, whose range is the same")
    return made


def _with_numbers(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that layer 10 comes after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

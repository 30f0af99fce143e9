"""Types of arrays and parameters. Shapes are written beside them, in jaxtyping's notation."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

DType = np.dtype[Any]
# Not NumPy's NDArray: from NumPy 2.5 on that is no class, which jaxtyping needs.
HostArray = np.ndarray[tuple[Any, ...], DType]
AnyArray = jax.Array | HostArray  # on the device, or of NumPy
Index = jax.Array | int  # the number of a layer, int[]
Tree = Any  # containers in containers with arrays as leaves, which JAX takes and returns whole
Params = Mapping[str, Tree]  # nested by the parts of a parameter's path
Flat = Mapping[str, jax.Array]  # parameters by their whole paths, on the device
Weights = Mapping[str, AnyArray]  # likewise, anywhere


@runtime_checkable
class Leaf(Protocol):
    """Anything with a shape and a dtype."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> DType: ...

"""Types of arrays and parameters that the models take. Shapes are written beside them, in jaxtyping's notation."""

from collections.abc import Mapping
from typing import Any

import jax
from numpy.typing import NDArray

AnyArray = jax.Array | NDArray[Any]  # on the device, or of NumPy
Params = Mapping[str, Any]  # nested by the parts of a parameter's path

"""Parameters between file and device: in which dtype they stay, whether they are finite.

Optimizers have no part in that: who only asks a model need not import them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from palitune.models.arrays import AnyArray, DType

ON_HOST = 1 << 20  # values up to which a check is done before a program for it were compiled


def resident_dtype(stored: DTypeLike, computation: DTypeLike) -> DType:
    """The dtype in which what does not learn stays on the device: as stored, but bfloat16 where that is computed in."""
    stored = jnp.dtype(stored).newbyteorder("=")
    return jnp.dtype(jnp.bfloat16) if stored == jnp.float16 and computation == jnp.bfloat16 else stored


@jax.jit
def _all_finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()


def is_finite(array: AnyArray) -> bool:
    """Whether every number is; compiled for large ones, because on its own `isfinite` makes an array half as large."""
    is_here = not isinstance(array, jax.Array) or array.is_fully_addressable
    if array.size <= ON_HOST and is_here:
        return bool(np.isfinite(np.asarray(array)).all())
    return bool(_all_finite(array))

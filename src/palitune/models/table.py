"""The embedding table, which is also the output layer: an array, or rows of 8 bits.

A row is quantized by its largest value. A quantized table goes by in pieces: no whole copy of it in 16 bit is made.

Axes: V vocabulary, D width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int, Int8

from palitune.config.quantization import INT8
from palitune.models.arrays import AnyArray, HostArray, Index, Params, Tree
from palitune.models.weight import CODES, SCALE, SMALLEST, Described

PATHS = ("llm/embedder/input_embedding", "llm/embedder/output_embedding")
PIECES = 16  # in which a quantized table goes by at least


class Rows(NamedTuple):
    """A table of 8 bits: value = code * scale."""

    codes: Int8[AnyArray, "V D"]
    scale: Float32[AnyArray, " V"]

    @property
    def shape(self) -> tuple[int, ...]:
        """(V, D)."""
        return tuple(self.codes.shape)


Table = Rows | AnyArray


def names(path: str) -> tuple[str, str]:
    """The paths of the arrays in place of the table at `path`."""
    return path + CODES[INT8], path + CODES[INT8] + SCALE


def described(shape: tuple[int, ...]) -> tuple[Described, Described]:
    """Shapes and dtypes of the arrays in place of a table of this shape."""
    return Described(shape, np.dtype(np.int8)), Described(shape[:1], np.dtype(np.float32))


def quantize(table: Tree, rows: int = 4096) -> Rows:
    """A table quantized on the host, `rows` at a time.

    Args:
      table: an array of NumPy, or one that is read in slices of axis 0; any float dtype.

    Raises:
      ValueError: a value is not finite.
    """
    made = Rows(*(np.empty(one.shape, one.dtype) for one in described(tuple(table.shape))))
    for first in range(0, table.shape[0], rows):
        values = np.asarray(table[first : first + rows]).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not finite")
        scale = np.maximum(np.abs(values).max(axis=1), SMALLEST) / np.float32(127)
        made.codes[first : first + rows] = np.rint(values / scale[:, None])
        made.scale[first : first + rows] = scale
    return made


def of(embedder: Params, name: str) -> Table:
    """The table `name` of the parameters of an embedder."""
    codes, scale = names(name)
    return Rows(embedder[codes], embedder[scale]) if codes in embedder else embedder[name]


def has(embedder: Params, name: str) -> bool:
    """Whether an embedder has the table `name`."""
    return name in embedder or names(name)[0] in embedder


def take(table: Table, tokens: Int[AnyArray, "*any"], dtype: DTypeLike) -> Float[Array, "*any D"]:
    """Rows of the table."""
    if isinstance(table, Rows):
        return dequantized(Rows(*(jnp.take(part, tokens, axis=0) for part in table)), dtype)
    return jnp.take(table, tokens, axis=0).astype(dtype)


def dequantized(rows: Rows, dtype: DTypeLike) -> jax.Array:
    """Some rows as numbers."""
    return jnp.asarray(rows.codes.astype(jnp.float32) * rows.scale[..., None], dtype)


class Dequantized:
    """A quantized table as an array `[V, D]` that is read in slices of axis 0, float32."""

    dtype = np.dtype(np.float32)

    def __init__(self, rows: Rows) -> None:
        self.rows, self.shape, self.ndim, self.size = rows, rows.shape, 2, rows.codes.size

    def __getitem__(self, chosen: slice) -> HostArray:
        """Some rows, as they are computed with."""
        scale = np.asarray(self.rows.scale[chosen])[:, None]
        return np.asarray(self.rows.codes[chosen]).astype(np.float32) * scale


def piece(table: Table, first: Index, size: int, dtype: DTypeLike) -> jax.Array:
    """The rows from `first` on, `dtype`[size, D]."""
    if isinstance(table, Rows):
        return dequantized(Rows(*(jax.lax.dynamic_slice_in_dim(part, first, size) for part in table)), dtype)
    rows: jax.Array = jax.lax.dynamic_slice_in_dim(jnp.asarray(table), first, size)
    return rows.astype(dtype)


def logits(table: Table, x: Float[Array, "*any D"]) -> Float32[Array, "*any V"]:
    """x times the rows of the table, float32[..., V]."""
    if not isinstance(table, Rows):
        return jnp.einsum("...D,VD->...V", x, table.astype(x.dtype), preferred_element_type=jnp.float32)
    count = table.shape[0]
    size = -(-count // PIECES)

    def of_piece(number: Index, found: jax.Array) -> jax.Array:
        first = jnp.minimum(number * size, count - size)
        rows = piece(table, first, size, x.dtype)
        own = jnp.einsum("...D,VD->...V", x, rows, preferred_element_type=jnp.float32)
        return jax.lax.dynamic_update_slice_in_dim(found, own, first, x.ndim - 1)

    whole = jnp.zeros((*x.shape[:-1], count), jnp.float32)
    return jax.lax.fori_loop(0, -(-count // size), of_piece, whole)

"""Frozen weights in 4 or 8 bits: quantized array by array, and made into numbers again inside of a layer's program.

A stacked weight `w` `[L, ...]` that is quantized has four arrays in its place: the codes of its values, in blocks of
64; and the blocks' scales, which are quantized themselves. `w_nf4` has two codes a byte, of the 16 levels of the
4-bit NormalFloat; `w_int8` has whole numbers. A layer turns its own into an array of the computation's dtype and drops
that again: there is no copy of two layers at once.

Sources: QLoRA (https://arxiv.org/abs/2305.14314) for the levels (its appendix E), the block size and scales that are
quantized in groups of 256 blocks. Here a scale has 8 bits on a logarithmic scale between the smallest and the largest
one of its group, rounded up: where the paper's are evenly spaced around a mean, one block with an outlier would make
those of the 255 others coarse.

Axes: L layers, C blocks of a layer, G groups of blocks of a layer.
"""

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int8, UInt8

from palitune.config.quantization import INT8, NF4
from palitune.models import lora
from palitune.models.arrays import AnyArray, HostArray, Tree

LEVELS = (  # of NF4, which normally distributed values hit equally often; zero is one of them
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
BLOCK = 64  # values with one scale
GROUP = 256  # blocks whose scales are between the same two
CODES = {NF4: "_nf4", INT8: "_int8"}  # what a path has behind it
SCALE, LOW, STEP = "_scale", "_low", "_step"  # and behind that
SCALES = 255  # steps between the smallest scale of a group and the largest
RANGE = 24  # octaves between them; what is smaller than that is next to nothing beside its neighbours
SMALLEST = 2.0**-100  # scale
MARGIN = 2e-6  # octaves: more than float32 rounds a scale by, so that no value is beyond it
THREADS = 8
TOGETHER = 64  # groups that are quantized at once: 4 MB of float32
BINS = 4096  # of values between -1 and 1, none of which has more than one border between two levels
_LEVELS = np.array(LEVELS, np.float32)
_BORDERS = np.append((_LEVELS[1:] + _LEVELS[:-1]) / 2, np.float32(2))
# How many borders are surely below the values of a bin.
_BELOW = np.searchsorted(_BORDERS, np.arange(BINS) / (BINS / 2) - 1 - 1 / BINS).astype(np.uint8)


class Quantized(NamedTuple):
    """The arrays in place of a weight `[L, ...]`; of one layer they have no axis L."""

    codes: UInt8[AnyArray, "*L C 32"] | Int8[AnyArray, "*L C 64"]
    scale: UInt8[AnyArray, "*L C"]
    low: Float32[AnyArray, "*L G"]  # logarithms to base 2 of a group's smallest scale
    step: Float32[AnyArray, "*L G"]  # and of what one step of the code multiplies it by

    @classmethod
    def of(cls, arrays: Mapping[str, AnyArray], path: str, kind: str) -> "Quantized":
        """The arrays of the weight at `path` among others."""
        return cls(*(arrays[name] for name in names(path, kind)))


class Described(NamedTuple):
    """Shape and dtype of an array that is not there."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def names(path: str, kind: str) -> tuple[str, str, str, str]:
    """The paths of the arrays in place of the weight at `path`."""
    codes = path + CODES[kind]
    return codes, codes + SCALE, codes + LOW, codes + STEP


def can_quantize(path: str) -> bool:
    """Whether a parameter is one that can be quantized so: a weight of a language model's layers."""
    return lora.can_adapt(path)


def described(shape: tuple[int, ...], kind: str) -> Quantized:
    """Shapes and dtypes of the arrays in place of a weight of this shape `[L, ...]`."""
    depth, blocks = shape[0], math.ceil(math.prod(shape[1:]) / BLOCK)
    groups = math.ceil(blocks / GROUP)
    codes = (depth, blocks, BLOCK // 2) if kind == NF4 else (depth, blocks, BLOCK)
    found = (
        Described(codes, np.dtype(np.uint8 if kind == NF4 else np.int8)),
        Described((depth, blocks), np.dtype(np.uint8)),
        Described((depth, groups), np.dtype(np.float32)),
        Described((depth, groups), np.dtype(np.float32)),
    )
    return Quantized(*cast(tuple[Tree, Tree, Tree, Tree], found))


def quantize(weight: Tree, kind: str) -> Quantized:
    """A weight `[L, ...]` quantized on the host, a few megabytes at a time.

    Args:
      weight: an array of NumPy, or one that is read in slices of axis 0; any float dtype.

    Raises:
      ValueError: a value is not finite.
    """
    made = Quantized(*(np.empty(one.shape, one.dtype) for one in described(tuple(weight.shape), kind)))
    size = BLOCK * GROUP * TOGETHER
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:  # NumPy lets go of the interpreter's lock
        for layer in range(weight.shape[0]):
            values = np.asarray(weight[layer : layer + 1]).reshape(-1)
            starts = range(0, len(values), size)
            pieces = (values[first : first + size] for first in starts)
            for first, found in zip(starts, threads.map(lambda piece: _quantize(piece, kind), pieces), strict=True):
                block, group = first // BLOCK, first // (BLOCK * GROUP)
                for whole, part, start in zip(made, found, (block, block, group, group), strict=True):
                    whole[layer, start : start + len(part)] = part
    return made


def _quantize(values: Float[HostArray, " n"], kind: str) -> Quantized:
    """Whole groups of blocks; values that a last block lacks are zero."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    count = -(-len(values) // BLOCK)
    blocks = np.pad(values, (0, count * BLOCK - len(values))).reshape(count, BLOCK)
    scale, low, step = _quantize_scales(np.abs(blocks).max(axis=1))
    blocks /= _scales(scale, low, step, np)[:, None]
    if kind == INT8:
        codes = np.rint(blocks * 127).astype(np.int8)
    else:
        codes = _nearest(blocks)
        codes = codes[:, : BLOCK // 2] | (codes[:, BLOCK // 2 :] << 4)
    return Quantized(codes, scale, low, step)


def _nearest(values: Float32[HostArray, "C 64"]) -> UInt8[HostArray, "C 64"]:
    """The number of the level nearest to each value between -1 and 1."""
    bins = np.minimum((values + 1) * (BINS / 2), BINS - 1).astype(np.int16)
    codes = _BELOW[bins]
    codes += values > _BORDERS[codes]
    return codes


def _quantize_scales(
    largest: Float32[HostArray, " C"],
) -> tuple[UInt8[HostArray, " C"], Float32[HostArray, " G"], Float32[HostArray, " G"]]:
    """Codes of scales that are at least these, with the logarithms of each group's smallest one and of its steps."""
    groups = -(-len(largest) // GROUP)
    padded = np.pad(largest, (0, groups * GROUP - len(largest)), mode="edge").reshape(groups, GROUP)
    logarithms = np.log2(np.maximum(padded, SMALLEST), dtype=np.float64)
    top = logarithms.max(axis=1) + MARGIN
    logarithms = np.maximum(logarithms, top[:, None] - RANGE)
    low = logarithms.min(axis=1)
    step = (top - low) / SCALES
    codes = np.clip(np.ceil((logarithms + MARGIN / 2 - low[:, None]) / step[:, None]), 0, SCALES).astype(np.uint8)
    return codes.reshape(-1)[: len(largest)], low.astype(np.float32), step.astype(np.float32)


def _scales(scale: AnyArray, low: AnyArray, step: AnyArray, np: Tree) -> Tree:
    """The scales float32[C] of a layer's blocks; computed by the module `np`, NumPy's or JAX's."""
    count, groups = scale.shape[0], low.shape[0]
    codes = np.pad(scale, (0, groups * GROUP - count)).reshape(groups, GROUP).astype(np.float32)
    return np.exp2(low[:, None] + step[:, None] * codes).reshape(-1)[:count]


def dequantize(quantized: Quantized, shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """One layer's weight, `dtype` of `shape`, from its arrays without the axis L."""
    codes = jnp.asarray(quantized.codes)
    scales = _scales(jnp.asarray(quantized.scale), jnp.asarray(quantized.low), jnp.asarray(quantized.step), jnp)
    if codes.dtype == jnp.uint8:
        levels = jnp.asarray(LEVELS, jnp.float32)
        both = jnp.concatenate([codes & 15, codes >> 4], axis=-1)
        blocks = levels.at[both].get(mode="promise_in_bounds") * scales[:, None]
    else:
        blocks = codes.astype(jnp.float32) * (scales[:, None] / 127)
    return blocks.astype(dtype).reshape(-1)[: math.prod(shape)].reshape(shape)


_dequantize = jax.jit(dequantize, static_argnums=(1, 2))


class Dequantized:
    """A quantized weight as an array `[L, ...]` that is read in slices of axis 0, float32."""

    dtype = np.dtype(np.float32)

    def __init__(self, quantized: Quantized, shape: tuple[int, ...]) -> None:
        self.quantized, self.shape = quantized, shape
        self.ndim, self.size = len(shape), math.prod(shape)

    def __getitem__(self, layers: slice) -> HostArray:
        """Some layers, as they are computed with."""
        chosen = range(*layers.indices(self.shape[0]))
        each = [Quantized(*(array[layer] for array in self.quantized)) for layer in chosen]
        made = [np.asarray(_dequantize(layer, self.shape[1:], "float32")) for layer in each]
        return np.stack(made) if made else np.empty((0, *self.shape[1:]), np.float32)


def of(
    module: nn.Module, name: str, init: nn.initializers.Initializer, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    """A module's parameter `name` in the dtype of the computation, as an array or as it is quantized."""
    for kind in CODES:
        if module.has_variable("params", name + CODES[kind]):
            arrays: dict[str, Tree] = {part: module.get_variable("params", part) for part in names(name, kind)}
            return dequantize(Quantized.of(arrays, name, kind), shape, dtype)
    parameter: jax.Array = module.param(name, init, shape)
    return parameter.astype(dtype)

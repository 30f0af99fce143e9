"""Weights in 4 and 8 bits: the paper's levels, the nearest of them, errors within their bounds, a layer's memory."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from scipy.stats import norm

from palitune.config.quantization import INT8, NF4
from palitune.models import weight
from palitune.models.weight import BLOCK, LEVELS, Quantized

LARGEST_GAP = max(np.diff(LEVELS))


def there_and_back(values: np.ndarray, kind: str) -> np.ndarray:
    quantized = weight.quantize(values, kind)
    return np.asarray(weight.Dequantized(quantized, values.shape)[:])


def test_the_levels_are_those_of_the_paper() -> None:
    """Quantiles of the normal distribution, a half of them on each side of zero: QLoRA, section 3 and appendix E."""
    offset = (1 - 1 / 32 + 1 - 1 / 30) / 2
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([below, [0.0], above]))
    np.testing.assert_allclose(LEVELS, levels / np.abs(levels).max(), rtol=0, atol=1e-6)
    assert len(LEVELS) == 16


def test_every_level_comes_back_exactly_and_nothing_is_nearer() -> None:
    levels = np.array(LEVELS, np.float32)
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (500, BLOCK)).astype(np.float32)
    borders = (levels[1:] + levels[:-1]) / 2
    values[0, :15], values[1, :16] = borders, levels
    values[2, :15], values[3, :15] = np.nextafter(borders, 2), np.nextafter(borders, -2)
    codes = weight._nearest(values)
    assert codes[1, :16].tolist() == list(range(16))
    assert codes[2, :15].tolist() == list(range(1, 16))
    assert codes[3, :15].tolist() == list(range(15))
    distances = np.abs(values[..., None].astype(np.float64) - levels)
    chosen = np.take_along_axis(distances, codes[..., None].astype(np.int64), axis=-1)[..., 0]
    assert (chosen - distances.min(axis=-1)).max() < 1e-7


def blocks_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random blocks [count, 64] of many magnitudes, with outliers, zeros and heavy tails among them."""
    blocks = rng.normal(size=(count, BLOCK)) * np.exp(rng.normal(scale=3, size=(count, 1)))
    blocks[::7] = rng.standard_t(2, size=blocks[::7].shape)
    blocks[::11, rng.integers(BLOCK)] *= 1e4
    blocks[::13] = 0
    blocks[::17, 1:] = 0
    return blocks.astype(np.float32)


@pytest.mark.parametrize("kind", [NF4, INT8])
def test_errors_are_within_their_bound(kind: str) -> None:
    """10,000 random blocks: half the distance between two levels, times a scale that is hardly above the largest."""
    blocks = blocks_of(np.random.default_rng(1), 10_000)
    quantized = weight.quantize(blocks.reshape(1, -1), kind)
    found = weight.Dequantized(quantized, (1, blocks.size))[:].reshape(blocks.shape)
    largest = np.abs(blocks).max(axis=1)
    # What is next to nothing beside the largest of its group has the scale that RANGE octaves end at.
    groups = np.maximum.reduceat(largest, np.arange(0, len(largest), weight.GROUP))
    floor = np.repeat(groups, weight.GROUP)[: len(largest)] * 2.0**-weight.RANGE
    # A scale is at most one step above that: 255 steps are what there is between the scales of a group.
    step = np.repeat(quantized.step[0], weight.GROUP)[: len(largest)].astype(np.float64)
    assert (step <= weight.RANGE / weight.SCALES * (1 + 1e-6)).all()
    half = LARGEST_GAP / 2 if kind == NF4 else 0.5 / 127
    wrong = np.abs(found.astype(np.float64) - blocks).max(axis=1)
    assert (wrong <= half * np.maximum(largest, floor) * 2**step * (1 + 1e-4)).all()
    assert (wrong > 0).mean() > 0.8
    assert (found[::13] == 0).all()


@pytest.mark.parametrize(("kind", "lowest", "highest"), [(NF4, 0.09, 0.094), (INT8, 0.0055, 0.0065)])
def test_normal_weights_have_the_error_that_is_known(kind: str, lowest: float, highest: float) -> None:
    values = np.random.default_rng(2).normal(size=(1, 1 << 18)).astype(np.float32)
    wrong = there_and_back(values, kind) - values
    assert lowest < np.sqrt(np.square(wrong).mean()) < highest


def test_an_outlier_costs_its_own_block_and_not_its_group() -> None:
    values = np.random.default_rng(3).normal(size=(1, BLOCK * weight.GROUP)).astype(np.float32)
    plain = there_and_back(values, NF4)
    values[0, 0] = 1e4
    found = there_and_back(values, NF4)
    wrong = np.sqrt(np.square(found[0, BLOCK:] - values[0, BLOCK:]).mean())
    assert wrong < 1.05 * np.sqrt(np.square(plain[0, BLOCK:] - values[0, BLOCK:]).mean())
    assert found[0, 0] == pytest.approx(1e4, rel=1e-2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5), (2, 64), (1, 2, 63, 9), (2, 4, 130, 130)])
@pytest.mark.parametrize("kind", [NF4, INT8])
def test_shapes_of_any_size(kind: str, shape: tuple[int, ...], dtype: type) -> None:
    """Layers that are no whole number of blocks or groups, in every dtype that checkpoints have."""
    values = np.random.default_rng(4).normal(size=shape).astype(dtype)
    quantized = weight.quantize(values, kind)
    described = weight.described(shape, kind)
    assert [(one.shape, one.dtype) for one in quantized] == [(one.shape, one.dtype) for one in described]
    found = weight.Dequantized(quantized, shape)[:]
    assert found.shape == shape
    assert np.abs(found - values.astype(np.float32)).max() < 0.16 * np.abs(values.astype(np.float32)).max()
    layer = Quantized(*(array[-1] for array in quantized))
    np.testing.assert_allclose(weight.dequantize(layer, shape[1:], jnp.float32), found[-1], rtol=1e-6)
    assert weight.dequantize(layer, shape[1:], jnp.bfloat16).dtype == jnp.bfloat16


def test_bits_of_a_weight() -> None:
    for kind, bits in ((NF4, 4.13), (INT8, 8.13)):
        found = weight.described((18, 2, 2048, 16_384), kind)
        size = sum(math.prod(one.shape) * one.dtype.itemsize for one in found)
        assert 8 * size / (18 * 2 * 2048 * 16_384) == pytest.approx(bits, abs=2e-3)


def test_values_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        values = np.zeros((2, 100), np.float32)
        values[1, 99] = bad
        with pytest.raises(ValueError, match="not finite"):
            weight.quantize(values, NF4)


class Layer(nn.Module):
    """Two large weights one after the other."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for name in ("first", "second"):
            x = x @ weight.of(self, name, nn.initializers.zeros, (SIDE, SIDE), x.dtype)
        return x


SIDE, DEPTH = 512, 16


def test_one_layer_at_a_time_is_there_as_numbers() -> None:
    """A gradient through 16 layers takes the memory of a few layers' numbers and not of all, which is the property."""
    rng = np.random.default_rng(5)
    stacks: dict[str, np.ndarray] = {}
    for name in ("first", "second"):
        made = weight.quantize(rng.normal(size=(DEPTH, SIDE, SIDE)).astype(np.float32) * SIDE**-0.5, NF4)
        stacks |= dict(zip(weight.names(name, NF4), made, strict=True))

    @jax.jit
    def gradient(stacks: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        @jax.checkpoint
        def layer(x: jax.Array, params: dict[str, jax.Array]) -> tuple[jax.Array, None]:
            return Layer().apply({"params": params}, x), None

        return jax.grad(lambda x: jax.lax.scan(layer, x, stacks)[0].sum())(x)

    compiled = gradient.lower(stacks, jnp.ones((4, SIDE))).compile()
    numbers = 4 * SIDE * SIDE  # bytes of one weight in float32
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * numbers
    assert 2 * DEPTH * numbers > 30 * numbers

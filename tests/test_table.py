"""The embedding table in 8 bits: rows, logits and losses are those of its numbers, and it goes by in pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palitune.models import table
from palitune.models.table import Rows
from palitune.train import objective

V, D = 333, 24


@pytest.fixture
def both() -> tuple[Rows, np.ndarray]:
    """A quantized table, and the numbers that it stands for."""
    values = np.random.default_rng(0).normal(size=(V, D)).astype(np.float16)
    values[7] = 0
    values[8, 3] = 300
    rows = table.quantize(values, rows=100)
    return Rows(jnp.asarray(rows.codes), jnp.asarray(rows.scale)), np.asarray(table.Dequantized(rows)[0:V])


def test_a_row_is_within_half_a_step(both: tuple[Rows, np.ndarray]) -> None:
    values = np.random.default_rng(0).normal(size=(V, D)).astype(np.float16).astype(np.float32)
    values[7], values[8, 3] = 0, 300
    assert (np.abs(both[1] - values).max(axis=1) <= np.abs(values).max(axis=1) / 127 / 2 * 1.0001).all()
    assert not both[1][7].any()


def test_rows_and_logits(both: tuple[Rows, np.ndarray]) -> None:
    rows, numbers = both
    tokens = np.array([[0, 7, 8], [332, 5, 5]])
    np.testing.assert_allclose(table.take(rows, tokens, jnp.float32), numbers[tokens], rtol=1e-6)
    x = np.random.default_rng(1).normal(size=(2, 3, D)).astype(np.float32)
    np.testing.assert_allclose(table.logits(rows, jnp.asarray(x)), x @ numbers.T, rtol=1e-5, atol=1e-3)
    assert table.logits(rows, jnp.asarray(x[0, 0])).shape == (V,)


@pytest.mark.parametrize("chunks", [1, 7, 40])
@pytest.mark.parametrize(("smoothing", "softcap"), [(0.0, None), (0.1, 5.0)])
def test_losses_and_gradients(
    both: tuple[Rows, np.ndarray], chunks: int, smoothing: float, softcap: float | None
) -> None:
    rows, numbers = both
    rng = np.random.default_rng(2)
    hidden, targets = jnp.asarray(rng.normal(size=(5, D)) / 4, jnp.float32), np.array([0, 332, 8, 7, 100])

    def loss(hidden: jax.Array, which: table.Table) -> jax.Array:
        return objective.token_losses(hidden, which, targets, chunks, smoothing, softcap)[0].sum()

    np.testing.assert_allclose(loss(hidden, rows), loss(hidden, jnp.asarray(numbers)), rtol=1e-5)
    found, expected = (jax.grad(loss)(hidden, which) for which in (rows, jnp.asarray(numbers)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_no_whole_copy_is_made() -> None:
    """Beside the logits there is a sixteenth of the table's numbers, not all of them."""
    rows = Rows(jax.ShapeDtypeStruct((16_384, 256), jnp.int8), jax.ShapeDtypeStruct((16_384,), jnp.float32))
    x = jax.ShapeDtypeStruct((2, 256), jnp.float32)
    whole, logits = 4 * 16_384 * 256, 4 * 2 * 16_384
    compiled = jax.jit(table.logits).lower(rows, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < whole / 4 + 2 * logits

    def gradient(rows: Rows, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: objective.token_losses(x, rows, np.zeros(2, np.int32))[0].sum())(x)

    compiled = jax.jit(gradient).lower(rows, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < whole / 4 + 4 * logits


def test_values_that_are_not_finite_are_refused() -> None:
    values = np.zeros((V, D), np.float32)
    values[-1, -1] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        table.quantize(values)

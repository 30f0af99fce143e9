"""Attention's own backward pass against the one that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palitune.models import attention
from palitune.models.attention import MASKED_LOGIT, attend


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("masked", [False, True])
def test_value_and_gradients(softcap: float | None, masked: bool) -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    q = jax.random.normal(keys[0], (2, 3, 5, 4))
    k, v = (jax.random.normal(key, (2, 6, 3, 4)) for key in keys[1:3])
    mask = jax.random.bernoulli(keys[3], 0.7, (2, 5, 6)).at[:, :, 0].set(True) if masked else None

    def direct(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        logits = jnp.einsum("BKQH,BSKH->BKQS", q, k)
        if softcap:
            logits = jnp.tanh(logits / softcap) * softcap
        if mask is not None:
            logits = jnp.where(mask[:, None], logits, MASKED_LOGIT)
        return jnp.einsum("BKQS,BSKH->BKQH", jax.nn.softmax(logits), v)

    found, pull = jax.vjp(lambda q, k, v: attend(q, k, v, mask, softcap), q, k, v)
    expected, pull_direct = jax.vjp(direct, q, k, v)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    cotangent = jax.random.normal(jax.random.key(9), found.shape)
    for mine, theirs in zip(pull(cotangent), pull_direct(cotangent), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 8, 4])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("most", [1, 40, 200])
def test_some_queries_at_a_time_are_all_of_them(
    monkeypatch: pytest.MonkeyPatch, most: int, softcap: float | None, rows: int
) -> None:
    """The same values and gradients, whether the queries divide into the pieces or not, and share the mask's rows."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 1, 8, 4), (2, 5, 1, 4), (2, 5, 1, 4)))
    mask = jnp.asarray(rng.random((2, rows, 5)) < 0.7) if rows else None
    weights = jnp.asarray(rng.normal(size=(2, 1, 8, 4)), jnp.float32)

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return (attention.attend(q, k, v, mask, softcap) * weights).sum()

    expected = attention.attend(q, k, v, mask, softcap), jax.grad(loss, (0, 1, 2))(q, k, v)
    monkeypatch.setattr(attention, "MOST_SCORES", most)
    found = attention.attend(q, k, v, mask, softcap), jax.grad(loss, (0, 1, 2))(q, k, v)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5), found, expected)


def test_the_scores_of_some_queries_are_there_at_once() -> None:
    """Of 2^28 scores, a gigabyte in float32, a few pieces are there, on the way back too."""
    q = jax.ShapeDtypeStruct((1, 4, 8192, 8), jnp.float32)
    k = jax.ShapeDtypeStruct((1, 8192, 4, 8), jnp.float32)

    def gradient(q: jax.Array, k: jax.Array) -> jax.Array:
        return jax.grad(lambda q: attention.attend(q, k, k, None, None).sum())(q)

    compiled = jax.jit(gradient).lower(q, k).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * attention.MOST_SCORES

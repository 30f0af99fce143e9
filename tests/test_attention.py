"""Attention's own backward pass against the one that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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

"""Attention between queries, keys and values, with a backward pass that keeps little.

Axes: B batch, K key/value heads, Q queries of one key head, S keys, H head width, M sequence.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from palitune.models.arrays import AnyArray

# Queries, keys, values, probabilities, the soft-cap's derivative and the result, for the backward pass.
Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array | None, jax.Array]
MASKED_LOGIT = -2.3819763e38  # google-deepmind/gemma, modules.py: K_MASK


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def attend(
    q: Float[Array, "B K Q H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    mask: Bool[Array, "B Q S"] | None,
    softcap: float | None,
) -> Float[Array, "B K Q H"]:
    """softmax(q k) v, with the softmax in float32.

    The derivative of the softmax takes its row sums from the result, as FlashAttention does
    (https://arxiv.org/abs/2205.14135, appendix B.2), and not from another pass over [B, K, Q, S].

    Args:
      q: [B, K, Q, H], scaled.
      k, v: [B, S, K, H].
      mask: bool[B, Q, S], true where a query may attend to a key; without a mask, every query attends to every key.
      softcap: logits are squeezed into (-softcap, softcap) by a tanh.

    Returns:
      [B, K, Q, H] in the dtype of `q`.
    """
    return _forward(q, k, v, mask, softcap)[0]


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, softcap: float | None
) -> tuple[jax.Array, Residuals]:
    logits = jnp.einsum("BKQH,BSKH->BKQS", q, k, preferred_element_type=jnp.float32)
    slope = None
    if softcap:
        squeezed = jnp.tanh(logits / softcap)
        logits, slope = squeezed * softcap, 1 - squeezed**2
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, MASKED_LOGIT)
    p = jax.nn.softmax(logits, axis=-1).astype(q.dtype)
    out = jnp.einsum("BKQS,BSKH->BKQH", p, v)
    return out, (q, k, v, p, slope, out)


def _backward(
    softcap: float | None, residuals: Residuals, d_out: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, p, slope, out = residuals
    d_p = jnp.einsum("BKQH,BSKH->BKQS", d_out, v, preferred_element_type=jnp.float32)
    row_sums = jnp.sum(d_out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True)
    d_logits = p.astype(jnp.float32) * (d_p - row_sums)
    if slope is not None:
        d_logits *= slope
    d_logits = d_logits.astype(q.dtype)
    d_q = jnp.einsum("BKQS,BSKH->BKQH", d_logits, k)
    d_k = jnp.einsum("BKQS,BKQH->BSKH", d_logits, q)
    return d_q, d_k, jnp.einsum("BKQS,BKQH->BSKH", p, d_out), None


attend.defvjp(_forward, _backward)


def attention_mask(real: Bool[AnyArray, "B M"], blocks: Int[AnyArray, "B M"]) -> Bool[Array, "B M M"]:
    """Which token may attend to which, `bool[B, M, M]` (query, key): real tokens of its own block and of lower ones.

    Args:
      real: bool[B, M], true for a real token, false for padding.
      blocks: int[B, M]. With `[0 0 0 1 2]` the first three see each other and the last two are causal.

    Source: `make_attn_mask` of big_vision's `models/proj/paligemma/paligemma.py`, which counts blocks up from 0.
    """
    visible = blocks[:, None, :] <= blocks[:, :, None]
    return jnp.asarray(visible & real[:, None, :] & real[:, :, None])

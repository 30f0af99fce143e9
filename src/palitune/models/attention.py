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
MOST_SCORES = 1 << 26  # of attention that are there at once: 256 MB in float32
MASKED_LOGIT = -2.3819763e38  # google-deepmind/gemma, modules.py: K_MASK


def attend(
    q: Float[Array, "B K Q H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    mask: Bool[Array, "B _ S"] | None,
    softcap: float | None,
) -> Float[Array, "B K Q H"]:
    """softmax(q k) v, with the softmax in float32.

    The derivative of the softmax takes its row sums from the result, as FlashAttention does
    (https://arxiv.org/abs/2205.14135, appendix B.2), and not from another pass over [B, K, Q, S]. Where that array is
    large, some queries go by at a time, and once more on the way back: of images of 896 pixels, with 4,096 tokens, it
    would be the largest of all by far.

    Args:
      q: [B, K, Q, H], scaled.
      k, v: [B, S, K, H].
      mask: bool[B, Q, S], true where a query may attend to a key; or bool[B, Q / G, S], where G queries one after
        another see the same. Without a mask, every query attends to every key.
      softcap: logits are squeezed into (-softcap, softcap) by a tanh.

    Returns:
      [B, K, Q, H] in the dtype of `q`.
    """
    batch, heads, queries, _ = q.shape
    each = batch * heads * k.shape[1]
    if queries * each <= MOST_SCORES:
        return _attend(q, k, v, mask, softcap)
    rows = queries if mask is None else mask.shape[1]
    pieces = min(rows, -(-queries * each // MOST_SCORES))
    size = -(-rows // pieces)  # of a piece, in rows of the mask

    def split(array: jax.Array, axis: int) -> jax.Array:
        own = size * (array.shape[axis] // rows)
        added = pieces * own - array.shape[axis]  # rows of padding, which see nothing
        padded = jnp.pad(array, [(0, added if n == axis else 0) for n in range(array.ndim)])
        return jnp.moveaxis(padded.reshape(*array.shape[:axis], pieces, own, *array.shape[axis + 1 :]), axis, 0)

    @jax.checkpoint  # without it the probabilities of all pieces would be kept for the way back
    def of_piece(piece: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        return _attend(piece[0], k, v, piece[1], softcap)

    found = jax.lax.map(of_piece, (split(q, 2), None if mask is None else split(mask, 1)))
    return jnp.moveaxis(found, 0, 2).reshape(batch, heads, -1, q.shape[-1])[:, :, :queries]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, softcap: float | None) -> jax.Array:
    """`attend` of all queries at once."""
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
        together = jnp.repeat(mask, q.shape[2] // mask.shape[1], axis=1)  # part of what follows, and no array
        logits = jnp.where(together[:, None], logits, MASKED_LOGIT)
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


_attend.defvjp(_forward, _backward)


def attention_mask(real: Bool[AnyArray, "B M"], blocks: Int[AnyArray, "B M"]) -> Bool[Array, "B M M"]:
    """Which token may attend to which, `bool[B, M, M]` (query, key): real tokens of its own block and of lower ones.

    Args:
      real: bool[B, M], true for a real token, false for padding.
      blocks: int[B, M]. With `[0 0 0 1 2]` the first three see each other and the last two are causal.

    Source: `make_attn_mask` of big_vision's `models/proj/paligemma/paligemma.py`, which counts blocks up from 0.
    """
    visible = blocks[:, None, :] <= blocks[:, :, None]
    return jnp.asarray(visible & real[:, None, :] & real[:, :, None])

"""What learning makes small: the cross-entropy of the answer's tokens.

Axes: B batch, K loss tokens, M = B * K of them together, T text tokens, N image tokens, D width, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from palitune.data.batches import Batch
from palitune.models import paligemma
from palitune.models.variants import PaliGemmaConfig


def loss(
    config: PaliGemmaConfig, params: Mapping[str, Any], batch: Batch, dtype: Any = jnp.float32, chunks: int = 1
) -> jax.Array:
    """float32[]: the mean over an example's loss tokens, then over the examples."""
    zimg = paligemma.image_tokens(config, params, batch.image, dtype)
    hidden = paligemma.hidden_states(config, params, zimg, batch.text, batch.mask_ar, batch.mask_input)
    chosen = jnp.take_along_axis(hidden, batch.positions[..., None], axis=1)
    return mean_loss(chosen, params["llm"]["embedder"]["input_embedding"], batch, chunks)


def mean_loss(hidden: jax.Array, table: jax.Array, batch: Batch, chunks: int) -> jax.Array:
    """float32[] of the hidden states [B, K, D] where the loss counts: logits are [B, K, V] and never [B, T, V]."""
    losses = token_losses(hidden.reshape(-1, hidden.shape[-1]), table, batch.targets.reshape(-1), chunks)
    counts = jnp.maximum(jnp.sum(batch.weights, axis=-1), 1)
    return jnp.mean(jnp.sum(losses.reshape(batch.weights.shape) * batch.weights, axis=-1) / counts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def token_losses(hidden: jax.Array, table: jax.Array, targets: jax.Array, chunks: int) -> jax.Array:
    """Cross-entropy float32[M] of hidden states [M, D] against the embedding table [V, D] and targets int[M].

    With `chunks` above 1 the vocabulary goes by in as many pieces, [M, V / chunks] logits at a time, twice: once for
    the loss and once for the gradient.
    """
    return _forward(hidden, table, targets, chunks)[0]


def _logits(hidden: jax.Array, rows: jax.Array) -> jax.Array:
    return jnp.einsum("MD,VD->MV", hidden, rows.astype(hidden.dtype), preferred_element_type=jnp.float32)


def _piece(table: jax.Array, chunk: Any, chunks: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows of one chunk of the table, the number of its first row, and which of the rows no earlier chunk had."""
    size = -(-table.shape[0] // chunks)
    start = jnp.minimum(chunk * size, table.shape[0] - size)
    return jax.lax.dynamic_slice_in_dim(table, start, size), start, start + jnp.arange(size) >= chunk * size


def _forward(hidden: jax.Array, table: jax.Array, targets: jax.Array, chunks: int) -> Any:
    if chunks == 1:
        logits = _logits(hidden, table)
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        losses = normalizer - jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        return losses, (hidden, table, targets, normalizer, logits)

    def piece(chunk: Any, carry: Any) -> Any:
        top, total = carry
        rows, _, new = _piece(table, chunk, chunks)
        logits = jnp.where(new, _logits(hidden, rows), -jnp.inf)
        higher = jnp.maximum(top, jnp.max(logits, axis=-1))
        return higher, total * jnp.exp(top - higher) + jnp.sum(jnp.exp(logits - higher[:, None]), axis=-1)

    start = (jnp.full(targets.shape, -jnp.inf), jnp.zeros(targets.shape))
    top, total = jax.lax.fori_loop(0, chunks, piece, start)
    normalizer = top + jnp.log(total)
    own = jnp.einsum("MD,MD->M", hidden, table[targets].astype(hidden.dtype), preferred_element_type=jnp.float32)
    return normalizer - own, (hidden, table, targets, normalizer, None)


def _backward(chunks: int, kept: Any, cotangent: jax.Array) -> Any:
    hidden, table, targets, normalizer, logits = kept

    def of_logits(logits: jax.Array, first: Any, new: Any) -> jax.Array:
        """The gradient of the logits of rows `first`..., in the dtype of the computation."""
        columns = first + jnp.arange(logits.shape[1])
        probabilities = jnp.exp(logits - normalizer[:, None])
        difference = probabilities - (columns[None] == targets[:, None])
        return jnp.where(new, difference * cotangent[:, None], 0).astype(hidden.dtype)

    if chunks == 1:
        d_logits = of_logits(logits, 0, True)
        d_table = jnp.einsum("MV,MD->VD", d_logits, hidden).astype(table.dtype)
        return jnp.einsum("MV,VD->MD", d_logits, table.astype(hidden.dtype)), d_table, None

    def piece(chunk: Any, carry: Any) -> Any:
        d_hidden, d_table = carry
        rows, first, new = _piece(table, chunk, chunks)
        d_logits = of_logits(_logits(hidden, rows), first, new)
        d_hidden += jnp.einsum("MV,VD->MD", d_logits, rows.astype(hidden.dtype), preferred_element_type=jnp.float32)
        d_rows = jnp.einsum("MV,MD->VD", d_logits, hidden).astype(table.dtype)
        size = d_rows.shape[0]
        before = jax.lax.dynamic_slice_in_dim(d_table, first, size)
        return d_hidden, jax.lax.dynamic_update_slice_in_dim(d_table, before + d_rows, first, 0)

    zeros = (jnp.zeros(hidden.shape), jnp.zeros_like(table))
    d_hidden, d_table = jax.lax.fori_loop(0, chunks, piece, zeros)
    return d_hidden.astype(hidden.dtype), d_table, None


token_losses.defvjp(lambda hidden, table, targets, chunks: _forward(hidden, table, targets, chunks), _backward)

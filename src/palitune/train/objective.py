"""What learning makes small: the cross-entropy of the answer's tokens.

Axes: B batch, K loss tokens, M = B * K of them together, T text tokens, N image tokens, D width, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int

from palitune.data.batches import Batch
from palitune.models import gathering, gemma, multimodal
from palitune.models import table as tables
from palitune.models.arrays import AnyArray, Index, Params, Tree
from palitune.models.gemma import Dropout
from palitune.models.spec import ModelSpec
from palitune.models.table import Rows, Table

# Hidden states, table, targets, normalizers and, without chunks, the logits: for the backward pass.
Residuals = tuple[jax.Array, Table, AnyArray, jax.Array, jax.Array | None]


class Loss(NamedTuple):
    """What the loss tokens of a batch say."""

    value: Float32[Array, ""]
    accuracy: Float32[Array, ""]  # share of the loss tokens that are the likeliest ones


def loss(
    config: ModelSpec,
    params: Params,
    batch: Batch,
    dtype: DTypeLike = jnp.float32,
    chunks: int = 1,
    smoothing: float = 0.0,
    dropout: Dropout | None = None,
) -> Loss:
    """The mean over an example's loss tokens, then over the examples. `dropout` is as in `gemma.hidden_states`."""
    zimg = multimodal.image_tokens(config, params, batch.image, dtype)
    hidden = multimodal.hidden_states(config, params, zimg, text_of(batch), dropout)
    chosen = jnp.take_along_axis(hidden, batch.positions[..., None], axis=1)
    softcap = config.llm.final_logits_softcap
    return mean_loss(chosen, gemma.output_table(params["llm"]), batch, chunks, smoothing, softcap)


def text_of(batch: Batch) -> multimodal.Text:
    """The text of a batch, as the model takes it."""
    return multimodal.Text(
        batch.text, batch.mask_ar, batch.mask_input, batch.image_places, batch.order, batch.segments, batch.branches
    )


def mean_loss(
    hidden: Float[Array, "B K D"],
    table: Table,
    batch: Batch,
    chunks: int = 1,
    smoothing: float = 0.0,
    softcap: float | None = None,
) -> Loss:
    """Of the hidden states [B, K, D] where the loss counts: logits are [B, K, V] and never [B, T, V].

    An example's weight, its class's for instance, is that of its tokens: it counts in the loss, not in the accuracy.
    """
    hidden, targets = gathering.beside_table((hidden, batch.targets))
    losses, right = token_losses(
        hidden.reshape(-1, hidden.shape[-1]), table, targets.reshape(-1), chunks, smoothing, softcap
    )
    real = (batch.weights > 0).astype(jnp.float32)
    counts = jnp.maximum(jnp.sum(real, axis=-1), 1)
    value = jnp.mean(jnp.sum(losses.reshape(real.shape) * batch.weights, axis=-1) / counts)
    return Loss(value, jnp.sum(right.reshape(real.shape) * real) / jnp.maximum(jnp.sum(real), 1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def token_losses(
    hidden: Float[Array, "M D"],
    table: Rows | Float[AnyArray, "V D"],
    targets: Int[AnyArray, " M"],
    chunks: int = 1,
    smoothing: float = 0.0,
    softcap: float | None = None,
) -> tuple[Float32[Array, " M"], Float32[Array, " M"]]:
    """Cross-entropy float32[M] of hidden states [M, D] against the embedding table [V, D] and targets int[M].

    Beside it float32[M], 1 where no other token is likelier than the target. With `smoothing` that share of every
    target goes evenly to the whole vocabulary (https://arxiv.org/abs/1512.00567); with `softcap` a tanh squeezes logits
    into (-softcap, softcap).
    With `chunks` above 1 the vocabulary goes by in as many pieces, [M, V / chunks] logits at a time, twice: once for
    the loss and once for the gradient. A quantized table, which has no gradient, goes by in some pieces in any case.
    """
    return _forward(hidden, table, targets, chunks, smoothing, softcap)[0]


def _logits(hidden: jax.Array, rows: AnyArray, softcap: float | None) -> jax.Array:
    logits = jnp.einsum("MD,VD->MV", hidden, rows.astype(hidden.dtype), preferred_element_type=jnp.float32)
    return jnp.tanh(logits / softcap) * softcap if softcap else logits


def _piece(table: Table, chunk: Index, chunks: int, dtype: DTypeLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows of one chunk of the table, the number of its first row, and which of the rows no earlier chunk had."""
    size = -(-table.shape[0] // chunks)
    start = jnp.minimum(chunk * size, table.shape[0] - size)
    return tables.piece(table, start, size, dtype), start, start + jnp.arange(size) >= chunk * size


def _pieces(table: Table, chunks: int) -> int:
    return max(chunks, tables.PIECES) if isinstance(table, Rows) else chunks


def _forward(
    hidden: jax.Array, table: Table, targets: AnyArray, chunks: int, smoothing: float, softcap: float | None
) -> tuple[tuple[jax.Array, jax.Array], Residuals]:
    chunks = _pieces(table, chunks)
    if not isinstance(table, Rows) and chunks == 1:
        logits = _logits(hidden, table, softcap)
        normalizer = jax.nn.logsumexp(logits, axis=-1)
        own = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        right = own >= jnp.max(logits, axis=-1)
        losses = normalizer - own
        if smoothing:
            losses += smoothing * (own - jnp.mean(logits, axis=-1))
        return (losses, right.astype(jnp.float32)), (hidden, table, targets, normalizer, logits)

    def piece(chunk: Index, carry: Tree) -> Tree:
        top, total, own, summed = carry
        rows, first, new = _piece(table, chunk, chunks, hidden.dtype)
        logits = _logits(hidden, rows, softcap)
        summed += jnp.sum(jnp.where(new, logits, 0), axis=-1)
        logits = jnp.where(new, logits, -jnp.inf)
        column = targets - first
        inside = (column >= 0) & (column < rows.shape[0])
        found = jnp.take_along_axis(logits, jnp.where(inside, column, 0)[:, None], axis=-1)[:, 0]
        own = jnp.maximum(own, jnp.where(inside, found, -jnp.inf))
        higher = jnp.maximum(top, jnp.max(logits, axis=-1))
        total = total * jnp.exp(top - higher) + jnp.sum(jnp.exp(logits - higher[:, None]), axis=-1)
        return higher, total, own, summed

    nothing = jnp.full(targets.shape, -jnp.inf)
    start = (nothing, jnp.zeros(targets.shape), nothing, jnp.zeros(targets.shape))
    top, total, own, summed = jax.lax.fori_loop(0, chunks, piece, start)
    normalizer = top + jnp.log(total)
    losses = normalizer - own
    if smoothing:
        losses += smoothing * (own - summed / table.shape[0])
    return (losses, (own >= top).astype(jnp.float32)), (hidden, table, targets, normalizer, None)


def _backward(
    chunks: int, smoothing: float, softcap: float | None, kept: Residuals, cotangents: Tree
) -> tuple[jax.Array, jax.Array | None, None]:
    hidden, table, targets, normalizer, logits = kept
    cotangent, _ = cotangents
    chunks = _pieces(table, chunks)

    def of_logits(logits: jax.Array, first: Index, new: jax.Array | bool) -> jax.Array:
        """The gradient of the logits of rows `first`..., in the dtype of the computation."""
        columns = first + jnp.arange(logits.shape[1])
        probabilities = jnp.exp(logits - normalizer[:, None])
        difference = probabilities - (1 - smoothing) * (columns[None] == targets[:, None])
        if smoothing:
            difference -= smoothing / table.shape[0]
        if softcap:
            difference *= 1 - jnp.square(logits / softcap)
        return jnp.where(new, difference * cotangent[:, None], 0).astype(hidden.dtype)

    if logits is not None and not isinstance(table, Rows):
        d_logits = of_logits(logits, 0, True)
        d_table = jnp.einsum("MV,MD->VD", d_logits, hidden).astype(table.dtype)
        return jnp.einsum("MV,VD->MD", d_logits, table.astype(hidden.dtype)), d_table, None

    def piece(chunk: Index, carry: Tree) -> Tree:
        d_hidden, d_table = carry
        rows, first, new = _piece(table, chunk, chunks, hidden.dtype)
        d_logits = of_logits(_logits(hidden, rows, softcap), first, new)
        d_hidden += jnp.einsum("MV,VD->MD", d_logits, rows, preferred_element_type=jnp.float32)
        if isinstance(table, Rows):
            return d_hidden, None
        d_rows = jnp.einsum("MV,MD->VD", d_logits, hidden).astype(table.dtype)
        size = d_rows.shape[0]
        before = jax.lax.dynamic_slice_in_dim(d_table, first, size)
        return d_hidden, jax.lax.dynamic_update_slice_in_dim(d_table, before + d_rows, first, 0)

    zeros = (jnp.zeros(hidden.shape), None if isinstance(table, Rows) else jnp.zeros_like(table))
    d_hidden, d_table = jax.lax.fori_loop(0, chunks, piece, zeros)
    return d_hidden.astype(hidden.dtype), d_table, None


token_losses.defvjp(_forward, _backward)

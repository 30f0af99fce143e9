"""Which token comes next: the likeliest, or one drawn from some of the likelier ones.

Axes: B batch, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, Key

from palitune.models.arrays import AnyArray


class Sampling(NamedTuple):
    """How tokens are drawn; numbers, so that one program serves all of them.

    Attributes:
      temperature: logits are divided by it; at 0 the likeliest token is taken.
      top_p: of the likeliest tokens, as many as have this probability together at least; 1 is all.
      top_k: so many of the likeliest tokens; 0 is all.
      repetition_penalty: makes tokens less likely that were there before; 1 is none.
    """

    temperature: Float32[AnyArray, ""] | float = 0.0
    top_p: Float32[AnyArray, ""] | float = 1.0
    top_k: Int32[AnyArray, ""] | int = 0
    repetition_penalty: Float32[AnyArray, ""] | float = 1.0


def next_token(
    logits: Float32[Array, "B V"], seen: Bool[Array, "B V"], key: Key[Array, ""], how: Sampling
) -> Int32[Array, " B"]:
    """The next token of each example, int32[B].

    The penalty comes first, then the temperature, then the most tokens, then their probability: the order in which
    transformers has them.

    Args:
      seen: bool[B, V], which tokens the prompt and the answer so far have.
    """
    logits = penalized(logits, seen, how.repetition_penalty)

    def drawn() -> jax.Array:
        kept = likelier(logits / how.temperature, how.top_k, how.top_p)
        return jax.random.categorical(key, kept, axis=-1).astype(jnp.int32)

    def likeliest() -> jax.Array:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    chosen: jax.Array = jax.lax.cond(jnp.asarray(how.temperature) > 0, drawn, likeliest)
    return chosen


def penalized(
    logits: Float32[Array, "B V"], seen: Bool[Array, "B V"], penalty: Float[AnyArray, ""] | float
) -> Float32[Array, "B V"]:
    """Logits, of tokens that were there before divided by the penalty, or multiplied where they are negative.

    Source: CTRL, https://arxiv.org/abs/1909.05858, section 4.1, with the signs that transformers gives it.
    """
    return jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)


def likelier(
    logits: Float32[Array, "B V"], top_k: Int[AnyArray, ""] | int, top_p: Float[AnyArray, ""] | float
) -> Float32[Array, "B V"]:
    """Logits of the likeliest tokens, -inf for the others; of those that are as likely, the one with the lower number.

    Source of the second rule: nucleus sampling, https://arxiv.org/abs/1904.09751.
    """
    order = jnp.argsort(-logits, axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1, stable=True)
    size = logits.shape[-1]
    kept = rank < jnp.where(jnp.asarray(top_k) > 0, top_k, size)
    shares = jax.nn.softmax(jnp.where(kept, logits, -jnp.inf), axis=-1)
    in_order = jnp.take_along_axis(shares, order, axis=-1)
    # What the likelier ones before a token have together; the first is always kept.
    before = jnp.take_along_axis(jnp.cumsum(in_order, axis=-1) - in_order, rank, axis=-1)
    kept &= (before < top_p) | (rank == 0)
    return jnp.where(kept, logits, -jnp.inf)

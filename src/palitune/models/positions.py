"""Where tokens stand, to a layer: rotary position embeddings, and which keys the window of a local layer has.

Axes: B batch, T queries, S keys, H head width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from palitune.models.arrays import AnyArray
from palitune.models.spec import GemmaSpec, LayerKind

Angles = tuple[Float32[Array, "B T 1 half"], Float32[Array, "B T 1 half"]]  # `rope_angles`


class Context(NamedTuple):
    """What all layers of one kind take beside their input."""

    angles: Angles
    mask: Bool[Array, "B T S"]  # true where a query may see a key


def contexts(
    config: GemmaSpec,
    positions: Int[Array, "B T"],
    mask: Bool[Array, "B T S"],
    keys: Int[Array, "B S"] | None = None,
) -> list[Context]:
    """The context of each kind of layer; a single one where all kinds come to the same.

    A window hides keys that are far behind a query, but none that the query sees and that sees it: a prefix or an
    image is whole to itself, however long, as in transformers (`masking_utils.py`, a sliding causal mask or a block).

    Args:
      positions: int[B, T] of the queries.
      mask: bool[B, T, S], true where a query may see a key.
      keys: int[B, S], positions of the keys; those of the queries by default.
    """
    keys = positions if keys is None else keys
    # A window that the sequence fits into hides nothing.
    kinds = [kind._replace(window=None) if (kind.window or 0) >= mask.shape[-1] else kind for kind in config.kinds]
    kinds = kinds[:1] if len(set(kinds)) == 1 else kinds
    made = []
    for kind in kinds:
        near = mask
        if kind.window is not None:
            near = mask & ((positions[:, :, None] - keys[:, None, :] < kind.window) | mask.swapaxes(1, 2))
        made.append(Context(rope_angles(config.head_dim, kind, positions), near))
    return made


def context_of(config: GemmaSpec, kinds: list[Context], layer: jax.Array | int) -> Context:
    """The context of a layer, by its number, int[]."""
    if len(kinds) == 1:
        return kinds[0]
    kind = jnp.asarray(config.kind_of_layers)[layer]
    return jax.tree.map(lambda *of_kinds: jnp.stack(of_kinds)[kind], *kinds)


def rope_angles(head_dim: int, kind: LayerKind, positions: Int[AnyArray, "B T"]) -> Angles:
    """Sine and cosine, float32[B, T, 1, H/2] each, of rotary position embeddings at `int[B, T]`.

    Source: https://arxiv.org/abs/2104.09864; a kind's positions can be divided by a factor, as
    https://arxiv.org/abs/2306.15595 has it.
    """
    half = head_dim // 2
    timescale = kind.rope_factor * kind.rope_base ** (jnp.arange(half, dtype=jnp.float32) / half)
    radians = positions.astype(jnp.float32)[..., None, None] / timescale
    return jnp.sin(radians), jnp.cos(radians)


def apply_rope(x: Float[Array, "B T heads H"], angles: Angles) -> Float32[Array, "B T heads H"]:
    """x rotated by its positions' angles, in float32."""
    sin, cos = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

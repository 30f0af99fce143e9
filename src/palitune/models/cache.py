"""The key/value cache of decoding: of the layers that see a window only, a ring of as many rows; of the others, all.

A token's row is its position, modulo the number of rows. Layers whose caches have as many rows make a group, which is
one array.

Axes: B batch, M sequence, S rows of a cache, K key/value heads, Q queries of one key head, H head width, L layers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from palitune.models.arrays import Index
from palitune.models.attention import attend
from palitune.models.spec import GemmaSpec

# Keys and values of every layer, [L, B, M, K, H] each; without L inside of a layer.
KeysAndValues = tuple[Float[Array, "*L B M K H"], Float[Array, "*L B M K H"]]


class Group(NamedTuple):
    """Layers whose caches have as many rows."""

    rows: int
    layers: tuple[int, ...]


class Cache(NamedTuple):
    """Keys and values of each group of layers."""

    keys: tuple[Float[Array, "L B S K H"], ...]
    values: tuple[Float[Array, "L B S K H"], ...]

    @property
    def size(self) -> int:
        """The most tokens of a sequence, if no layer has a cache of that many rows then of its window."""
        return max(keys.shape[2] for keys in self.keys)


def groups(config: GemmaSpec, size: int) -> list[Group]:
    """The groups of layers for sequences of at most `size` tokens, those with the most rows first."""
    rows = [min(config.kinds[kind].window or size, size) for kind in config.kind_of_layers]
    return [
        Group(one, tuple(layer for layer, own in enumerate(rows) if own == one))
        for one in sorted(set(rows), reverse=True)
    ]


def fill(
    config: GemmaSpec,
    found: KeysAndValues,
    positions: Int[Array, "B M"],
    real: Bool[Array, "B M"],
    size: int,
) -> Cache:
    """The cache behind a prompt whose layers have found these keys and values.

    Args:
      positions: int[B, M] of the prompt's tokens, 0, 1, 2 … of each example in any order.
      real: bool[B, M], false for padding.
      size: the most tokens that a sequence will have.
    """
    lengths = jnp.sum(real, axis=1, keepdims=True)
    examples = jnp.arange(positions.shape[0])[:, None]
    keys: list[jax.Array] = []
    values: list[jax.Array] = []
    for group in groups(config, size):
        # What a later token of the ring takes the place of, and padding, goes to no row.
        kept = real & (positions >= lengths - group.rows)
        row = jnp.where(kept, positions % group.rows, group.rows)
        for stack, cached in zip(found, (keys, values), strict=True):
            chosen = stack if len(group.layers) == len(stack) else stack[np.array(group.layers)]
            shape = (len(group.layers), stack.shape[1], group.rows, *stack.shape[3:])
            cached.append(jnp.zeros(shape, stack.dtype).at[:, examples, row].set(chosen, mode="drop"))
    return Cache(tuple(keys), tuple(values))


class LayerCache:
    """The cache as one layer takes it, for one new token of every example."""

    def __init__(self, config: GemmaSpec, cache: Cache, layer: Index, position: Int[Array, " B"]) -> None:
        """Args:
        layer: its number, int[].
        position: int[B] of the new tokens.
        """
        self.cache, self.position = cache, position
        found = groups(config, cache.size)
        places = [
            [group.layers.index(one) if one in group.layers else len(group.layers) for group in found]
            for one in range(config.depth)
        ]
        group_of = [next(n for n, group in enumerate(found) if one in group.layers) for one in range(config.depth)]
        # The layer's place in each group; behind its end in those that it is not in, where nothing is written.
        self.places = jnp.asarray(places)[layer]
        self.group = jnp.asarray(group_of)[layer]

    def attend(
        self,
        q: Float[Array, "B K Q H"],
        k: Float[Array, "B 1 K H"],
        v: Float[Array, "B 1 K H"],
        softcap: float | None,
    ) -> tuple[Float[Array, "B K Q H"], Cache]:
        """Attention to the cached tokens and the new one, and the cache with that in it."""
        examples = jnp.arange(len(self.position))

        def put(stack: jax.Array, new: jax.Array, place: jax.Array) -> jax.Array:
            row = self.position % stack.shape[2]
            return stack.at[place, examples, row].set(new[:, 0].astype(stack.dtype), mode="drop")

        keys = tuple(put(stack, k, place) for stack, place in zip(self.cache.keys, self.places, strict=True))
        values = tuple(put(stack, v, place) for stack, place in zip(self.cache.values, self.places, strict=True))

        def within(number: int) -> jax.Array:
            own_keys, own_values = (
                jax.lax.dynamic_index_in_dim(stacks[number], self.places[number], keepdims=False).astype(q.dtype)
                for stacks in (keys, values)
            )
            # Rows beyond an example's own length hold nothing yet; once the ring has gone round, all hold something.
            mask = jnp.arange(own_keys.shape[1])[None] <= self.position[:, None]
            mask = jnp.broadcast_to(mask[:, None], (len(mask), q.shape[2], mask.shape[1]))
            return attend(q, own_keys, own_values, mask, softcap)

        if len(keys) == 1:
            return within(0), Cache(keys, values)
        branches = [lambda number=number: within(number) for number in range(len(keys))]
        encoded: jax.Array = jax.lax.switch(self.group, branches)
        return encoded, Cache(keys, values)

"""Gemma 1, 2 and 3, the language models of PaliGemma 1 and 2 too.

Axes: B batch, T queries, S keys, N query heads, K key/value heads, G = N/K query heads a key/value head, H head width,
D model width, F hidden width of the MLP, V vocabulary, L layers.

The parameter tree is big_vision's (`models/ppp/gemma.py`): `embedder/input_embedding`, `layers/...` with every layer
stacked on axis 0, `final_norm/scale`. One linen module describes ONE layer; `hidden_states` scans it over axis 0.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int, Shaped

from palitune.models import gathering, lora, table
from palitune.models.arrays import AnyArray, Index, Params, Tree
from palitune.models.attention import attend
from palitune.models.cache import Cache, KeysAndValues, LayerCache
from palitune.models.einsum import Einsum, fan_in
from palitune.models.feed_forward import FeedForward
from palitune.models.norms import RMSNorm
from palitune.models.positions import Context, apply_rope, context_of, contexts
from palitune.models.spec import GemmaSpec
from palitune.models.table import Table

STACK = "llm/layers/"  # the path of the layers
Dropout = tuple[float, jax.Array]  # share of the adapters' inputs that are left out, and a random key


def _take(x: Shaped[Array, "B T *rest"], rows: Int[Array, "B Q"] | None) -> Shaped[Array, "B _ *rest"]:
    """Rows `int[B, Q]` of axis 1 of `x` `[B, T, ...]`; all of them without `rows`."""
    if rows is None:
        return x
    return jnp.take_along_axis(x, rows.reshape(*rows.shape, *(1,) * (x.ndim - 2)), axis=1)


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention."""

    config: GemmaSpec
    dropout: float = 0.0

    def setup(self) -> None:
        c = self.config
        if c.num_kv_heads == c.num_heads:
            qkv = (3, c.num_heads, c.width, c.head_dim)
            self.qkv_einsum = self._einsum("qkv_einsum", qkv, fan_in((2,), (0, 1, 3)))
        else:
            q = (c.num_heads, c.width, c.head_dim)
            self.q_einsum = self._einsum("q_einsum", q, fan_in((1,), (0, 2)))
            kv = (2, c.num_kv_heads, c.width, c.head_dim)
            self.kv_einsum = self._einsum("kv_einsum", kv, fan_in((2,), (0, 1, 3)))
        out = (c.num_heads, c.head_dim, c.width)
        self.attn_vec_einsum = self._einsum("attn_vec_einsum", out, fan_in((0, 1), (2,)))
        if c.qk_norms:
            self.query_norm, self.key_norm = RMSNorm(), RMSNorm()

    def _einsum(self, name: str, shape: tuple[int, ...], init: nn.initializers.Initializer) -> Einsum:
        return Einsum(lora.EQUATIONS[f"attn/{name}/w"], shape, init, self.dropout)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        context: Context,
        cache: LayerCache | None,
        rows: Int[Array, "B Q"] | None,
    ) -> tuple[Float[Array, "B _ D"], KeysAndValues | Cache]:
        """x `[B, T, D]`, and the context of the layer's kind.

        Without a cache S is T, and beside the result are the keys and values. With one T is 1, and the cache takes
        them.
        `rows` `int[B, Q]` are the only queries wanted: the result is `[B, Q, D]`.
        """
        c = self.config
        angles, mask = context
        if c.num_kv_heads == c.num_heads:
            q, k, v = self.qkv_einsum(x)
            q = _take(q, rows)
        else:
            q = self.q_einsum(_take(x, rows))
            k, v = self.kv_einsum(x)
        if c.qk_norms:
            q, k = self.query_norm(q), self.key_norm(k)
        q = (apply_rope(q, (_take(angles[0], rows), _take(angles[1], rows))) * c.query_scale).astype(x.dtype)
        mask = _take(mask, rows)
        k = apply_rope(k, angles).astype(x.dtype)

        # The query heads that share a key head become more queries of it: one large product for each example and key
        # head, with nothing to transpose but the queries.
        batch, queries = q.shape[:2]
        q = q.reshape(batch, queries, c.num_kv_heads, -1, c.head_dim).swapaxes(1, 2)
        groups = q.shape[3]
        q = q.reshape(batch, c.num_kv_heads, queries * groups, c.head_dim)
        kept: KeysAndValues | Cache = (k, v)
        if cache is not None:
            encoded, kept = cache.attend(q, k, v, c.attn_logits_softcap)
        else:
            encoded = attend(q, k, v.astype(x.dtype), mask, c.attn_logits_softcap)
        encoded = encoded.reshape(batch, c.num_kv_heads, queries, groups, c.head_dim).swapaxes(1, 2)
        return self.attn_vec_einsum(encoded.reshape(batch, queries, c.num_heads, c.head_dim)), kept


class Block(nn.Module):
    """One layer: the definition that initialisation, training and decoding share.

    `dropout` is the share of the adapters' inputs that are left out, where there is a random stream of that name.
    """

    config: GemmaSpec
    dropout: float = 0.0

    def setup(self) -> None:
        self.pre_attention_norm = RMSNorm()
        self.attn = Attention(self.config, self.dropout)
        self.pre_ffw_norm = RMSNorm()
        self.mlp = FeedForward(self.config, self.dropout)
        if self.config.post_norms:
            self.post_attention_norm = RMSNorm()
            self.post_ffw_norm = RMSNorm()

    def __call__(
        self,
        x: Float[Array, "B T D"],
        context: Context,
        cache: LayerCache | None = None,
        rows: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B _ D"], KeysAndValues | Cache]:
        """Arguments as of `Attention.__call__`; returns the new x, and the keys and values or the cache."""
        y, kept = self.attn(self.pre_attention_norm(x), context, cache, rows)
        x = _take(x, rows) + (self.post_attention_norm(y) if self.config.post_norms else y)
        y = self.mlp(self.pre_ffw_norm(x))
        return x + (self.post_ffw_norm(y) if self.config.post_norms else y), kept


@functools.partial(jax.jit, static_argnums=0)  # one program instead of one for each shape
def init(config: GemmaSpec, key: jax.Array) -> dict[str, Tree]:
    """Random float32 parameters, with layers stacked on axis 0."""
    embed_key, layer_key, norm_key = jax.random.split(key, 3)
    embedding_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=0)
    x = jnp.zeros((1, 1, config.width))
    context = contexts(config, jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1, 1), bool))[0]
    block = Block(config)
    layers = jax.vmap(lambda k: block.init(k, x, context)["params"])(jax.random.split(layer_key, config.depth))
    tables = {"input_embedding": embed_key} | ({} if config.tied else {"output_embedding": norm_key})
    return {
        "embedder": {
            name: embedding_init(key, (config.vocab_size, config.width), jnp.float32) for name, key in tables.items()
        },
        "layers": layers,
        "final_norm": RMSNorm().init(norm_key, x)["params"],
    }


def embed(
    config: GemmaSpec, params: Params, tokens: Int[AnyArray, "B T"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "B T D"]:
    """Token embeddings `dtype`[B, T, D] of `int[B, T]`, scaled by sqrt(D)."""
    rows = table.take(table.of(params["embedder"], "input_embedding"), gathering.beside_table(tokens), dtype)
    return gathering.examples(rows) * jnp.sqrt(config.width).astype(dtype)


def hidden_states(
    config: GemmaSpec,
    params: Params,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T T"],
    positions: Int[Array, "B T"] | None = None,
    dropout: Dropout | None = None,
) -> tuple[Float[Array, "B T D"], KeysAndValues]:
    """All layers and the final norm.

    Args:
      params: the `llm` tree; any float dtype.
      x: [B, T, D]; its dtype is the dtype of the computation.
      mask: bool[B, T, T], true where a query may attend to a key.
      positions: int[B, T]; 0, 1, 2 … by default.
      dropout: of the adapters' inputs.

    Returns:
      [B, T, D] and the keys and values of every layer, [L, B, T, K, H] each.
    """
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
    rate, key = dropout or (0.0, None)
    block = Block(config, rate)
    kinds = contexts(config, positions, mask)

    # Only a layer's input is kept for the backward pass; the rest of the layer is computed again there.
    @functools.partial(jax.checkpoint, prevent_cse=False)  # inside a scan nothing can be merged back
    def layer(x: jax.Array, scanned: tuple[Params, jax.Array]) -> Tree:
        weights, number = scanned
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, number)}
        return block.apply({"params": gathering.layer(STACK, weights)}, x, context_of(config, kinds, number), rngs=rngs)

    x, found = jax.lax.scan(layer, x, (params["layers"], jnp.arange(config.depth)))
    return final_norm(params, x), found


def next_states(
    config: GemmaSpec, params: Params, x: Float[Array, "B D"], position: Int[Array, " B"], cache: Cache
) -> tuple[Float[Array, "B D"], Cache]:
    """All layers and the final norm for one more token of every example.

    Args:
      params: the `llm` tree; any float dtype.
      x: [B, D] embeddings of the new tokens; its dtype is the dtype of the computation.
      position: int[B] of the new tokens.
      cache: of the tokens before them.

    Returns:
      [B, D], and the cache with the new tokens.
    """
    block = Block(config)
    kinds = contexts(config, position[:, None], jnp.ones((len(x), 1, 1), bool))

    def layer(carry: tuple[jax.Array, Cache], scanned: tuple[Params, jax.Array]) -> Tree:
        x, cache = carry
        weights, number = scanned
        own = LayerCache(config, cache, number, position)
        whole = gathering.layer(STACK, weights)
        return block.apply({"params": whole}, x, context_of(config, kinds, number), own), None

    (y, cache), _ = jax.lax.scan(layer, (x[:, None], cache), (params["layers"], jnp.arange(config.depth)))
    return final_norm(params, y)[:, 0], cache


def selected_states(
    config: GemmaSpec,
    params: Params,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T T"],
    positions: Int[Array, "B T"],
    rows: Int[Array, "B Q"],
) -> Float[Array, "B Q D"]:
    """`hidden_states` at a few places, without keys and values: the last layer computes nothing but them.

    Args:
      rows: int[B, Q], which of the T tokens are wanted.

    Returns:
      [B, Q, D].
    """
    block = Block(config)
    kinds = contexts(config, positions, mask)

    def layer(number: Index, x: jax.Array, rows: jax.Array | None = None) -> jax.Array:
        # Indexed here, because a slice of all layers but the last would be a copy of them.
        weights = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, number, keepdims=False), params["layers"]
        )
        whole = gathering.layer(STACK, weights)
        y: Tree = block.apply({"params": whole}, x, context_of(config, kinds, number), None, rows)
        return y[0]

    x = jax.lax.fori_loop(0, config.depth - 1, layer, x)
    return final_norm(params, layer(config.depth - 1, x, rows))


def final_norm(params: Params, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """The norm after the last layer, `[B, T, D]`."""
    normed: Tree = RMSNorm().apply({"params": params["final_norm"]}, x)
    return normed


def output_table(params: Params) -> Table:
    """The output layer: the embedding table, or a table of its own, [V, D] either way."""
    tables = params["embedder"]
    return table.of(tables, "output_embedding" if table.has(tables, "output_embedding") else "input_embedding")


def capped(config: GemmaSpec, logits: Float32[Array, "*any V"]) -> Float32[Array, "*any V"]:
    """Logits squeezed by a tanh into what the model allows, if it has a limit."""
    cap = config.final_logits_softcap
    return jnp.tanh(logits / cap) * cap if cap else logits


def logits(config: GemmaSpec, params: Params, x: Float[Array, "*any D"]) -> Float32[Array, "*any V"]:
    """Vocabulary logits float32[..., V] of hidden states [..., D]."""
    return capped(config, table.logits(output_table(params), gathering.beside_table(x)))

"""Gemma 1 and 2, the language model of PaliGemma 1 and 2.

Axes: B batch, T queries, S keys, N query heads, K key/value heads, G = N/K query heads a key/value head, H head width,
D model width, F hidden width of the MLP, V vocabulary, L layers.

The parameter tree is big_vision's (`models/ppp/gemma.py`): `embedder/input_embedding`, `layers/...` with every layer
stacked on axis 0, `final_norm/scale`. One linen module describes ONE layer; `hidden_states` scans it over axis 0.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from palitune.models.variants import GemmaConfig

Params = Mapping[str, Any]
Cache = tuple[jax.Array, jax.Array]  # keys and values, each [L, B, S, K, H]

MASKED_LOGIT = -2.3819763e38  # google-deepmind/gemma, modules.py: K_MASK
ROPE_MAX_WAVELENGTH = 10_000  # google-deepmind/gemma, positional_embeddings.py


def _fan_in(in_axis: tuple[int, ...], out_axis: tuple[int, ...]) -> Any:
    return nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=in_axis, out_axis=out_axis)


def apply_rope(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary position embedding (https://arxiv.org/abs/2104.09864): x `[B, T, heads, H]` at `int[B, T]`, in float32."""
    half = x.shape[-1] // 2
    timescale = ROPE_MAX_WAVELENGTH ** (jnp.arange(half, dtype=jnp.float32) / half)
    radians = positions.astype(jnp.float32)[..., None, None] / timescale
    sin, cos = jnp.sin(radians), jnp.cos(radians)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32, scaled by 1 + `scale`, returned in the input's dtype."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.zeros_init(), (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        variance = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        return (x32 * jax.lax.rsqrt(variance + 1e-6) * (1 + scale.astype(jnp.float32))).astype(x.dtype)


class Einsum(nn.Module):
    """A weight `w` of `shape`, contracted with the input in the input's dtype."""

    equation: str
    shape: tuple[int, ...]
    w_init: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.einsum(self.equation, x, self.param("w", self.w_init, self.shape).astype(x.dtype))


class Attention(nn.Module):
    """Multi-head, grouped-query or multi-query attention."""

    config: GemmaConfig

    def setup(self) -> None:
        c = self.config
        if c.num_kv_heads == c.num_heads:
            qkv = (3, c.num_heads, c.width, c.head_dim)
            self.qkv_einsum = Einsum("BSD,3NDH->3BSNH", qkv, _fan_in((2,), (0, 1, 3)))
        else:
            self.q_einsum = Einsum("BTD,NDH->BTNH", (c.num_heads, c.width, c.head_dim), _fan_in((1,), (0, 2)))
            kv = (2, c.num_kv_heads, c.width, c.head_dim)
            self.kv_einsum = Einsum("BSD,2KDH->2BSKH", kv, _fan_in((2,), (0, 1, 3)))
        out = (c.num_heads, c.head_dim, c.width)
        self.attn_vec_einsum = Einsum("BTNH,NHD->BTD", out, _fan_in((0, 1), (2,)))

    def __call__(
        self, x: jax.Array, positions: jax.Array, mask: jax.Array, cache: Cache | None
    ) -> tuple[jax.Array, Cache]:
        """x `[B, T, D]`, positions `int[B, T]`, mask `bool[B, T, S]`, cache of one layer `[B, S, K, H]` each.

        Without a cache S is T. With one, the new keys and values go to the rows `positions` of the cache.
        """
        c = self.config
        if c.num_kv_heads == c.num_heads:
            q, k, v = self.qkv_einsum(x)
        else:
            q = self.q_einsum(x)
            k, v = self.kv_einsum(x)
        q = (apply_rope(q, positions) * c.query_scale).astype(x.dtype)
        k = apply_rope(k, positions).astype(x.dtype)
        if cache is not None:
            rows = jnp.arange(x.shape[0])[:, None]
            k = cache[0].at[rows, positions].set(k.astype(cache[0].dtype))
            v = cache[1].at[rows, positions].set(v.astype(cache[1].dtype))

        batch, queries = x.shape[:2]
        grouped = q.reshape(batch, queries, c.num_kv_heads, -1, c.head_dim)
        logits = jnp.einsum("BTKGH,BSKH->BKGTS", grouped, k.astype(x.dtype), preferred_element_type=jnp.float32)
        if c.attn_logits_softcap:
            logits = jnp.tanh(logits / c.attn_logits_softcap) * c.attn_logits_softcap
        logits = jnp.where(mask[:, None, None], logits, MASKED_LOGIT)
        probabilities = jax.nn.softmax(logits, axis=-1).astype(x.dtype)
        encoded = jnp.einsum("BKGTS,BSKH->BTKGH", probabilities, v.astype(x.dtype))
        return self.attn_vec_einsum(encoded.reshape(batch, queries, c.num_heads, c.head_dim)), (k, v)


class FeedForward(nn.Module):
    """Gated GELU: `[B, T, D]` to the same."""

    config: GemmaConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, hidden = self.config.width, self.config.mlp_dim
        gating = self.param("gating_einsum", _fan_in((1,), (0, 2)), (2, width, hidden)).astype(x.dtype)
        linear = self.param("linear", _fan_in((0,), (1,)), (hidden, width)).astype(x.dtype)
        return (nn.gelu(x @ gating[0]) * (x @ gating[1])) @ linear


class Block(nn.Module):
    """One layer: the definition that initialisation, training and decoding share."""

    config: GemmaConfig

    def setup(self) -> None:
        self.pre_attention_norm = RMSNorm()
        self.attn = Attention(self.config)
        self.pre_ffw_norm = RMSNorm()
        self.mlp = FeedForward(self.config)
        if self.config.post_norms:
            self.post_attention_norm = RMSNorm()
            self.post_ffw_norm = RMSNorm()

    def __call__(
        self, x: jax.Array, positions: jax.Array, mask: jax.Array, cache: Cache | None = None
    ) -> tuple[jax.Array, Cache]:
        """Shapes as in `Attention.__call__`; returns the new x and this layer's keys and values."""
        y, cache = self.attn(self.pre_attention_norm(x), positions, mask, cache)
        x = x + (self.post_attention_norm(y) if self.config.post_norms else y)
        y = self.mlp(self.pre_ffw_norm(x))
        return x + (self.post_ffw_norm(y) if self.config.post_norms else y), cache


def init(config: GemmaConfig, key: jax.Array) -> dict[str, Any]:
    """Random float32 parameters, with layers stacked on axis 0."""
    embed_key, layer_key, norm_key = jax.random.split(key, 3)
    embedding_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=0)
    x = jnp.zeros((1, 1, config.width))
    arguments = (x, jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1, 1), bool))
    block = Block(config)
    layers = jax.vmap(lambda k: block.init(k, *arguments)["params"])(jax.random.split(layer_key, config.depth))
    return {
        "embedder": {"input_embedding": embedding_init(embed_key, (config.vocab_size, config.width), jnp.float32)},
        "layers": layers,
        "final_norm": RMSNorm().init(norm_key, x)["params"],
    }


def embed(config: GemmaConfig, params: Params, tokens: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """Token embeddings `dtype`[B, T, D] of `int[B, T]`, scaled by sqrt(D)."""
    table = params["embedder"]["input_embedding"]
    return jnp.take(table, tokens, axis=0).astype(dtype) * jnp.sqrt(config.width).astype(dtype)


def hidden_states(
    config: GemmaConfig,
    params: Params,
    x: jax.Array,
    mask: jax.Array,
    positions: jax.Array | None = None,
    cache: Cache | None = None,
) -> tuple[jax.Array, Cache]:
    """All layers and the final norm.

    Args:
      params: the `llm` tree; any float dtype.
      x: [B, T, D]; its dtype is the dtype of the computation.
      mask: bool[B, T, S], true where a query may look at a key.
      positions: int[B, T]; 0, 1, 2 … by default.
      cache: keys and values of S earlier and future tokens; the T new ones are written at `positions`.

    Returns:
      [B, T, D] and the keys and values of every layer, [L, B, S, K, H] each.
    """
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
    block = Block(config)

    # Only a layer's input is kept for the backward pass; the rest of the layer is computed again there.
    @functools.partial(jax.checkpoint, prevent_cse=False)  # inside a scan nothing can be merged back
    def layer(x: jax.Array, scanned: tuple[Params, Cache | None]) -> Any:
        weights, layer_cache = scanned
        return block.apply({"params": weights}, x, positions, mask, layer_cache)

    x, new_cache = jax.lax.scan(layer, x, (params["layers"], cache))
    normed: Any = RMSNorm().apply({"params": params["final_norm"]}, x)
    return normed, new_cache


def logits(params: Params, x: jax.Array) -> jax.Array:
    """Vocabulary logits float32[..., V] of hidden states [..., D]: the embedding table is the output layer."""
    table = params["embedder"]["input_embedding"].astype(x.dtype)
    return jnp.einsum("...D,VD->...V", x, table, preferred_element_type=jnp.float32)

"""Gemma 1 and 2, the language model of PaliGemma 1 and 2.

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

from palitune.models import lora
from palitune.models.arrays import AnyArray, Index, Params, Tree
from palitune.models.attention import attend
from palitune.models.positions import Context, apply_rope, context_of, contexts
from palitune.models.spec import GemmaSpec

# Keys and values of every layer, [L, B, S, K, H] each; without L inside of a layer.
Cache = tuple[Float[Array, "*L B S K H"], Float[Array, "*L B S K H"]]
Dropout = tuple[float, jax.Array]  # share of the adapters' inputs that are left out, and a random key

KEPT = "kept"  # collection of the activations that a layer's backward pass need not compute again


def _fan_in(in_axis: tuple[int, ...], out_axis: tuple[int, ...]) -> nn.initializers.Initializer:
    return nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=in_axis, out_axis=out_axis)


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32, scaled by 1 + `scale`, in the input's dtype; NaN of what is too large."""

    @nn.compact
    def __call__(self, x: Float[Array, "*any D"]) -> Float[Array, "*any D"]:
        scale = self.param("scale", nn.initializers.zeros_init(), (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        variance = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        # Where it overflows, 1 / sqrt(inf) would make 0 of every x, and an answer, the same for all images, of that.
        factor = jnp.where(jnp.isfinite(variance), jax.lax.rsqrt(variance + 1e-6), jnp.nan)
        return (x32 * factor * (1 + scale.astype(jnp.float32))).astype(x.dtype)


def _adapt(module: nn.Module, equation: str, name: str, x: jax.Array, dropout: float) -> jax.Array | float:
    """What the adapter of a module's weight adds, if it has one; with dropout where there is a random stream for it."""
    if not module.has_variable("params", name + lora.A):
        return 0.0
    if dropout and module.has_rng("dropout"):
        kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - dropout, x.shape)
        x = jnp.where(kept, x / (1 - dropout), 0).astype(x.dtype)
    factors: list[Tree] = [module.get_variable("params", name + part) for part in (lora.A, lora.B, lora.ALPHA)]
    return lora.adapt(equation, x, *factors)


class Einsum(nn.Module):
    """A weight `w` of `shape`, contracted with the input in the input's dtype."""

    equation: str
    shape: tuple[int, ...]
    w_init: nn.initializers.Initializer
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = jnp.einsum(self.equation, x, self.param("w", self.w_init, self.shape).astype(x.dtype))
        return y + _adapt(self, self.equation, "w", x, self.dropout)


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
            self.qkv_einsum = self._einsum("qkv_einsum", qkv, _fan_in((2,), (0, 1, 3)))
        else:
            q = (c.num_heads, c.width, c.head_dim)
            self.q_einsum = self._einsum("q_einsum", q, _fan_in((1,), (0, 2)))
            kv = (2, c.num_kv_heads, c.width, c.head_dim)
            self.kv_einsum = self._einsum("kv_einsum", kv, _fan_in((2,), (0, 1, 3)))
        out = (c.num_heads, c.head_dim, c.width)
        self.attn_vec_einsum = self._einsum("attn_vec_einsum", out, _fan_in((0, 1), (2,)))

    def _einsum(self, name: str, shape: tuple[int, ...], init: nn.initializers.Initializer) -> Einsum:
        return Einsum(lora.EQUATIONS[f"attn/{name}/w"], shape, init, self.dropout)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        context: Context,
        cache: tuple[Cache, jax.Array] | None,
        rows: Int[Array, "B Q"] | None,
    ) -> tuple[Float[Array, "B _ D"], Cache]:
        """x `[B, T, D]`, and the context of the layer's kind.

        Without a cache S is T. With one, of one layer `[B, S, K, H]` each, and `int[B, T]`, the new keys and values go
        to these rows of it.
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
        q = (apply_rope(q, (_take(angles[0], rows), _take(angles[1], rows))) * c.query_scale).astype(x.dtype)
        mask = _take(mask, rows)
        k = apply_rope(k, angles).astype(x.dtype)
        if cache is not None:
            (keys, values), new = cache
            examples = jnp.arange(x.shape[0])[:, None]
            k = keys.at[examples, new].set(k.astype(keys.dtype))
            v = values.at[examples, new].set(v.astype(values.dtype))

        # The query heads that share a key head become more queries of it: one large product for each example and key
        # head, with nothing to transpose but the queries.
        batch, queries = q.shape[:2]
        q = q.reshape(batch, queries, c.num_kv_heads, -1, c.head_dim).swapaxes(1, 2)
        groups = q.shape[3]
        q = q.reshape(batch, c.num_kv_heads, queries * groups, c.head_dim)
        mask = jnp.repeat(mask, groups, axis=1)
        encoded = attend(q, k.astype(x.dtype), v.astype(x.dtype), mask, c.attn_logits_softcap)
        encoded = encoded.reshape(batch, c.num_kv_heads, queries, groups, c.head_dim).swapaxes(1, 2)
        return self.attn_vec_einsum(encoded.reshape(batch, queries, c.num_heads, c.head_dim)), (k, v)


@jax.custom_vjp
def _known(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
    """`x @ w`, whose value `y` has been kept: differentiated like the product, and not computed again."""
    return y


def _known_forward(x: jax.Array, w: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return y, (x, w)


def _known_backward(inputs: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, w = inputs
    return dy @ w.T, jnp.einsum("...D,...F->DF", x, dy), jnp.zeros_like(dy)


_known.defvjp(_known_forward, _known_backward)


class FeedForward(nn.Module):
    """Gated GELU: `[B, T, D]` to the same.

    The two projections, most of a layer's work, can be kept: applied with the collection `KEPT` mutable the module
    returns them there, and applied with what it returned it computes everything but them again.
    """

    config: GemmaSpec
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        width, hidden = self.config.width, self.config.mlp_dim
        gating = self.param("gating_einsum", _fan_in((1,), (0, 2)), (2, width, hidden)).astype(x.dtype)
        linear = self.param("linear", _fan_in((0,), (1,)), (hidden, width)).astype(x.dtype)
        projections = []
        for number, name in enumerate(("gate", "up")):
            if self.has_variable(KEPT, name):
                projections.append(_known(x, gating[number], self.get_variable(KEPT, name)))
            else:
                projections.append(x @ gating[number])
                if self.is_mutable_collection(KEPT) and not self.is_initializing():
                    self.put_variable(KEPT, name, projections[-1])
        gate, up = projections
        both = _adapt(self, lora.EQUATIONS["mlp/gating_einsum"], "gating_einsum", x, self.dropout)
        if not isinstance(both, float):
            gate, up = gate + both[0], up + both[1]
        activated = nn.gelu(gate) * up
        added = _adapt(self, lora.EQUATIONS["mlp/linear"], "linear", activated, self.dropout)
        return activated @ linear + added


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
        cache: tuple[Cache, jax.Array] | None = None,
        rows: Int[Array, "B Q"] | None = None,
    ) -> tuple[Float[Array, "B _ D"], Cache]:
        """Arguments as of `Attention.__call__`; returns the new x and this layer's keys and values."""
        y, keys_and_values = self.attn(self.pre_attention_norm(x), context, cache, rows)
        x = _take(x, rows) + (self.post_attention_norm(y) if self.config.post_norms else y)
        y = self.mlp(self.pre_ffw_norm(x))
        return x + (self.post_ffw_norm(y) if self.config.post_norms else y), keys_and_values


def init(config: GemmaSpec, key: jax.Array) -> dict[str, Tree]:
    """Random float32 parameters, with layers stacked on axis 0."""
    embed_key, layer_key, norm_key = jax.random.split(key, 3)
    embedding_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=0)
    x = jnp.zeros((1, 1, config.width))
    context = contexts(config, jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1, 1), bool))[0]
    block = Block(config)
    layers = jax.vmap(lambda k: block.init(k, x, context)["params"])(jax.random.split(layer_key, config.depth))
    return {
        "embedder": {"input_embedding": embedding_init(embed_key, (config.vocab_size, config.width), jnp.float32)},
        "layers": layers,
        "final_norm": RMSNorm().init(norm_key, x)["params"],
    }


def embed(
    config: GemmaSpec, params: Params, tokens: Int[AnyArray, "B T"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "B T D"]:
    """Token embeddings `dtype`[B, T, D] of `int[B, T]`, scaled by sqrt(D)."""
    table = params["embedder"]["input_embedding"]
    return jnp.take(table, tokens, axis=0).astype(dtype) * jnp.sqrt(config.width).astype(dtype)


def hidden_states(
    config: GemmaSpec,
    params: Params,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T S"],
    positions: Int[Array, "B T"] | None = None,
    cache: Cache | None = None,
    dropout: Dropout | None = None,
) -> tuple[Float[Array, "B T D"], Cache]:
    """All layers and the final norm.

    Args:
      params: the `llm` tree; any float dtype.
      x: [B, T, D]; its dtype is the dtype of the computation.
      mask: bool[B, T, S], true where a query may attend to a key.
      positions: int[B, T]; 0, 1, 2 … by default.
      cache: keys and values of S earlier and future tokens; the T new ones are written at `positions`.
      dropout: of the adapters' inputs.

    Returns:
      [B, T, D] and the keys and values of every layer, [L, B, S, K, H] each.
    """
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
    rate, key = dropout or (0.0, None)
    block = Block(config, rate)
    keys = None if cache is None else jnp.broadcast_to(jnp.arange(mask.shape[-1]), (x.shape[0], mask.shape[-1]))
    kinds = contexts(config, positions, mask, keys)

    # Only a layer's input is kept for the backward pass; the rest of the layer is computed again there.
    @functools.partial(jax.checkpoint, prevent_cse=False)  # inside a scan nothing can be merged back
    def layer(x: jax.Array, scanned: tuple[Params, Cache | None, jax.Array]) -> Tree:
        weights, layer_cache, number = scanned
        rows = None if layer_cache is None else (layer_cache, positions)
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, number)}
        return block.apply({"params": weights}, x, context_of(kinds, number), rows, rngs=rngs)

    x, new_cache = jax.lax.scan(layer, x, (params["layers"], cache, jnp.arange(config.depth)))
    return final_norm(params, x), new_cache


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
        y: Tree = block.apply({"params": weights}, x, context_of(kinds, number), None, rows)
        return y[0]

    x = jax.lax.fori_loop(0, config.depth - 1, layer, x)
    return final_norm(params, layer(config.depth - 1, x, rows))


def final_norm(params: Params, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """The norm after the last layer, `[B, T, D]`."""
    normed: Tree = RMSNorm().apply({"params": params["final_norm"]}, x)
    return normed


def logits(params: Params, x: Float[Array, "*any D"]) -> Float32[Array, "*any V"]:
    """Vocabulary logits float32[..., V] of hidden states [..., D]: the embedding table is the output layer."""
    table = params["embedder"]["input_embedding"].astype(x.dtype)
    return jnp.einsum("...D,VD->...V", x, table, preferred_element_type=jnp.float32)

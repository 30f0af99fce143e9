"""SigLIP's vision transformer, whose patches become tokens of the language model's width.

In PaliGemma every patch becomes one token, in Gemma 3 the mean of a square of patches.

Axes: B batch, H W height and width in pixels, P patches, N tokens (as many, or P / pool²), C width here, D width of the
language model, L layers.

The parameter tree is big_vision's (`models/vit.py`), because the published checkpoints have its names:
`embedding`, `pos_embedding`, `Transformer/encoderblock/...` (stacked on axis 0), `Transformer/encoder_norm`, `head`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from palitune.models import gathering
from palitune.models.arrays import AnyArray, Params, Tree
from palitune.models.attention import attend
from palitune.models.norms import RMSNorm
from palitune.models.parameter_shapes import SiglipSizes

STACK = "img/Transformer/encoderblock/"  # the path of the blocks


class Stem(nn.Module):
    """Patches with their positions: `[B, H, W, 3]` to `[B, P, C]`."""

    config: SiglipSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(self, image: Float[AnyArray, "B H W 3"]) -> Float[Array, "B P C"]:
        c = self.config
        patch = (c.patch_size, c.patch_size)
        x = nn.Conv(c.width, patch, strides=patch, padding="VALID", name="embedding", dtype=self.dtype)(image)
        x = x.reshape(x.shape[0], -1, c.width)
        positions = self.param("pos_embedding", nn.initializers.normal(c.width**-0.5), (1, c.num_patches, c.width))
        return x + positions.astype(x.dtype)


class MlpBlock(nn.Module):
    """Two dense layers with a GELU between them: `[B, P, C]` to the same."""

    config: SiglipSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B P C"]) -> Float[Array, "B P C"]:
        inits: dict[str, Tree] = {
            "kernel_init": nn.initializers.xavier_uniform(),
            "bias_init": nn.initializers.normal(1e-6),
            "dtype": self.dtype,
        }
        x = nn.gelu(nn.Dense(self.config.mlp_dim, **inits)(x))
        return nn.Dense(self.config.width, **inits)(x)


class Attention(nn.Module):
    """Multi-head self-attention: `[B, P, C]` to the same. Its parameters are those of Flax's module."""

    config: SiglipSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B P C"]) -> Float[Array, "B P C"]:
        c = self.config
        heads = (c.num_heads, c.width // c.num_heads)
        init: Tree = nn.initializers.xavier_uniform()

        def projection(name: str) -> Tree:
            return nn.DenseGeneral(heads, dtype=self.dtype, kernel_init=init, name=name)(x)

        q, k, v = projection("query"), projection("key"), projection("value")
        encoded = attend(q.swapaxes(1, 2) * heads[1] ** -0.5, k, v, None, None).swapaxes(1, 2)
        out: Tree = nn.DenseGeneral(c.width, axis=(-2, -1), dtype=self.dtype, kernel_init=init, name="out")
        return out(encoded)


class Block(nn.Module):
    """One pre-norm transformer block: `[B, P, C]` to the same."""

    config: SiglipSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B P C"]) -> Float[Array, "B P C"]:
        # LayerNorm takes its mean and variance in float32 whatever the dtype.
        y = nn.LayerNorm(dtype=self.dtype)(x)
        x = x + Attention(self.config, self.dtype, name="MultiHeadDotProductAttention_0")(y)
        y = nn.LayerNorm(dtype=self.dtype)(x)
        return x + MlpBlock(self.config, self.dtype, name="MlpBlock_0")(y)


@functools.partial(jax.jit, static_argnums=0)  # one program instead of one for each shape
def init(config: SiglipSizes, key: jax.Array) -> dict[str, Tree]:
    """Random float32 parameters of the image encoder, with blocks stacked on axis 0."""
    stem_key, block_key, head_key = jax.random.split(key, 3)
    image = jnp.zeros((1, config.image_size, config.image_size, 3))
    stem = Stem(config, jnp.float32).init(stem_key, image)["params"]
    tokens = jnp.zeros((1, config.num_patches, config.width))
    block = Block(config, jnp.float32)
    blocks = jax.vmap(lambda k: block.init(k, tokens)["params"])(jax.random.split(block_key, config.depth))
    norm = nn.LayerNorm().init(head_key, tokens)["params"]
    is_pooled = config.pool > 1
    head = nn.Dense(config.num_classes, use_bias=not is_pooled).init(head_key, tokens)["params"]
    pool = {"pool_norm": RMSNorm().init(head_key, tokens)["params"]} if is_pooled else {}
    return {**stem, "Transformer": {"encoderblock": blocks, "encoder_norm": norm}, **pool, "head": head}


def stem(
    config: SiglipSizes, params: Params, image: Float[AnyArray, "B H W 3"], dtype: DTypeLike
) -> Float[Array, "B P C"]:
    """Patches of float[B, H, W, 3] with their positions, `dtype`[B, P, C]."""
    weights = {name: params[name] for name in ("embedding", "pos_embedding")}
    x: Tree = Stem(config, dtype).apply({"params": weights}, image.astype(dtype))
    return x


def head(config: SiglipSizes, params: Params, x: Float[Array, "B P C"]) -> Float[Array, "B N D"]:
    """The norm after the last block, pooling if there is any, and the projection to the language model.

    A sum of squares that overflows gives NaN: LayerNorm makes the same tokens, those of its bias, of every image of it.
    """
    squares = jnp.sum(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True)
    x = jnp.where(jnp.isfinite(squares), x, jnp.nan)
    x = nn.LayerNorm(dtype=x.dtype).apply({"params": params["Transformer"]["encoder_norm"]}, x)  # type: ignore[assignment]
    is_pooled = config.pool > 1
    if is_pooled:
        x = RMSNorm().apply({"params": params["pool_norm"]}, _pooled(config, x))  # type: ignore[assignment]
    project = nn.Dense(config.num_classes, use_bias=not is_pooled, dtype=x.dtype)
    tokens: Tree = project.apply({"params": params["head"]}, x)
    return tokens


def _pooled(config: SiglipSizes, x: Float[Array, "B P C"]) -> Float[Array, "B N C"]:
    """The mean of each square of `pool` patches a side."""
    side = config.image_size // config.patch_size // config.pool
    squares = x.reshape(x.shape[0], side, config.pool, side, config.pool, x.shape[-1])
    return squares.mean(axis=(2, 4), dtype=jnp.float32).astype(x.dtype).reshape(x.shape[0], side**2, x.shape[-1])


def image_tokens(
    config: SiglipSizes, params: Params, image: Float[AnyArray, "B H W 3"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "B N D"]:
    """Image tokens for the language model.

    Args:
      params: the `img` tree; any float dtype.
      image: float[B, H, W, 3] in [-1, 1].
      dtype: dtype of the computation.

    Returns:
      `dtype`[B, N, D].
    """
    block = Block(config, dtype)

    @functools.partial(jax.checkpoint, prevent_cse=False)  # inside a scan nothing can be merged back
    def layer(x: jax.Array, weights: Params) -> tuple[Tree, None]:
        return block.apply({"params": gathering.layer(STACK, weights)}, x), None

    x, _ = jax.lax.scan(layer, stem(config, params, image, dtype), params["Transformer"]["encoderblock"])
    return head(config, params, x)

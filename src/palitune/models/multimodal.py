"""PaliGemma: SigLIP's image tokens in front of the text, through Gemma.

Axes: B batch, H W image size in pixels, N image tokens, T text tokens, M = N + T sequence, D width, V vocabulary.

Everything here is a pure function of parameters and arrays: no file, no device mesh, no optimizer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int, Num

from palitune.models import attention, gemma, siglip
from palitune.models.arrays import AnyArray, Params, Tree
from palitune.models.spec import ModelSpec


def init(config: ModelSpec, key: jax.Array) -> dict[str, Tree]:
    """Random float32 parameters under big_vision's paths: `img/...` and `llm/...`."""
    img_key, llm_key = jax.random.split(key)
    return {"img": siglip.init(config.image_encoder, img_key), "llm": gemma.init(config.llm, llm_key)}


def image_tokens(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B N D"]:
    """`dtype`[B, N, D] of images float[B, H, W, 3], or of image features [B, N, D] that were computed before.

    Of the parameters only `img` is used, and only for images.
    """
    return (
        jnp.asarray(image, dtype)
        if image.ndim == 3
        else siglip.image_tokens(config.image_encoder, params["img"], image, dtype)
    )


def sequence(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    text: Int[AnyArray, "B T"],
    mask_ar: Int[AnyArray, "B T"],
    mask_input: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"] | None = None,
) -> tuple[Float[Array, "B M D"], Bool[Array, "B M M"]]:
    """What the language model's layers take: image and text tokens [B, M, D] and who sees whom, bool[B, M, M].

    Arguments as of `hidden_states`.
    """
    images = zimg.shape[1]
    x = jnp.concatenate([zimg, gemma.embed(config.llm, params["llm"], text, zimg.dtype)], axis=1)
    if mask_input is None:
        mask_input = jnp.ones(text.shape, bool)
    mask_input = jnp.pad(mask_input.astype(bool), ((0, 0), (images, 0)), constant_values=True)
    return x, attention.attention_mask(mask_input, jnp.pad(mask_ar, ((0, 0), (images, 0))))


def hidden_states(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    text: Int[AnyArray, "B T"],
    mask_ar: Int[AnyArray, "B T"],
    mask_input: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"] | None = None,
    dropout: gemma.Dropout | None = None,
) -> Float[Array, "B T D"]:
    """The language model's last hidden states at the text tokens.

    Args:
      zimg: [B, N, D] image tokens; their dtype is the dtype of the computation.
      text: int[B, T].
      mask_ar: int[B, T], 1 where a token is causal, 0 where it shares full attention with its neighbours.
      mask_input: [B, T], nonzero for real tokens. All of them by default.
      dropout: see `gemma.hidden_states`.

    Returns:
      [B, T, D].
    """
    x, mask = sequence(config, params, zimg, text, mask_ar, mask_input)
    x, _ = gemma.hidden_states(config.llm, params["llm"], x, mask, dropout=dropout)
    return x[:, zimg.shape[1] :]


def forward(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    text: Int[AnyArray, "B T"],
    mask_ar: Int[AnyArray, "B T"],
    mask_input: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float32[Array, "B T V"]:
    """Logits float32[B, T, V] at every text token, for images float[B, H, W, 3] in [-1, 1].

    Training does not call this: at PaliGemma's vocabulary of 257,152 it is the largest tensor of all.
    """
    zimg = image_tokens(config, params, image, dtype)
    return gemma.logits(params["llm"], hidden_states(config, params, zimg, text, mask_ar, mask_input))


class Branches(NamedTuple):
    """Continuations of a prompt as a tree: K tokens, each behind the prompt or behind another of them."""

    tokens: Int[AnyArray, " K"]
    depth: Int[AnyArray, " K"]  # 0 right behind the prompt, then 1, 2 …
    sees: Bool[AnyArray, "K K"]  # (token, itself or one that it follows)


def branched_states(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    text: Int[AnyArray, "B T"],
    mask_input: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"],
    branches: Branches,
) -> Float[Array, "B _ D"]:
    """Hidden states at the end of a prompt and all along its continuations, in one pass.

    Args:
      zimg: [B, N, D].
      text: int[B, T] prompts, left aligned: padding only at the end.
      mask_input: [B, T], nonzero for real tokens.
      branches: the continuations, the same for every prompt; none of them sees another.

    Returns:
      [B, 1 + K, D]: after the prompt, then after each token of the continuations.
    """
    x, mask = sequence(config, params, zimg, text, jnp.zeros_like(text), mask_input)
    (batch, length, _), count = x.shape, len(branches.tokens)
    real = jnp.pad(mask_input.astype(bool), ((0, 0), (zimg.shape[1], 0)), constant_values=True)
    ends = jnp.sum(real, axis=1)
    added = gemma.embed(config.llm, params["llm"], jnp.asarray(branches.tokens)[None], zimg.dtype)
    x = jnp.concatenate([x, jnp.broadcast_to(added, (batch, *added.shape[1:]))], axis=1)
    to_prompt = jnp.broadcast_to(real[:, None], (batch, count, length))
    to_others = jnp.broadcast_to(jnp.asarray(branches.sees)[None], (batch, count, count))
    mask = jnp.concatenate(
        [jnp.pad(mask, ((0, 0), (0, 0), (0, count))), jnp.concatenate([to_prompt, to_others], axis=2)], axis=1
    )
    # A continuation goes on where the prompt ends, wherever the padding behind it puts its tokens.
    positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
    positions = jnp.concatenate([positions, ends[:, None] + jnp.asarray(branches.depth)[None]], axis=1)
    rows = jnp.concatenate([(ends - 1)[:, None], jnp.broadcast_to(length + jnp.arange(count), (batch, count))], axis=1)
    return gemma.selected_states(config.llm, params["llm"], x, mask, positions, rows)


def prefill(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    text: Int[AnyArray, "B T"],
    mask_input: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"],
    cache_size: int,
) -> tuple[Float32[Array, "B V"], gemma.Cache, Int[Array, " B"]]:
    """Runs the prompt and opens the key/value cache.

    Args:
      zimg: [B, N, D].
      text: int[B, T], left aligned: padding only at the end.
      mask_input: [B, T], nonzero for real tokens.
      cache_size: rows of the cache; at least N + T plus the tokens to come.

    Returns:
      Logits float32[B, V] after the last real token, the cache ([L, B, cache_size, K, H] each), and the sequence length
      int[B] of each example: the row at which its next token goes.
    """
    x, mask = sequence(config, params, zimg, text, jnp.zeros_like(text), mask_input)
    x, (k, v) = gemma.hidden_states(config.llm, params["llm"], x, mask)
    length = zimg.shape[1] + jnp.sum(mask_input.astype(bool), axis=1)
    last = jnp.take_along_axis(x, (length - 1)[:, None, None], axis=1)[:, 0]
    rows = ((0, 0), (0, 0), (0, cache_size - x.shape[1]), (0, 0), (0, 0))
    return gemma.logits(params["llm"], last), (jnp.pad(k, rows), jnp.pad(v, rows)), length


def extend(
    config: ModelSpec, params: Params, cache: gemma.Cache, token: Int[Array, " B"], length: Int[Array, " B"]
) -> tuple[Float32[Array, "B V"], gemma.Cache]:
    """One more token for every example: tokens int[B] at rows int[B]; returns logits float32[B, V] and the cache."""
    x = gemma.embed(config.llm, params["llm"], token[:, None], cache[0].dtype)
    # Rows beyond an example's own length hold padding of the prompt or nothing yet.
    mask = (jnp.arange(cache[0].shape[2])[None] <= length[:, None])[:, None]
    x, cache = gemma.hidden_states(config.llm, params["llm"], x, mask, length[:, None], cache)
    return gemma.logits(params["llm"], x[:, 0]), cache

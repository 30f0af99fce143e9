"""A language model with the image encoder's tokens among its own: PaliGemma, Gemma 3, and Gemma alone.

An image stands at a place in the text: PaliGemma's in front, where it shares the prefix's full attention; Gemma 3's
inside, where its tokens see each other and what comes before. In memory all image tokens come first, whatever their
places: attention asks for positions and blocks, and not for the order of rows.

Axes: B batch, H W image size in pixels, I images, N image tokens of all images, T text tokens, M = N + T sequence,
D width, V vocabulary.

Everything here is a pure function of parameters and arrays: no file, no device mesh, no optimizer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int, Num

from palitune.models import attention, cache, gemma, siglip
from palitune.models.arrays import AnyArray, Params, Tree
from palitune.models.cache import Cache
from palitune.models.spec import ModelSpec

ABSENT = -1  # the place of an image that an example does not have


class Text(NamedTuple):
    """The text of a batch, and where its images stand; padding comes last.

    Attributes:
      tokens: int[B, T].
      mask_ar: int[B, T], 1 where a token is causal, 0 where it shares full attention with the token before it.
      real: [B, T], nonzero for real tokens; None is all of them.
      image_places: int[B, I], how many tokens of the text come before each image, in ascending order, or `ABSENT`.
        An image is a block of its own; at place 0 it shares the block of the text's beginning. None is one image in
        front, or none where there are no image tokens.
      order: int[B, T], each token's position among the text's; None is its place in the row.
      segments: int[B, T], which of several texts in one row a token belongs to; it sees no other. None is one text.
      branches: int[B, T], 0 for what all questions about one beginning share, k for the k-th of them: a token sees that
        and its own. None is one question. Images belong to segment 0, branch 0.
    """

    tokens: Int[AnyArray, "B T"]
    mask_ar: Int[AnyArray, "B T"]
    real: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"] | None = None
    image_places: Int[AnyArray, "B I"] | None = None
    order: Int[AnyArray, "B T"] | None = None
    segments: Int[AnyArray, "B T"] | None = None
    branches: Int[AnyArray, "B T"] | None = None


class Sequence(NamedTuple):
    """What the language model's layers take."""

    x: Float[Array, "B M D"]
    positions: Int[Array, "B M"]
    mask: Bool[Array, "B M M"]  # (query, key), true where a query may see a key
    real: Bool[Array, "B M"]


def init(config: ModelSpec, key: jax.Array) -> dict[str, Tree]:
    """Random float32 parameters under big_vision's paths: `img/...` and `llm/...`."""
    img_key, llm_key = jax.random.split(key)
    encoder = {} if config.img is None else {"img": siglip.init(config.img, img_key)}
    return {**encoder, "llm": gemma.init(config.llm, llm_key)}


def image_tokens(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B N D"]:
    """`dtype`[B, N, D] of images float[B, H, W, 3], or of image features [B, N, D] that were computed before.

    Of the parameters only `img` is used, and only for images.
    """
    if image.ndim == 3:
        return jnp.asarray(image, dtype)
    return siglip.image_tokens(config.image_encoder, params["img"], image, dtype)


def sequence(config: ModelSpec, params: Params, zimg: Float[AnyArray, "B N D"], text: Text) -> Sequence:
    """Image and text tokens, where they stand, and who sees whom.

    A token sees the real tokens of its own block and of those before it.
    """
    batch, images = zimg.shape[:2]
    places = jnp.zeros((batch, min(images, 1)), jnp.int32) if text.image_places is None else text.image_places
    each = images // places.shape[1] if images else 0
    real = jnp.ones(text.tokens.shape, bool) if text.real is None else text.real
    positions, blocks, real = _places(text.tokens, text.mask_ar, text.order, real, jnp.asarray(places), each)
    x = jnp.concatenate([zimg, gemma.embed(config.llm, params["llm"], text.tokens, zimg.dtype)], axis=1)
    mask = attention.attention_mask(real, blocks)
    if text.segments is not None:
        segments = jnp.pad(text.segments, ((0, 0), (images, 0)))
        mask &= segments[:, :, None] == segments[:, None]
    if text.branches is not None:
        branches = jnp.pad(text.branches, ((0, 0), (images, 0)))
        mask &= (branches[:, :, None] == branches[:, None]) | (branches[:, None] == 0)
    return Sequence(x, positions, mask, real)


def _places(
    tokens: Int[AnyArray, "B T"],
    mask_ar: Int[AnyArray, "B T"],
    own_order: Int[AnyArray, "B T"] | None,
    real: Num[AnyArray, "B T"] | Bool[AnyArray, "B T"],
    places: Int[Array, "B I"],
    each: int,
) -> tuple[Int[Array, "B M"], Int[Array, "B M"], Bool[Array, "B M"]]:
    """Positions and blocks of all tokens, and which of them are real; `each` is the number of an image's tokens."""
    batch, count = places.shape
    order = jnp.arange(tokens.shape[1])
    there = places >= 0
    # Which of the images stand before a token of the text, or before another image.
    before_text = there[:, None] & (places[:, None] <= order[:, None])
    before_image = there[:, None] & jnp.tril(jnp.ones((count, count), bool), -1)
    starts = places + each * jnp.sum(before_image, axis=-1)
    of_images = (starts[..., None] + jnp.arange(each)).reshape(batch, -1)
    within = order if own_order is None else own_order
    positions = jnp.concatenate([of_images, within + each * jnp.sum(before_text, axis=-1)], axis=1)

    # An image inside the text begins a block, and the token behind it another.
    own = (places > 0).astype(jnp.int32)
    ar = jnp.cumsum(mask_ar, axis=1)
    blocks_before = jnp.sum(before_text * own[:, None], axis=-1)
    at = jnp.take_along_axis(ar, jnp.clip(places - 1, 0, ar.shape[1] - 1), axis=1)
    of_images = jnp.where(places > 0, at, 0) + jnp.sum(before_image * own[:, None], axis=-1) + own
    blocks = jnp.concatenate([jnp.repeat(of_images, each, axis=1), ar + blocks_before], axis=1)
    return positions, blocks, jnp.concatenate([jnp.repeat(there, each, axis=1), real.astype(bool)], axis=1)


def hidden_states(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    text: Text,
    dropout: gemma.Dropout | None = None,
) -> Float[Array, "B T D"]:
    """The language model's last hidden states [B, T, D] at the text tokens.

    Args:
      zimg: [B, N, D] image tokens; their dtype is the dtype of the computation.
      dropout: see `gemma.hidden_states`.
    """
    whole = sequence(config, params, zimg, text)
    x, _ = gemma.hidden_states(config.llm, params["llm"], whole.x, whole.mask, whole.positions, dropout)
    return x[:, zimg.shape[1] :]


def forward(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    text: Text,
    dtype: DTypeLike = jnp.float32,
) -> Float32[Array, "B T V"]:
    """Logits float32[B, T, V] at every text token, for images float[B, H, W, 3] in [-1, 1].

    Training does not call this: at PaliGemma's vocabulary of 257,152 it is the largest tensor of all.
    """
    zimg = image_tokens(config, params, image, dtype)
    return gemma.logits(config.llm, params["llm"], hidden_states(config, params, zimg, text))


class Branches(NamedTuple):
    """Continuations of a prompt as a tree: K tokens, each behind the prompt or behind another of them."""

    tokens: Int[AnyArray, " K"]
    depth: Int[AnyArray, " K"]  # 0 right behind the prompt, then 1, 2 …
    sees: Bool[AnyArray, "K K"]  # (token, itself or one that it follows)


def branched_states(
    config: ModelSpec, params: Params, zimg: Float[AnyArray, "B N D"], prompt: Text, branches: Branches
) -> Float[Array, "B _ D"]:
    """Hidden states at the end of a prompt and all along its continuations, in one pass.

    Args:
      zimg: [B, N, D].
      prompt: left aligned: padding only at the end.
      branches: the continuations, the same for every prompt; none of them sees another.

    Returns:
      [B, 1 + K, D]: after the prompt, then after each token of the continuations.
    """
    x, positions, mask, real = sequence(config, params, zimg, prompt)
    (batch, length, _), count = x.shape, len(branches.tokens)
    added = gemma.embed(config.llm, params["llm"], jnp.asarray(branches.tokens)[None], zimg.dtype)
    x = jnp.concatenate([x, jnp.broadcast_to(added, (batch, *added.shape[1:]))], axis=1)
    to_prompt = jnp.broadcast_to(real[:, None], (batch, count, length))
    to_others = jnp.broadcast_to(jnp.asarray(branches.sees)[None], (batch, count, count))
    mask = jnp.concatenate(
        [jnp.pad(mask, ((0, 0), (0, 0), (0, count))), jnp.concatenate([to_prompt, to_others], axis=2)], axis=1
    )
    # A continuation goes on where the prompt ends, wherever the padding behind it puts its tokens.
    ends = jnp.sum(real, axis=1)
    positions = jnp.concatenate([positions, ends[:, None] + jnp.asarray(branches.depth)[None]], axis=1)
    last = jnp.broadcast_to(length + jnp.arange(count), (batch, count))
    rows = jnp.concatenate([_last_row(real)[:, None], last], axis=1)
    return gemma.selected_states(config.llm, params["llm"], x, mask, positions, rows)


def _last_row(real: Bool[Array, "B M"]) -> Int[Array, " B"]:
    """The row of each example's last real token; the text comes last, and its padding behind it."""
    return jnp.max(jnp.where(real, jnp.arange(real.shape[1]), 0), axis=1)


def prefill(
    config: ModelSpec, params: Params, zimg: Float[AnyArray, "B N D"], prompt: Text, cache_size: int
) -> tuple[Float32[Array, "B V"], Cache, Int[Array, " B"]]:
    """Runs the prompt and opens the key/value cache.

    Args:
      zimg: [B, N, D].
      prompt: left aligned: padding only at the end.
      cache_size: the most tokens that a sequence will have; at least N + T plus the tokens to come.

    Returns:
      Logits float32[B, V] after the last real token, the cache, and the sequence length int[B] of each example: the
      position of its next token.
    """
    x, positions, mask, real = sequence(config, params, zimg, prompt)
    x, found = gemma.hidden_states(config.llm, params["llm"], x, mask, positions)
    last = jnp.take_along_axis(x, _last_row(real)[:, None, None], axis=1)[:, 0]
    filled = cache.fill(config.llm, found, positions, real, cache_size)
    return gemma.logits(config.llm, params["llm"], last), filled, jnp.sum(real, axis=1)


def extend(
    config: ModelSpec, params: Params, before: Cache, token: Int[Array, " B"], position: Int[Array, " B"]
) -> tuple[Float32[Array, "B V"], Cache]:
    """One more token int[B] of every example, at positions int[B]; returns logits float32[B, V] and the cache."""
    x = gemma.embed(config.llm, params["llm"], token[:, None], before.keys[0].dtype)[:, 0]
    x, after = gemma.next_states(config.llm, params["llm"], x, position, before)
    return gemma.logits(config.llm, params["llm"], x), after

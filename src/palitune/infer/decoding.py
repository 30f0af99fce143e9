"""Free answers by greedy decoding with a key/value cache.

Axes: B batch, N image tokens, T prompt tokens, A answer tokens, D width.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palitune import trees
from palitune.data import batches
from palitune.data.tokens import Text, Tokenizer
from palitune.models import paligemma
from palitune.models.variants import PaliGemmaConfig

MAX_ANSWER = 8  # tokens; "yes" and "no" are one each


def greedy(
    config: PaliGemmaConfig,
    params: Mapping[str, Any],
    zimg: jax.Array,
    text: jax.Array,
    mask_input: jax.Array,
    length: int,
    eos: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The likeliest token, again and again.

    Args:
      zimg: [B, N, D] image tokens.
      text: int32[B, T] prompts, left aligned.
      mask_input: int32[B, T], 1 for real tokens.
      length: A, the most tokens an answer may have.
      eos: decoding ends when every answer has this token.

    Returns:
      Tokens int32[B, A] (zeros where decoding had ended), their log-probabilities float32[B, A], and the logits of the
      first of them, float32[B, V] with V the size of the vocabulary.
    """
    batch, prompt = text.shape
    first, cache, lengths = paligemma.prefill(
        config, params, zimg, text, mask_input, cache_size=zimg.shape[1] + prompt + length
    )
    tokens, logp = jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch, length))
    done = jnp.zeros((batch,), bool)

    def unfinished(state: Any) -> jax.Array:
        index, done = state[0], state[1]
        return (index < length) & ~jnp.all(done)

    def step(state: Any) -> Any:
        index, done, logits, cache, tokens, logp = state
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=-1)[:, 0]
        tokens, logp = tokens.at[:, index].set(token), logp.at[:, index].set(chosen)
        logits, cache = paligemma.extend(config, params, cache, token, lengths + index)
        return index + 1, done | (token == eos), logits, cache, tokens, logp

    state = jax.lax.while_loop(unfinished, step, (0, done, first, cache, tokens, logp))
    return state[4], state[5], first


class Answer(NamedTuple):
    """What a model says of a picture."""

    text: str
    p_yes: float  # P(yes) / (P(yes) + P(no)) of the answer's first token


class Answerer:
    """Answers for pictures with prompts, in batches of one size, so that few programs are compiled."""

    def __init__(self, config: PaliGemmaConfig, tokenizer: Tokenizer, dtype: Any, batch_size: int = 8) -> None:
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        yes, no = (tokenizer.example("", word).ids[tokenizer.prompt("").suffix_start] for word in ("yes", "no"))

        @functools.partial(jax.jit, static_argnames=("length",))
        def decode(params: Mapping[str, Any], prompts: batches.Prompts, length: int) -> tuple[jax.Array, jax.Array]:
            tree = trees.unflatten(params)
            zimg = paligemma.image_tokens(config, tree, prompts.image, dtype)
            eos = tokenizer.eos
            tokens, _, first = greedy(config, tree, zimg, prompts.text, prompts.mask_input, length, eos)
            return tokens, jax.nn.sigmoid(first[:, yes] - first[:, no])

        self.decode: Callable[..., tuple[jax.Array, jax.Array]] = decode

    def __call__(self, params: Mapping[str, Any], questions: Iterable[tuple[Any, Text]]) -> Iterator[Answer]:
        """One answer for each (picture as in `Batch.image`, prompt), in order. `params` is flat."""
        waiting: list[tuple[Any, Text]] = []
        for question in questions:
            waiting.append(question)
            if len(waiting) == self.batch_size:
                yield from self._answer(params, waiting)
                waiting = []
        if waiting:
            yield from self._answer(params, waiting)

    def _answer(self, params: Mapping[str, Any], questions: list[tuple[Any, Text]]) -> list[Answer]:
        # A short last batch is filled up with its last question, whose extra answers are dropped.
        filled = questions + questions[-1:] * (self.batch_size - len(questions))
        images = np.stack([pixels for pixels, _ in filled])
        prompts = batches.prompts(images, [text for _, text in filled])
        tokens, p_yes = (np.asarray(found) for found in self.decode(params, prompts, length=MAX_ANSWER))
        said = zip(tokens[: len(questions)], p_yes.tolist(), strict=False)
        return [Answer(self.tokenizer.answer(row.tolist()), share) for row, share in said]

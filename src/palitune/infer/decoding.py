"""Free answers by greedy decoding with a key/value cache.

Axes: B batch, N image tokens, T prompt tokens, A answer tokens, D width.
"""

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int32

from palitune import trees
from palitune.data import batches, templates
from palitune.data.templates import Template
from palitune.infer.prompt_batches import BATCH_SIZE, Question, in_batches, text_of
from palitune.models import ensemble
from palitune.models.arrays import AnyArray, Flat, Params
from palitune.models.cache import Cache
from palitune.models.multimodal import Text
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement, program

MAX_ANSWER = 8  # tokens; "yes" and "no" are one each
MAX_TEXT = 256  # tokens of an answer that is none of some labels
# Tokens written so far, which answers are done, the next logits, the cache, the tokens and their log-probabilities.
State = tuple[int | jax.Array, jax.Array, jax.Array, Cache, jax.Array, jax.Array]


def greedy(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    prompt: Text,
    length: int,
    eos: int,
    pieces: int | None = None,
    dtype: DTypeLike | None = None,
) -> tuple[Int32[Array, "B A"], Float32[Array, "B A"]]:
    """The likeliest token, again and again.

    Args:
      params: nested, of a model or of an ensemble, whose members write together.
      image: pixels, or the image tokens of all members.
      prompt: left aligned.
      length: A, the most tokens an answer may have.
      eos: decoding ends when every answer has this token.
      pieces: tokens that may be written; a model has more rows than its tokenizer has pieces. All by default.
      dtype: of the computation; by default that of the image tokens.

    Returns:
      Tokens int32[B, A] (zeros where decoding had ended) and their log-probabilities float32[B, A].
    """
    batch, prompt_length = prompt.tokens.shape
    patches = image.shape[1] if image.ndim == 3 else config.num_image_tokens
    size = patches + prompt_length + length
    begun = ensemble.prefill(config, params, image, prompt, size, image.dtype if dtype is None else dtype)
    logits, cache, lengths = begun
    tokens, logp = jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch, length))
    done = jnp.zeros((batch,), bool)

    def unfinished(state: State) -> jax.Array:
        index, done = state[0], state[1]
        return (index < length) & ~jnp.all(done)

    def step(state: State) -> State:
        index, done, logits, cache, tokens, logp = state
        token = jnp.argmax(logits[:, :pieces], axis=-1).astype(jnp.int32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=-1)[:, 0]
        tokens, logp = tokens.at[:, index].set(token), logp.at[:, index].set(chosen)
        logits, cache = ensemble.extend(config, params, cache, token, lengths + index)
        return index + 1, done | (token == eos), logits, cache, tokens, logp

    begin: State = (0, done, logits, cache, tokens, logp)
    state = jax.lax.while_loop(unfinished, step, begin)
    return state[4], state[5]


class Writer:
    """What a model writes freely."""

    def __init__(
        self,
        config: ModelSpec,
        template: Template,
        dtype: DTypeLike,
        batch_size: int = BATCH_SIZE,
        most: int = MAX_ANSWER,
        placement: Placement | None = None,
    ) -> None:
        """Args:
        most: tokens of an answer, which is cut there.
        """
        self.template, self.batch_size = template, batch_size
        self.patches, self.width = config.num_image_tokens, config.llm.width

        def decode(params: Flat, prompts: batches.Prompts) -> tuple[Int32[Array, "B A"], Bool[Array, " B"]]:
            tree = trees.unflatten(params)
            pieces = min(template.vocabulary.size, config.llm.vocab_size)
            tokens, logp = greedy(config, tree, prompts.image, text_of(prompts), most, template.end, pieces, dtype)
            return tokens, jnp.isfinite(logp).all(axis=1)

        self.decode: Callable[[Flat, batches.Prompts], tuple[Int32[Array, "B A"], Bool[Array, " B"]]] = program(
            decode, placement
        )

    def __call__(self, params: Flat, questions: Iterable[Question | None]) -> Iterator[str | None]:
        """A text for each question, as in `questions.in_batches`; None if a logit is not finite. `params` is flat."""

        def answered(prompts: batches.Prompts) -> list[str | None]:
            tokens, sound = (np.asarray(found) for found in self.decode(params, prompts))
            rows = zip(tokens, sound, strict=True)
            return [templates.written(self.template, row.tolist()) if is_sound else None for row, is_sound in rows]

        return in_batches(answered, questions, self.batch_size, self.patches, self.width)

"""One answer, a token at a time, so that it can be shown while it is written.

Axes: B batch (1), N image tokens, T prompt tokens, V vocabulary.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from palitune import trees
from palitune.data import batches
from palitune.data.batches import Prompts
from palitune.data.encode import Encoded
from palitune.data.images.loader import ImageArray
from palitune.data.templates import Template
from palitune.data.vocabulary import EOS, Vocabulary
from palitune.errors import BadDataError
from palitune.infer.prompt_batches import text_of
from palitune.infer.sampling import Sampling, next_token
from palitune.models import ensemble
from palitune.models.arrays import Flat
from palitune.models.cache import Cache
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement, whole_program

WIDTH = 64  # prompts are padded to a multiple of it, and so is the cache: each width is a program
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MOST_WAITING = 3  # bytes of a character that is not whole; each may be a token, and decodes as `REPLACEMENT`


class Said(NamedTuple):
    """Where an answer stands."""

    logits: jax.Array  # float32[1, V] of the next token
    cache: Cache
    position: jax.Array  # int[1] of the next token
    seen: jax.Array  # bool[1, V], the tokens that were there before


class TokenWriter:
    """Writes an answer token by token. Each width of a prompt has a compiled program, and each size of a cache."""

    def __init__(
        self,
        config: ModelSpec,
        dtype: DTypeLike,
        pieces: int,
        ends: Collection[int],
        placement: Placement | None = None,
    ) -> None:
        """Args:
        dtype: of the computation.
        pieces: tokens that may be written; a model has more rows than its tokenizer has pieces.
        ends: tokens of which each ends an answer.
        """
        self.ends, self.patches = frozenset(ends), config.num_image_tokens

        def begin(params: Flat, prompts: Prompts, size: int) -> Said:
            tree = trees.unflatten(params)
            logits, cache, lengths = ensemble.prefill(config, tree, prompts.image, text_of(prompts), size, dtype)
            there = jnp.where(prompts.mask_input[0] > 0, prompts.text[0], pieces)  # padding is behind all of them
            seen = jnp.zeros((1, pieces), bool).at[0, there].set(True, mode="drop")
            return Said(logits[:, :pieces], cache, lengths, seen)

        def go_on(params: Flat, said: Said, token: jax.Array) -> Said:
            tree = trees.unflatten(params)
            logits, cache = ensemble.extend(config, tree, said.cache, token, said.position)
            return Said(logits[:, :pieces], cache, said.position + 1, said.seen.at[0, token[0]].set(True))

        @jax.jit
        def choose(said: Said, key: jax.Array, number: int, how: Sampling) -> tuple[jax.Array, jax.Array]:
            token = next_token(said.logits, said.seen, jax.random.fold_in(key, number), how)
            return token, jnp.isfinite(said.logits).all()

        self.begin: Callable[[Flat, Prompts, int], Said] = whole_program(begin, placement, static_argnums=2)
        self.go_on: Callable[[Flat, Said, jax.Array], Said] = whole_program(go_on, placement, donate_argnums=1)
        self.choose: Callable[[Said, jax.Array, int, Sampling], tuple[jax.Array, jax.Array]] = choose

    @classmethod
    def of(
        cls, config: ModelSpec, template: Template, dtype: DTypeLike, placement: Placement | None = None
    ) -> "TokenWriter":
        """The writer of a model with its template."""
        words = template.vocabulary
        # A model that was never taught to end its turn may end the text.
        ends = {template.end, *([words.eos] if words.has(EOS) else [])}
        return cls(config, dtype, min(words.size, config.llm.vocab_size), ends, placement)

    def tokens(
        self, params: Flat, image: ImageArray, prompt: Encoded, most: int, how: Sampling, seed: int = 0
    ) -> Iterator[int]:
        """The tokens of an answer without the one that ends it, as soon as each is there, `most` of them at most.

        Args:
          params: flat, on the device.
          image: as in `Batch.image`.
          seed: of what is drawn; the same seed draws the same.

        Raises:
          BadDataError: a logit is not finite, so that nothing can be said.
        """
        prompts = _padded(batches.prompts(np.asarray(image)[None], [prompt]))
        size = self.patches + prompts.text.shape[1] + -(-most // WIDTH) * WIDTH
        said, key = self.begin(params, prompts, size), jax.random.key(seed)
        for number in range(most):
            token, is_finite = self.choose(said, key, number, how)
            if not bool(is_finite):
                hint = "Its parameters are damaged, or too large for --dtype: download or learn it again"
                raise BadDataError("a score is not finite, so there is no answer", hint=hint)
            if (found := int(token[0])) in self.ends:
                return
            yield found
            if number + 1 < most:
                said = self.go_on(params, said, token)


def texts_of(vocabulary: Vocabulary, tokens: Iterator[int]) -> Iterator[str]:
    """The text of tokens as they come, in pieces of whole characters; together they are what decoding all makes."""
    ids: list[int] = []
    given = ""
    for token in tokens:
        ids.append(token)
        text = vocabulary.decode(ids)
        sure = len(text.rstrip(REPLACEMENT))
        # The bytes of a character may come one by one; those that can still become one are waited with.
        sure = max(sure, len(text) - MOST_WAITING)
        if sure > len(given) and text.startswith(given):
            yield text[len(given) : sure]
            given = text[:sure]
    text = vocabulary.decode(ids)
    if rest := text[len(given) :]:
        yield rest


def _padded(prompts: Prompts) -> Prompts:
    """The same prompts, padded so that few widths come."""
    extra = -prompts.text.shape[1] % WIDTH

    def wider(
        array: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        return np.pad(array, ((0, 0), (0, extra)))

    return prompts._replace(
        text=wider(prompts.text), mask_ar=wider(prompts.mask_ar), mask_input=wider(prompts.mask_input)
    )

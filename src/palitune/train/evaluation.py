"""What a model makes of a whole validation set, in one forward pass for each batch.

Under teacher forcing every token of an answer is compared with the likeliest one. Greedy decoding says the right answer
exactly if all of them agree, so the share of such answers is the accuracy that decoding would find.

Axes: B batch, K loss tokens.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palitune import trees
from palitune.data import batches
from palitune.data.batches import Batch
from palitune.data.pictures import Shown, Wanted, sound
from palitune.data.records import Record
from palitune.data.tokens import Text
from palitune.models import gemma, paligemma
from palitune.models.variants import PaliGemmaConfig
from palitune.train import objective

BATCH_SIZE = 8


class Evaluation(NamedTuple):
    """Means over all examples, and what was seen of each of them."""

    loss: float  # mean over an answer's tokens, then over the examples
    token_accuracy: float  # share of all answers' tokens that are the likeliest ones
    losses: list[float]  # of each example
    right: list[bool]  # whether greedy decoding would say the whole answer
    first: list[int]  # the likeliest first token


class Evaluator:
    """`evaluator(params) -> Evaluation` of always the same examples, with one compiled program."""

    def __init__(
        self,
        config: PaliGemmaConfig,
        records: Sequence[Record],
        texts: Sequence[Text],
        pictures: Shown,
        dtype: Any,
        chunks: int = 1,
    ) -> None:
        self.records, self.texts, self.pictures = records, texts, pictures
        _, self.longest = batches.longest(texts)

        @jax.jit
        def look(params: Mapping[str, Any], batch: Batch) -> Any:
            tree = trees.unflatten(params)
            zimg = paligemma.image_tokens(config, tree, batch.image, dtype)
            hidden = paligemma.hidden_states(config, tree, zimg, batch.text, batch.mask_ar, batch.mask_input)
            chosen = jnp.take_along_axis(hidden, batch.positions[..., None], axis=1)
            table = tree["llm"]["embedder"]["input_embedding"]
            flat = chosen.reshape(-1, chosen.shape[-1])
            losses, right = objective.token_losses(flat, table, batch.targets.reshape(-1), chunks)
            first = jnp.argmax(gemma.logits(tree["llm"], chosen[:, 0]), axis=-1)
            return losses.reshape(batch.weights.shape), right.reshape(batch.weights.shape), first

        self.look = look

    def __call__(self, params: Mapping[str, Any]) -> Evaluation:
        """`params` is flat."""
        shown = sound(self.pictures.ahead(Wanted(record.image, record.where) for record in self.records))
        parts = [self._batch(params, start, shown) for start in range(0, len(self.records), BATCH_SIZE)]
        losses, right, real, first = (np.concatenate(part) for part in zip(*parts, strict=True))
        each = (losses * real).sum(axis=1) / real.sum(axis=1)
        return Evaluation(
            loss=float(each.mean()),
            token_accuracy=float((right * real).sum() / real.sum()),
            losses=each.tolist(),
            right=np.all(right >= real, axis=1).tolist(),
            first=[int(token) for token in first],
        )

    def _batch(self, params: Mapping[str, Any], start: int, shown: Iterator[Any]) -> tuple[np.ndarray[Any, Any], ...]:
        chosen = list(range(start, min(start + BATCH_SIZE, len(self.records))))
        # A short last batch is filled up, so that one program serves all.
        extra = BATCH_SIZE - len(chosen)
        filled = chosen + chosen[-1:] * extra
        pixels = [next(shown) for _ in chosen]
        images = np.stack(pixels + pixels[-1:] * extra)
        batch = batches.training(images, [self.texts[i] for i in filled], self.longest)
        losses, right, first = (np.asarray(value) for value in self.look(params, batch))
        count = len(chosen)
        return losses[:count], right[:count], batch.weights[:count], first[:count]

    @functools.cached_property
    def first_right(self) -> list[int]:
        """The first tokens of the right answers."""
        return [text.ids[text.suffix_start] for text in self.texts]

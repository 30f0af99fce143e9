"""What a model makes of a whole validation set, in one forward pass for each batch.

Under teacher forcing every token of an answer is compared with the likeliest one. Greedy decoding says the right answer
exactly if all of them agree, so the share of such answers is the accuracy that decoding would find. It is a program of
its own beside `infer.scoring`, because it has to say what the loss is: of whole answers that may be free text, with the
trainable parameters as they are at a step, and not the scores of a few labels.

Axes: B batch, K loss tokens, A answers of an example.
"""

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from palitune import trees
from palitune.data import batches
from palitune.data.batches import Batch
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.images.loader import ImageArray, ImageLoader, ImageSource, raise_first
from palitune.data.images.of_examples import images_of
from palitune.models import ensemble, gathering, gemma, multimodal
from palitune.models.arrays import AnyArray, Flat, Params
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement, program
from palitune.train import objective

BATCH_SIZE = 8
MOST_LOGITS = 1 << 29  # bytes
TOGETHER = 16  # tokens whose logits by every member of an ensemble are there at a time
UNKNOWN = 0.01  # probability of all labels together below which a model does not know them


class Evaluation(NamedTuple):
    """Means over all examples, and what was seen of each of them, or of each answer.

    An example has several answers where it has several targets, or a chat several turns that count; all of one example
    come one after another.
    """

    loss: float  # mean over an example's tokens, then over the examples
    token_accuracy: float  # share of all answers' tokens that are the likeliest ones
    losses: list[float]  # of each example
    right: list[bool]  # whether greedy decoding would say the whole answer, of each answer
    first: list[int]  # the likeliest first token of each answer
    known: float = 1.0  # mean probability that an answer begins as one of the labels does
    strange: int = 0  # answers that are none of the labels, as far as this tells

    @property
    def is_lost(self) -> bool:
        """Whether no answer is right, and some are none of the labels, or all but surely so."""
        return not any(self.right) and bool(self.strange or self.known < UNKNOWN)


class Evaluator:
    """`evaluator(params) -> Evaluation` of always the same examples, with one compiled program."""

    def __init__(
        self,
        config: ModelSpec,
        records: Sequence[Example],
        texts: Sequence[Encoded],
        images: ImageSource,
        dtype: DTypeLike,
        chunks: int = 1,
        labels: Sequence[int] = (),
        placement: Placement | None = None,
    ) -> None:
        """`labels` are the first tokens that answers may have beside those of the texts."""
        self.records, self.texts, self.images, self.placement = records, texts, images, placement
        _, self.longest = batches.longest(texts)
        logits = 4 * BATCH_SIZE * self.longest * config.llm.vocab_size
        chunks = max(chunks, -(-logits // MOST_LOGITS))  # of long answers they would take more memory than all else
        if placement is not None:
            chunks = placement.chunks(chunks)
        # Where each answer begins and ends among the tokens of its example that count in the loss.
        ends = [np.cumsum([len(answer) for answer in text.answers]) for text in texts]
        self.spans = [list(zip((0, *found[:-1].tolist()), found.tolist(), strict=True)) for found in ends]
        self.most = max(map(len, self.spans))
        self.together = (
            config.img.together(BATCH_SIZE) if config.img and isinstance(images, ImageLoader) else BATCH_SIZE
        )
        self.patches = config.num_image_tokens
        self.groups = self._groups()
        self.beginnings = np.array(sorted({*labels, *self.first_right}), np.int32)

        def measure(params: Flat, batch: Batch, starts: AnyArray) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            tree = trees.unflatten(params)

            def states(tree: Params) -> jax.Array:
                zimg = multimodal.image_tokens(config, tree, batch.image, dtype)
                hidden = multimodal.hidden_states(config, tree, zimg, objective.text_of(batch))
                return jnp.take_along_axis(hidden, batch.positions[..., None], axis=1)

            chosen, are_several = ensemble.each(tree, states)
            if are_several:
                return self._together(config, tree, chosen, batch.targets, starts)
            table = gemma.output_table(tree["llm"])
            met, targets = gathering.beside_table((chosen, batch.targets))
            losses, right = objective.token_losses(
                met.reshape(-1, met.shape[-1]), table, targets.reshape(-1), chunks, 0.0, config.llm.final_logits_softcap
            )
            begun = jnp.take_along_axis(chosen, starts[..., None], axis=1)
            logits = gemma.logits(config.llm, tree["llm"], begun)
            known = jnp.sum(jax.nn.softmax(logits, axis=-1)[..., self.beginnings], axis=-1)
            shape = batch.weights.shape
            return losses.reshape(shape), right.reshape(shape), jnp.argmax(logits, axis=-1), known

        self.measure = program(measure, placement)

    def _groups(self) -> list[tuple[list[int], int]]:
        """Which examples make a batch, as `batches.groups` says."""
        lengths = [len(text.tokens) - 1 for text in self.texts]
        return list(batches.groups(lengths, self.together, self.patches))

    def part(self, places: Sequence[int]) -> "Evaluator":
        """The evaluator of some of the examples, by the same program."""
        found = copy.copy(self)
        found.__dict__.pop("first_right", None)  # of all of them, where it is known already
        found.records = [self.records[place] for place in places]
        found.texts = [self.texts[place] for place in places]
        found.spans = [self.spans[place] for place in places]
        found.groups = found._groups()
        return found

    def _together(
        self, config: ModelSpec, tree: Params, hidden: jax.Array, targets: AnyArray, starts: AnyArray
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """What `measure` returns, of the members of an ensemble together; hidden states are [E, B, K, D]."""

        def told(logp: jax.Array, target: jax.Array) -> tuple[jax.Array, ...]:
            right = (logp[target] >= jnp.max(logp)).astype(jnp.float32)
            return -logp[target], right, jnp.argmax(logp), jnp.sum(jnp.exp(logp[self.beginnings]))

        flat = hidden.reshape(len(hidden), -1, hidden.shape[-1])
        found = ensemble.of_tokens(config, tree, flat, told, jnp.asarray(targets).reshape(-1), together=TOGETHER)
        losses, right, likeliest, known = (one.reshape(targets.shape) for one in found)
        first, known = (jnp.take_along_axis(one, jnp.asarray(starts), axis=1) for one in (likeliest, known))
        return losses, right, first, known

    def __call__(self, params: Flat) -> Evaluation:
        """`params` is flat."""
        shown = raise_first(images_of(self.records, self.images))
        parts = [self._batch(params, chosen, size, shown) for chosen, size in self.groups]
        losses, right, real, first, known = (np.concatenate(part) for part in zip(*parts, strict=True))
        each = (losses * real).sum(axis=1) / real.sum(axis=1)
        places = [place for chosen, _ in self.groups for place in chosen]
        answers = [(row, number) for row, place in enumerate(places) for number in range(len(self.spans[place]))]
        firsts = np.array([first[one] for one in answers])
        spans = [self.spans[places[row]][number] for row, number in answers]
        whole = [bool(right[row, start:end].all()) for (row, _), (start, end) in zip(answers, spans, strict=True)]
        # An answer that begins as the right one should end like it; how one that begins otherwise ends is not known.
        rest = [bool(right[row, start + 1 : end].all()) for (row, _), (start, end) in zip(answers, spans, strict=True)]
        ends = np.array(rest) | (firsts != self.first_right)
        return Evaluation(
            loss=float(each.mean()),
            token_accuracy=float((right * real).sum() / real.sum()),
            losses=each.tolist(),
            right=whole,
            first=[int(token) for token in firsts],
            known=float(np.mean([known[one] for one in answers])),
            strange=int((~np.isin(firsts, self.beginnings) | ~ends).sum()),
        )

    def _batch(self, params: Flat, chosen: list[int], size: int, shown: Iterator[ImageArray]) -> tuple[AnyArray, ...]:
        # A short last batch is filled up, so that one program serves all, and any so that devices have equal parts.
        if self.placement is not None:
            size = self.placement.rounded(size)
        extra = size - len(chosen)
        filled = chosen + chosen[-1:] * extra
        pixels = [next(shown) for _ in chosen]
        images = np.stack(pixels + pixels[-1:] * extra)
        batch = batches.training(images, [self.texts[i] for i in filled], self.longest)
        starts = np.zeros((size, self.most), np.int32)
        for row, place in enumerate(filled):
            starts[row, : len(self.spans[place])] = [start for start, _ in self.spans[place]]
        losses, right, first, known = (np.asarray(value) for value in self.measure(params, batch, starts))
        count = len(chosen)
        return losses[:count], right[:count], batch.weights[:count], first[:count], known[:count]

    @functools.cached_property
    def first_right(self) -> list[int]:
        """The first tokens of the right answers."""
        return [int(text.tokens[answer[0]]) for text in self.texts for answer in text.answers]

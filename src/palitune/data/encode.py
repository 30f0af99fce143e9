"""An example as a model takes it: tokens, where the loss counts, which tokens see which, and where the images stand.

Axes: T tokens of one example.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune.data.example import Image

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int32]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Encoded(NamedTuple):
    """An example as a model takes it; nothing after this knows what kind of example it was.

    Attributes:
      tokens: int32[T], without those of images.
      loss_weights: float32[T], how much it counts in the loss that a token is predicted; 0 where it does not.
      attention_blocks: int32[T], in ascending order: a token sees all tokens of its own block and of those below.
        Tokens of one block see each other; causal text has a block for each token.
      images: what the tokens are about, in order.
      image_places: how many of the tokens come before each image. An image in front shares the block of the text's
        beginning; one inside the text is a block of its own.
      branches: int32[T] where several questions are asked about one beginning: 0 for that, k for the k-th question and
        its answer. A token sees no other question than its own. None is a single question.
    """

    tokens: Ints
    loss_weights: Floats
    attention_blocks: Ints
    images: tuple[Image, ...] = ()
    image_places: tuple[int, ...] = ()
    branches: Ints | None = None

    @property
    def order(self) -> Ints:
        """int32[T]: the position of each token in its text; a question's go on where the beginning ends."""
        order: Ints = np.arange(len(self.tokens), dtype=np.int32)
        if self.branches is not None:
            shared = int(np.sum(self.branches == 0))
            for number in range(1, int(self.branches.max(initial=0)) + 1):
                own = self.branches == number
                order[own] = shared + np.arange(own.sum())
        return order

    @property
    def answers(self) -> list[Ints]:
        """The places that count in the loss, of each answer on its own: of each run of tokens."""
        places = self.loss_places
        return np.split(places, 1 + np.flatnonzero(np.diff(places) > 1)) if len(places) else []

    @property
    def loss_places(self) -> Ints:
        """int32[K]: the tokens that count in the loss. The first token of all is never predicted."""
        places: Ints = (1 + np.flatnonzero(self.loss_weights[1:])).astype(np.int32)
        return places

    @property
    def first_target(self) -> int:
        """The first token that counts in the loss. Raises IndexError where there is none."""
        return int(self.tokens[self.loss_places[0]])

    @property
    def prompt_length(self) -> int:
        """How many tokens come before the first that counts in the loss; all of them, of a prompt."""
        places = self.loss_places
        return int(places[0]) if len(places) else len(self.tokens)

    def answered(self, answer: Sequence[int]) -> "Encoded":
        """The prompt that this is with the tokens of an answer behind it, which are causal and count in the loss."""
        count, last = len(answer), int(self.attention_blocks[-1])
        return self._replace(
            tokens=np.concatenate([self.tokens, np.array(answer, np.int32)]),
            loss_weights=np.concatenate([self.loss_weights, np.ones(count, np.float32)]),
            attention_blocks=np.concatenate(
                [self.attention_blocks, np.arange(last + 1, last + 1 + count, dtype=np.int32)]
            ),
        )


def prefix(tokens: Sequence[int], images: tuple[Image, ...] = ()) -> Encoded:
    """A prompt whose tokens all see each other, with its images in front.

    Source: PaliGemma's prefix-LM, https://arxiv.org/abs/2407.07726
    """
    ids = np.array(tokens, np.int32)
    return Encoded(ids, np.zeros(len(ids), np.float32), np.zeros(len(ids), np.int32), images, (0,) * len(images))


def causal(tokens: Sequence[int], images: tuple[Image, ...] = (), image_places: tuple[int, ...] = ()) -> Encoded:
    """A prompt whose tokens see what comes before them."""
    ids = np.array(tokens, np.int32)
    blocks = np.arange(len(ids), dtype=np.int32)
    return Encoded(ids, np.zeros(len(ids), np.float32), blocks, images, image_places)


def branched(beginning: Encoded, questions: Sequence[Encoded]) -> Encoded:
    """Several questions, with or without answers, about what is computed once: each sees the beginning and itself."""
    blocks, branches = [beginning.attention_blocks], [np.zeros(len(beginning.tokens), np.int32)]
    for number, question in enumerate(questions, 1):
        blocks.append(question.attention_blocks + 1 + blocks[-1][-1])
        branches.append(np.full(len(question.tokens), number, np.int32))
    return beginning._replace(
        tokens=np.concatenate([beginning.tokens, *(one.tokens for one in questions)]),
        loss_weights=np.concatenate([beginning.loss_weights, *(one.loss_weights for one in questions)]),
        attention_blocks=np.concatenate(blocks),
        branches=np.concatenate(branches),
    )

"""A template turns an example into tokens, and says where the loss counts and which tokens see which.

Axes: T tokens of one example.
"""

from typing import NamedTuple, Protocol

import numpy as np

from palitune.data.example import Example, Image
from palitune.data.tokens import Text
from palitune.errors import BadDataError

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int32]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Encoded(NamedTuple):
    """An example as a model takes it; nothing after this knows what kind of example it was.

    Attributes:
      tokens: int32[T].
      loss_weights: float32[T], how much it counts in the loss that a token is predicted; 0 where it does not.
      attention_blocks: int32[T], in ascending order: a token sees all tokens of its own block and of those below, and
        every image. Tokens of one block see each other; causal text has a block for each token.
      images: what the tokens are about, in order.
    """

    tokens: Ints
    loss_weights: Floats
    attention_blocks: Ints
    images: tuple[Image, ...] = ()

    @property
    def loss_places(self) -> Ints:
        """int32[K]: the tokens that count in the loss. The first token of all is never predicted."""
        places: Ints = (1 + np.flatnonzero(self.loss_weights[1:])).astype(np.int32)
        return places

    @property
    def first_target(self) -> int:
        """The first token that counts in the loss. Raises IndexError where there is none."""
        return int(self.tokens[self.loss_places[0]])


class TextEncoder(Protocol):
    """What a template needs of a tokenizer."""

    def example(self, prefix: str, suffix: str, where: str | None = None) -> Text:
        """The tokens of a prompt and an answer, and where the answer begins."""
        ...


def prefix_suffix(text: Text, images: tuple[Image, ...] = ()) -> Encoded:
    """A prefix whose tokens see each other, then a suffix that is causal and counts in the loss.

    Source: PaliGemma's prefix-LM, https://arxiv.org/abs/2407.07726
    """
    causal = np.maximum(np.arange(len(text.ids)) - text.suffix_start + 1, 0)
    return Encoded(np.array(text.ids, np.int32), np.minimum(causal, 1).astype(np.float32),
                   causal.astype(np.int32), images)  # fmt: skip


def require_paligemma(example: Example) -> None:
    """Raises BadDataError for what PaliGemma's template has no place for: chats, and any but one image."""
    messages, images = len(example.messages), len(example.images)
    if messages != 1 or example.messages[0].role != "user":
        what = f"PaliGemma takes one message of the user, and this example has {messages} messages"
        raise BadDataError(what, where=example.where)
    if images != 1:
        what = f"PaliGemma takes one image, and this example has {images or 'none'}"
        raise BadDataError(what, where=example.where)
    if not example.targets:
        raise BadDataError("the example has no target, so nothing is asked", where=example.where)


def paligemma(example: Example, tokenizer: TextEncoder, prompt: str) -> Encoded:
    """PaliGemma's template: the prompt, a newline, and the answer to the first target with an end token.

    Args:
      prompt: takes the place of an empty one.

    Raises:
      BadDataError: the prompt is too long, or as `require_paligemma`.
    """
    require_paligemma(example)
    return prefix_suffix(tokenizer.example(example.prompt or prompt, example.label, example.where), example.images)

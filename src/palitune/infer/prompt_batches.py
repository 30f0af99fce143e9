"""Questions put to a model in batches of one size, so that few programs are compiled."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from palitune.data import batches
from palitune.data.batches import Prompts
from palitune.data.encode import Encoded
from palitune.data.images.loader import ImageArray
from palitune.models.multimodal import Text

BATCH_SIZE = 8
PATCHES = 256  # image tokens at 224 pixels
T = TypeVar("T")


def in_batches(
    answered: Callable[[Prompts], Sequence[T]],
    questions: Iterable[tuple[ImageArray, Encoded]],
    size: int,
    patches: int = PATCHES,
) -> Iterator[T]:
    """What `answered` makes of each (image as in `Batch.image`, prompt), in order, `size` of them at a time.

    Fewer of long prompts, so that one of them does not make the batch of all others as long (`batches.together`).

    Args:
      patches: image tokens of an image.
    """
    waiting: list[tuple[ImageArray, Encoded]] = []
    width = 0
    for question in questions:
        own = max(batches.SHORT, batches.bucket(question[1].prompt_length))
        if waiting and own != width:
            yield from _answers(answered, waiting, batches.together(width, size, patches))
            waiting = []
        width = own
        waiting.append(question)
        if len(waiting) == batches.together(width, size, patches):
            yield from answered(_batch(waiting))
            waiting = []
    if waiting:
        yield from _answers(answered, waiting, batches.together(width, size, patches))


def _answers(
    answered: Callable[[Prompts], Sequence[T]], waiting: list[tuple[ImageArray, Encoded]], size: int
) -> Sequence[T]:
    """Of a batch that is filled up with its last question, whose extra results are dropped."""
    return answered(_batch(waiting + waiting[-1:] * (size - len(waiting))))[: len(waiting)]


def _batch(questions: list[tuple[ImageArray, Encoded]]) -> Prompts:
    return batches.prompts(np.stack([pixels for pixels, _ in questions]), [text for _, text in questions])


def text_of(prompts: Prompts) -> Text:
    """The text of prompts, as the model takes it."""
    return Text(prompts.text, prompts.mask_ar, prompts.mask_input, prompts.image_places)

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
Question = tuple[ImageArray | None, Encoded]  # an image as in `Batch.image`, where there is one, and a prompt


def in_batches(
    answered: Callable[[Prompts], Sequence[T]],
    questions: Iterable[Question | None],
    size: int,
    patches: int = PATCHES,
    width: int = 0,
) -> Iterator[T]:
    """What `answered` makes of each question, in order, `size` of them at a time.

    Fewer of long prompts, so that one of them does not make the batch of all others as long (`batches.together`). Where
    a question is in its batch, and beside which others, changes the last digits of its result.

    Args:
      questions: None among them ends a batch, and has no result.
      patches: image tokens of an image.
      width: of an image token; that of a batch without any image.
    """
    waiting: list[Question] = []
    length = 0
    for question in questions:
        if question is None:
            if waiting:
                yield from _answers(answered, waiting, batches.together(length, size, patches), width)
                waiting = []
            continue
        own = max(batches.SHORT, batches.bucket(question[1].prompt_length))
        if waiting and own != length:
            yield from _answers(answered, waiting, batches.together(length, size, patches), width)
            waiting = []
        length = own
        waiting.append(question)
        if len(waiting) == batches.together(length, size, patches):
            yield from answered(_batch(waiting, width))
            waiting = []
    if waiting:
        yield from _answers(answered, waiting, batches.together(length, size, patches), width)


def _answers(answered: Callable[[Prompts], Sequence[T]], waiting: list[Question], size: int, width: int) -> Sequence[T]:
    """Of a batch that is filled up with its last question, whose extra results are dropped."""
    return answered(_batch(waiting + waiting[-1:] * (size - len(waiting)), width))[: len(waiting)]


def _batch(questions: list[Question], width: int) -> Prompts:
    images = [pixels for pixels, _ in questions]
    present = next((one for one in images if one is not None), None)
    # Where all do without, no image goes through the model; where some do, theirs is there and nobody sees it.
    absent = np.zeros((0, width), np.float16) if present is None else np.zeros_like(present)
    filled = np.stack([absent if one is None else one for one in images])
    return batches.prompts(filled, [text for _, text in questions])


def text_of(prompts: Prompts) -> Text:
    """The text of prompts, as the model takes it."""
    return Text(prompts.text, prompts.mask_ar, prompts.mask_input, prompts.image_places)

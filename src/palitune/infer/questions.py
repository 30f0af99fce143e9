"""Questions put to a model in batches of one size, so that few programs are compiled."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from palitune.data import batches
from palitune.data.batches import Prompts
from palitune.data.tokens import Text

BATCH_SIZE = 8
T = TypeVar("T")


def in_batches(
    answered: Callable[[Prompts], Sequence[T]], questions: Iterable[tuple[Any, Text]], size: int
) -> Iterator[T]:
    """What `answered` makes of each (picture as in `Batch.image`, prompt), in order, `size` of them at a time."""
    waiting: list[tuple[Any, Text]] = []
    for question in questions:
        waiting.append(question)
        if len(waiting) == size:
            yield from answered(_batch(waiting))
            waiting = []
    if waiting:
        # A short last batch is filled up with its last question, whose extra results are dropped.
        yield from answered(_batch(waiting + waiting[-1:] * (size - len(waiting))))[: len(waiting)]


def _batch(questions: list[tuple[Any, Text]]) -> Prompts:
    return batches.prompts(np.stack([pixels for pixels, _ in questions]), [text for _, text in questions])

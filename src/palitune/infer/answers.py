"""Questions put to a model in batches, whatever is made of the answers.

Axes: B batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from palitune.data import batches
from palitune.data.tokens import Text, Tokenizer

BATCH_SIZE = 8
T = TypeVar("T")


class Batched(Generic[T]):
    """Something for each picture with a prompt, in batches of one size, so that few programs are compiled."""

    def __init__(self, tokenizer: Tokenizer, batch_size: int = BATCH_SIZE) -> None:
        self.tokenizer, self.batch_size = tokenizer, batch_size

    def batch(self, params: Mapping[str, Any], prompts: batches.Prompts) -> Sequence[T]:
        """B results."""
        raise NotImplementedError

    def __call__(self, params: Mapping[str, Any], questions: Iterable[tuple[Any, Text]]) -> Iterator[T]:
        """One result for each (picture as in `Batch.image`, prompt), in order. `params` is flat."""
        waiting: list[tuple[Any, Text]] = []
        for question in questions:
            waiting.append(question)
            if len(waiting) == self.batch_size:
                yield from self._filled(params, waiting)
                waiting = []
        if waiting:
            yield from self._filled(params, waiting)

    def _filled(self, params: Mapping[str, Any], questions: list[tuple[Any, Text]]) -> Sequence[T]:
        # A short last batch is filled up with its last question, whose extra results are dropped.
        filled = questions + questions[-1:] * (self.batch_size - len(questions))
        images = np.stack([pixels for pixels, _ in filled])
        prompts = batches.prompts(images, [text for _, text in filled])
        return self.batch(params, prompts)[: len(questions)]

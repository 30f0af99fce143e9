"""Examples to arrays.

Axes: B batch, T text tokens (padded to a bucket), K loss tokens (padded to the longest answer), H W pixels.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from palitune.data.tokens import Text

# Lengths are padded up to a multiple of this: few shapes to compile, little padding to compute.
BUCKET = 8


class Batch(NamedTuple):
    """What a train step takes. The last token of a text predicts nothing, so it is not among the inputs."""

    image: Any  # float32[B, H, W, 3] in [-1, 1], or the image tower's tokens float16[B, N, D] of it
    text: Any  # int32[B, T]
    mask_ar: Any  # int32[B, T], 1 where causal
    mask_input: Any  # int32[B, T], 1 where real
    positions: Any  # int32[B, K]: the text positions whose logits are needed
    targets: Any  # int32[B, K]: the tokens that come next there
    weights: Any  # float32[B, K], 1 where a target is real


class Prompts(NamedTuple):
    """What decoding takes: left aligned, padded at the end."""

    image: Any  # as in Batch
    text: Any  # int32[B, T]
    mask_input: Any  # int32[B, T]


def bucket(length: int) -> int:
    """`length` rounded up to a multiple of `BUCKET`."""
    return -(-length // BUCKET) * BUCKET


def _pad(rows: Sequence[Sequence[int]], width: int, dtype: type = np.int32) -> np.ndarray[Any, Any]:
    padded: np.ndarray[Any, Any] = np.zeros((len(rows), width), dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def training(images: np.ndarray[Any, Any], texts: Sequence[Text], answer_length: int | None = None) -> Batch:
    """A batch from pictures (see `Batch.image`) and B texts.

    `answer_length` fixes K, so that one program serves all batches.
    """
    inputs = [text.ids[:-1] for text in texts]
    width = bucket(max(len(ids) for ids in inputs))
    answers = [text.ids[text.suffix_start :] for text in texts]
    longest = answer_length or max(len(answer) for answer in answers)
    starts = [text.suffix_start - 1 for text in texts]
    return Batch(
        image=images,
        text=_pad(inputs, width),
        mask_ar=_pad([[0] * t.suffix_start + [1] * (len(t.ids) - 1 - t.suffix_start) for t in texts], width),
        mask_input=_pad([[1] * len(ids) for ids in inputs], width),
        positions=_pad([range(s, s + len(a)) for s, a in zip(starts, answers, strict=True)], longest),
        targets=_pad(answers, longest),
        weights=_pad([[1] * len(a) for a in answers], longest, np.float32),
    )


def longest(texts: Sequence[Text]) -> tuple[int, int]:
    """Tokens of the longest input and of the longest answer."""
    return max(len(text.ids) - 1 for text in texts), max(len(text.ids) - text.suffix_start for text in texts)


def split(batch: Batch, count: int) -> Batch:
    """`count` batches out of one, on a new first axis of every array: [count, B / count, ...]."""
    return Batch(*(array.reshape(count, -1, *array.shape[1:]) for array in batch))


def prompts(images: np.ndarray[Any, Any], texts: Sequence[Text]) -> Prompts:
    """Prompts to decode from; suffixes, if the texts have any, are left out."""
    inputs = [text.ids[: text.suffix_start] for text in texts]
    width = bucket(max(len(ids) for ids in inputs))
    return Prompts(images, _pad(inputs, width), _pad([[1] * len(ids) for ids in inputs], width))


def order(count: int, examples: int, rng: np.random.Generator) -> Iterator[int]:
    """`examples` indices below `count`: every record once, shuffled, before any record a second time, and so on."""
    given = 0
    while given < examples:
        for index in rng.permutation(count)[: examples - given]:
            given += 1
            yield int(index)

"""Examples to arrays.

Axes: B batch, T text tokens (padded to a bucket), K loss tokens (padded to the longest answer), H W pixels.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from palitune.data.encode import Encoded
from palitune.data.tokens import Text

T = TypeVar("T")

# Lengths are padded up to a multiple of this: few shapes to compile, little padding to compute.
BUCKET = 8
# Beyond this of this many: texts of all lengths up to the longest prompt come in few shapes.
SHORT = 64


class Batch(NamedTuple):
    """What a train step takes. The last token of a text predicts nothing, so it is not among the inputs."""

    image: Any  # float32[B, H, W, 3] in [-1, 1], or the image encoder's tokens float16[B, N, D] of it
    text: Any  # int32[B, T]
    mask_ar: Any  # int32[B, T], 1 where causal
    mask_input: Any  # int32[B, T], 1 where real
    positions: Any  # int32[B, K]: the text positions whose logits are needed
    targets: Any  # int32[B, K]: the tokens that come next there
    weights: Any  # float32[B, K], above 0 where a target is real: how much it counts


class Prompts(NamedTuple):
    """What decoding takes: left aligned, padded at the end."""

    image: Any  # as in Batch
    text: Any  # int32[B, T]
    mask_input: Any  # int32[B, T]


def bucket(length: int) -> int:
    """`length` rounded up to a multiple of `BUCKET`, or of `SHORT` where it is longer than that."""
    step = BUCKET if length <= SHORT else SHORT
    return -(-length // step) * step


def together(length: int, size: int, patches: int) -> int:
    """How many texts of up to `length` tokens go together where `size` short ones do, each with so many image tokens.

    Attention's memory grows with the square of a sequence: a few long texts take no more of it than many short ones.
    """
    return max(1, size * (patches + SHORT) ** 2 // (patches + max(SHORT, bucket(length))) ** 2)


def groups(lengths: Iterable[int], size: int, patches: int) -> Iterator[tuple[list[int], int]]:
    """Places of texts, in order, that make a batch, with the number of examples that the batch is filled up to."""
    members: list[int] = []
    width = most = 0
    for place, length in enumerate(lengths):
        own = max(SHORT, bucket(length))
        if members and (own != width or len(members) == most):
            yield members, most
            members = []
        width, most = own, together(length, size, patches)
        members.append(place)
    if members:
        yield members, most


def _pad(
    rows: Sequence[Sequence[float] | NDArray[np.number]], width: int, dtype: type = np.int32
) -> NDArray[np.number]:
    padded: NDArray[np.number] = np.zeros((len(rows), width), dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def training(
    images: NDArray[np.floating],
    examples: Sequence[Encoded],
    answer_length: int | None = None,
    importance: Sequence[float] | None = None,
) -> Batch:
    """A batch from images (see `Batch.image`) and B encoded examples.

    Args:
      answer_length: fixes K, so that one program serves all batches.
      importance: how much each example counts in the loss; 1 by default.
    """
    inputs = [one.tokens[:-1] for one in examples]
    width = bucket(max(len(ids) for ids in inputs))
    places = [one.loss_places for one in examples]
    longest = answer_length or max(map(len, places))
    each = importance or [1.0] * len(examples)
    # A token starts a block of its own where the block's number rises.
    causal = [np.diff(one.attention_blocks[:-1], prepend=0) for one in examples]
    return Batch(
        image=images,
        text=_pad(inputs, width),
        mask_ar=_pad(causal, width),
        mask_input=_pad([[1] * len(ids) for ids in inputs], width),
        positions=_pad([place - 1 for place in places], longest),
        targets=_pad([one.tokens[place] for one, place in zip(examples, places, strict=True)], longest),
        weights=_pad(
            [w * one.loss_weights[place] for one, place, w in zip(examples, places, each, strict=True)],
            longest,
            np.float32,
        ),
    )


def longest(examples: Sequence[Encoded]) -> tuple[int, int]:
    """Tokens of the longest input, and the most tokens that count in the loss of one example."""
    return max(len(one.tokens) - 1 for one in examples), max(len(one.loss_places) for one in examples)


def split(batch: Batch, count: int) -> Batch:
    """`count` batches out of one, on a new first axis of every array: [count, B / count, ...]."""
    return Batch(*(array.reshape(count, -1, *array.shape[1:]) for array in batch))


def prompts(images: NDArray[np.floating], texts: Sequence[Text]) -> Prompts:
    """Prompts to decode from; suffixes, if the texts have any, are left out."""
    inputs = [text.ids[: text.suffix_start] for text in texts]
    width = bucket(max(len(ids) for ids in inputs))
    return Prompts(images, _pad(inputs, width), _pad([[1] * len(ids) for ids in inputs], width))


def order(count: int, examples: int, rng: np.random.Generator) -> Iterator[int]:
    """`examples` indices below `count`: every record once, shuffled, before any record a second time, and so on."""
    return itertools.islice(_endless(list(range(count)), rng), examples)


def balanced_order(labels: Sequence[str], examples: int, rng: np.random.Generator) -> Iterator[int]:
    """`examples` indices of `labels` in which every label comes equally often, whatever its share.

    Labels take turns in shuffled rounds, and each label's records are used up before one comes again.
    """
    own = {label: [i for i, other in enumerate(labels) if other == label] for label in sorted(set(labels))}
    streams = {label: _endless(indices, rng) for label, indices in own.items()}
    return itertools.islice((next(streams[label]) for label in _endless(list(streams), rng)), examples)


def _endless(items: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    while True:
        for index in rng.permutation(len(items)):
            yield items[index]


def class_weights(labels: Sequence[str]) -> dict[str, float]:
    """What an example of each label counts, so that all labels count the same together: n / (classes * n of the label).

    The mean over all examples is 1.
    """
    counts = Counter(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in counts.items()}

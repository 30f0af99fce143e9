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
    image_places: Any  # int32[B, I], how many tokens of the text come before each image; -1 where there is none
    positions: Any  # int32[B, K]: the text positions whose logits are needed
    targets: Any  # int32[B, K]: the tokens that come next there
    weights: Any  # float32[B, K], above 0 where a target is real: how much it counts


class Prompts(NamedTuple):
    """What decoding takes: left aligned, padded at the end."""

    image: Any  # as in Batch
    text: Any  # int32[B, T]
    mask_ar: Any  # int32[B, T]
    mask_input: Any  # int32[B, T]
    image_places: Any  # int32[B, I]


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
    return Batch(
        image=images,
        text=_pad(inputs, width),
        mask_ar=_pad([_rises(one.attention_blocks[:-1]) for one in examples], width),
        mask_input=_pad([[1] * len(ids) for ids in inputs], width),
        image_places=_image_places(examples, images),
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


def prompts(images: NDArray[np.floating], examples: Sequence[Encoded]) -> Prompts:
    """Prompts to decode from; answers, if the examples have any, are left out."""
    lengths = [one.prompt_length for one in examples]
    width = bucket(max(lengths))
    return Prompts(
        image=images,
        text=_pad([one.tokens[:length] for one, length in zip(examples, lengths, strict=True)], width),
        mask_ar=_pad(
            [_rises(one.attention_blocks[:length]) for one, length in zip(examples, lengths, strict=True)], width
        ),
        mask_input=_pad([[1] * length for length in lengths], width),
        image_places=_image_places(examples, images),
    )


def _rises(blocks: NDArray[np.integer]) -> NDArray[np.integer]:
    """1 where a token starts a block of its own: where the block's number rises."""
    return np.diff(blocks, prepend=0)


def _image_places(examples: Sequence[Encoded], images: NDArray[np.floating]) -> NDArray[np.number]:
    """int32[B, I]. Where there is room for an image, an example without one has it at -1."""
    count = max(min(1, images.shape[1]), *(len(one.image_places) for one in examples))
    return np.array([[*one.image_places, *[-1] * (count - len(one.image_places))] for one in examples], np.int32)


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

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
    order: Any = None  # int32[B, T], each token's position in its text; None where it is its place in the row
    segments: Any = None  # int32[B, T], which of the texts in its row a token belongs to; None is one text a row
    branches: Any = None  # int32[B, T], as in `Encoded.branches`; None where no text has several questions


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
    has_branches = any(one.branches is not None for one in examples)
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
        order=_pad([one.order[:-1] for one in examples], width) if has_branches else None,
        branches=_pad([_branches(one)[:-1] for one in examples], width) if has_branches else None,
    )


class Packing(NamedTuple):
    """Short texts without images, several to a row: which texts each row of a batch has.

    Attributes:
      rows: the places of a batch's texts, row by row; a row may be empty.
      width: tokens of a row.
      answer_length: the most tokens of a row that count in the loss.
    """

    rows: list[list[int]]
    width: int
    answer_length: int


def packings(order: Sequence[Sequence[int]], texts: Sequence[Encoded], parts: int = 1) -> list[Packing] | None:
    """How the texts of each of some batches go into rows, of one shape in all of them: the one of the fewest tokens.

    The longest text first goes into the first row that has room for it (first-fit decreasing,
    https://doi.org/10.1137/0203025). None where there would be no fewer tokens than with a text to a row.

    Args:
      order: for each batch, the places of its texts in `texts`.
      parts: a multiple of which the rows are, so that `split` can divide them.
    """
    if not order or any(one.images for one in texts):
        return None
    lengths = np.array([len(one.tokens) - 1 for one in texts])
    answers = np.array([len(one.loss_places) for one in texts])
    shortest = bucket(int(lengths.max()))
    widths = sorted({shortest, *(width for width in (64, 128, 256, 512) if width > shortest)})
    found = [[_packed(lengths[list(batch)], width) for batch in order] for width in widths]
    counts = [-(-max(map(len, rows)) // parts) * parts for rows in found]
    sizes = [count * width for count, width in zip(counts, widths, strict=True)]
    best = int(np.argmin(sizes))
    if sizes[best] >= max(map(len, order)) * shortest:
        return None
    count = counts[best]
    rows = [[*several, *([[]] * (count - len(several)))] for several in found[best]]
    most = max(
        sum(int(answers[batch[i]]) for i in row) for batch, several in zip(order, rows, strict=True) for row in several
    )
    return [Packing(several, widths[best], most) for several in rows]


def _packed(lengths: NDArray[np.integer], width: int) -> list[list[int]]:
    """The places of texts of these lengths in rows of a width."""
    rows: list[list[int]] = []
    free: list[int] = []
    for place in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[place])
        number = next((i for i, room in enumerate(free) if room >= length), len(rows))
        if number == len(rows):
            rows.append([])
            free.append(width)
        rows[number].append(place)
        free[number] -= length
    return [sorted(row) for row in rows]


def packed(
    absent: NDArray[np.floating],
    examples: Sequence[Encoded],
    packing: Packing,
    importance: Sequence[float] | None = None,
) -> Batch:
    """A batch of as many rows as a packing has, whose loss is that of `training`: the mean over all examples.

    No text sees another, and each has the positions that it has alone.

    Args:
      absent: the image of an example without one, as in `Batch.image` but for the batch.
      importance: as in `training`.
    """
    each = importance or [1.0] * len(examples)
    width, longest, count = packing.width, packing.answer_length, len(packing.rows)
    arrays = {
        name: np.zeros((count, width), np.int32) for name in ("text", "mask_ar", "mask_input", "order", "segments")
    }
    branches = np.zeros((count, width), np.int32)
    positions, targets = np.zeros((count, longest), np.int32), np.zeros((count, longest), np.int32)
    weights = np.zeros((count, longest), np.float32)
    for row, members in enumerate(packing.rows):
        start = end = 0
        counted = sum(len(examples[i].loss_places) for i in members)
        for number, i in enumerate(members):
            one = examples[i]
            length, places = len(one.tokens) - 1, one.loss_places
            at = slice(start, start + length)
            arrays["text"][row, at], arrays["order"][row, at] = one.tokens[:-1], one.order[:-1]
            arrays["mask_ar"][row, at] = _rises(one.attention_blocks[:-1])
            arrays["mask_input"][row, at], arrays["segments"][row, at] = 1, number
            branches[row, at] = _branches(one)[:-1]
            own = slice(end, end + len(places))
            positions[row, own], targets[row, own] = start + places - 1, one.tokens[places]
            # Undone by the mean over a row's tokens and over rows, which becomes the mean over examples.
            scale = each[i] * counted / len(places) * count / len(examples)
            weights[row, own] = scale * one.loss_weights[places]
            start, end = start + length, end + len(places)
    images = np.broadcast_to(absent, (count, *absent.shape))
    has_branches = any(one.branches is not None for one in examples)
    return Batch(
        image=images,
        image_places=np.full((count, min(1, absent.shape[0])), -1, np.int32),
        positions=positions,
        targets=targets,
        weights=weights,
        branches=branches if has_branches else None,
        **arrays,
    )


def _branches(one: Encoded) -> NDArray[np.integer]:
    return np.zeros(len(one.tokens), np.int32) if one.branches is None else one.branches


def longest(examples: Sequence[Encoded]) -> tuple[int, int]:
    """Tokens of the longest input, and the most tokens that count in the loss of one example."""
    return max(len(one.tokens) - 1 for one in examples), max(len(one.loss_places) for one in examples)


def split(batch: Batch, count: int) -> Batch:
    """`count` batches out of one, on a new first axis of every array: [count, B / count, ...]."""
    return Batch(*(None if one is None else one.reshape(count, len(one) // count, *one.shape[1:]) for one in batch))


def stacked(batches: Sequence[Batch]) -> Batch:
    """Batches of as many rows on a new first axis, as long as the longest of them: what is filled up counts nothing."""

    def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        width = max(one.shape[-1] for one in arrays)
        return np.stack([_widened(one, width) for one in arrays])

    names = Batch._fields
    return Batch(*(None if one[0] is None else np.stack(one) if name == "image" else joined(one)
                   for name, one in zip(names, zip(*batches, strict=True), strict=True)))  # fmt: skip


def _widened(array: NDArray[Any], width: int) -> NDArray[Any]:
    """An array with zeros at the end of its last axis."""
    missing = width - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array


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

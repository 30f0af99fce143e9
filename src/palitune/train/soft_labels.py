"""Examples whose labels are probabilities, as training examples: each time one is shown, its label is drawn.

The expectation of the loss is the cross-entropy with the probabilities (https://arxiv.org/abs/1503.02531, at a
temperature of 1), and an example takes no more room in a batch than with one label. An example that is shown again and
again is drawn from a sequence that fills [0, 1) evenly, so that its labels come in the proportion of their
probabilities.

Axes: C choices of a target.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from palitune.data.encode import Encoded
from palitune.data.example import Example

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are as evenly spread as any sequence's


class Soft(NamedTuple):
    """The labels that a target may have, and how probable each is."""

    choices: tuple[str, ...]
    probabilities: tuple[float, ...]  # of each choice; they add up to 1


def drawn(
    order: Sequence[int],
    examples: Sequence[Example],
    labels: Sequence[Sequence[Soft]],
    encoded: Callable[[Example], Encoded],
    rng: np.random.Generator,
) -> list[Encoded]:
    """The examples as they are shown one after another, each with labels that are drawn for it.

    Args:
      order: places in `examples`, in which they are shown.
      labels: of each example, those of each of its targets.
      encoded: an example with its labels as tokens; it is asked once for each example and labels.
      rng: where the sequences begin.
    """
    known: dict[tuple[int, tuple[str, ...]], Encoded] = {}
    state = [rng.random(len(targets)) for targets in labels]
    found = []
    for place in order:
        state[place] = (state[place] + GOLDEN) % 1
        answers = tuple(_at(soft, at) for soft, at in zip(labels[place], state[place].tolist(), strict=True))
        if (place, answers) not in known:
            example = examples[place]
            targets = zip(example.targets, answers, strict=True)
            with_labels = tuple(target._replace(answer=answer) for target, answer in targets)
            known[place, answers] = encoded(example._replace(targets=with_labels))
        found.append(known[place, answers])
    return found


def _at(soft: Soft, at: float) -> str:
    """The choice in whose part of [0, 1) a number is."""
    ends = np.cumsum(soft.probabilities)
    return soft.choices[min(int(np.searchsorted(ends, at, side="right")), len(ends) - 1)]

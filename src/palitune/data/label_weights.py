"""What answers count where a record has several labels, so that each label's answers count the same together."""

import collections
from collections.abc import Iterable, Mapping, Sequence

from palitune.data.batches import class_weights
from palitune.data.example import Target


def label_weights(targets: Iterable[Sequence[Target]]) -> dict[str, dict[str, float]]:
    """The weight of each answer to each label, by the label's name and the answer: as `class_weights` of one label.

    A target whose answer is unknown is left out. The mean weight over the known answers to a label is 1. A label of
    which only one answer is there has the weight 1 throughout.

    Args:
      targets: those of each example.
    """
    answers: dict[str, list[str]] = collections.defaultdict(list)
    for several in targets:
        for one in several:
            if one.answer is not None:
                answers[one.name].append(one.answer)
    return {name: class_weights(known) for name, known in answers.items()}


def weight_of(target: Target, weights: Mapping[str, Mapping[str, float]]) -> float:
    """What a target counts: 0 where its answer is unknown, and 1 where no weight is known for it."""
    if target.answer is None:
        return 0.0
    return weights.get(target.name, {}).get(target.answer, 1.0)

"""What answers count where a record has several labels, so that each label's answers count the same together."""

import collections
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from palitune.data.batches import class_weights
from palitune.data.encode import Encoded
from palitune.data.example import Example, Target


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


def weighted(examples: Sequence[Example], texts: Sequence[Encoded]) -> list[Encoded]:
    """Encoded examples in whose loss each answer to a label counts the same together, whatever its share.

    Args:
      texts: the examples encoded, each with the answers to its known targets in order.
    """
    weights = label_weights(one.targets for one in examples)
    found = []
    for example, text in zip(examples, texts, strict=True):
        loss_weights = text.loss_weights.copy()
        for target, places in zip(
            (one for one in example.targets if one.answer is not None), text.answers, strict=False
        ):
            loss_weights[places] *= np.float32(weight_of(target, weights))
        found.append(text._replace(loss_weights=loss_weights))
    return found


def group_of(examples: Sequence[Example]) -> list[str]:
    """What `batches.balanced_order` tells examples apart by: the label, or of several the rarest that is not the last.

    Of yes and no that is the rarest label that is yes, and nothing where none is.
    """
    counts = collections.Counter((one.name, one.answer) for example in examples for one in example.targets)

    def group(example: Example) -> str:
        if len(example.targets) == 1:
            return example.label
        known = [one for one in example.targets if one.answer is not None and one.choices]
        said = [one for one in known if one.choices and one.answer != one.choices[-1]]
        return min((one.name for one in said), key=lambda name: counts[name, "yes"], default="")

    return list(map(group, examples))

"""What a model says of an example, with what it was made with."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from palitune.data.example import Example, Target


class MadeWith(NamedTuple):
    """What predictions were made with; all predictions of one predictor share one.

    Attributes:
      labels: what an answer is one of; the first of two is the positive one. None is free text.
      threshold: of two labels the first is the answer from this probability on.
      temperature: the scores were divided by it before they became probabilities.
      model: the checkpoint's name.
      mark: of its parameters, as `checkpoint.operating_point.mark` computes it.
      prompt: of examples that have none of their own.
      decode: the answers were written freely.
      thresholds: of targets that have one of their own, with their names.
      positive: of more than two labels the one that p_yes and thresholds are of; empty where p_yes is the answer's own.
    """

    labels: tuple[str, ...] | None = None
    threshold: float = 0.5
    temperature: float = 1.0
    model: str = ""
    mark: str = ""
    prompt: str = ""
    decode: bool = False
    thresholds: tuple[tuple[str, float], ...] = ()
    positive: str = ""

    def threshold_of(self, target: Target) -> float:
        """The threshold of a target: its own, or the one of all."""
        return dict(self.thresholds).get(target.name, self.threshold)


class Prediction(NamedTuple):
    """A model's answer to one target of an example.

    Attributes:
      text: the answer.
      p_yes: of two choices the probability of the first, of more that of the positive one, or else the answer's own;
        None where it is unknown.
      probabilities: of every choice, in their order; they add up to 1. None where they are unknown.
      made: what it was made with; None where that is unknown, as in old files of answers.
    """

    example: Example
    target: Target
    text: str
    p_yes: float | None = None
    probabilities: tuple[float, ...] | None = None
    made: MadeWith | None = None


def by_example(predictions: Iterable[Prediction]) -> Iterator[tuple[Example, list[Prediction]]]:
    """Each example with the predictions of all its targets, which come one after another."""
    for _, several in itertools.groupby(predictions, key=lambda one: id(one.example)):
        found = list(several)
        yield found[0].example, found

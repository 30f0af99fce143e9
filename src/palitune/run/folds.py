"""Cross-validation of a run: each record is answered once by a model that has not learned from it.

Axes: N examples, T targets of the held-out examples, L labels.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palitune import randomness
from palitune.config.run_config import TrainingConfig
from palitune.data.example import Example
from palitune.data.prediction import MadeWith, Prediction
from palitune.data.probabilities import SMALLEST, predicted
from palitune.data.split import example_groups
from palitune.data.split.stratified_partition import partition
from palitune.errors import BadDataError, UsageError
from palitune.infer.predictor import Predictor
from palitune.labels import plain
from palitune.models.arrays import AnyArray, Flat, Weights
from palitune.run.training_setup import TrainingSetups
from palitune.train import loop
from palitune.train.early_stopping import is_as_good
from palitune.train.evaluation import Evaluation

Places = list[int]


class OutOfFold(NamedTuple):
    """What models that have not learned from an example say of it, for all examples.

    Attributes:
      step: of every fold, the same: where the mean loss of all examples is lowest, or a later one that is as good.
      losses: of every target whose answer is known, in order of the examples.
      predictions: for every target of every example, in order.
    """

    step: int
    losses: list[float]
    predictions: list[Prediction]

    @property
    def loss(self) -> float:
        """The mean."""
        return sum(self.losses) / len(self.losses)


def parts(examples: Sequence[Example], count: int, seed: int, *, quiet: bool = False) -> list[Places]:
    """The places of the examples of each fold, with the shares of the labels, and examples about the same together.

    What is the same is told by `example_groups.groups_of`.

    Raises:
      UsageError: there are fewer examples than folds.
      BadDataError: so many examples are about the same that a fold has none.
    """
    if not 2 <= count <= len(examples):
        raise UsageError(f"--folds {count}: {len(examples)} records make 2 to {len(examples)} folds")
    names = [tuple(plain(one.answer or "") for one in example.targets) for example in examples]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    together = example_groups.groups_of(examples, count, quiet=quiet)
    labels = np.array([numbers[name] for name in names])
    if len(numbers) > math.sqrt(len(examples)):  # of free text, or of many labels at once, hardly two are the same
        labels[:] = 0
    rng = randomness.generator(seed, "folds")
    sizes = {str(k): len(examples) // count + (k < len(examples) % count) for k in range(count)}
    found = partition(labels, together, rng.permutation(len(examples)), sizes, rng)
    if not all(map(len, found.values())):
        raise BadDataError(f"so many records are about the same that one of {count} folds has none", hint="Use fewer")
    return [sorted(places.tolist()) for places in found.values()]


class Folds:
    """The folds of some examples, and what is made of them.

    Attributes:
      whole: training setups of all the examples.
      places: of the held-out examples of each fold.
    """

    def __init__(
        self, whole: TrainingSetups, examples: Sequence[Example], places: Sequence[Places], made: MadeWith, quiet: bool
    ) -> None:
        """Args:
        made: what predictions are made with; without labels answers are free text, and right or wrong.
        """
        self.whole, self.examples, self.places, self.made = whole, examples, places, made
        self.predictor = Predictor(whole.model, whole.shown, made, quiet=quiet) if made.labels else None

    def __len__(self) -> int:
        return len(self.places)

    def learned(self, fold: int) -> Places:
        """The places of the examples that a fold's model learns from."""
        return sorted(place for other, places in enumerate(self.places) if other != fold for place in places)

    def setups(self, fold: int) -> TrainingSetups:
        """The training setups of a fold, which is evaluated on what is held out."""
        return self.whole.part(self.learned(fold), self.places[fold])

    def config(self, config: TrainingConfig, *, by_epochs: bool) -> TrainingConfig:
        """The configuration of a fold, with evaluations after the same steps in all of them.

        Args:
          by_epochs: a pass shows each example as often as one over all examples does, and so fewer of them.
        """
        if by_epochs:
            fewest = min(len(self.learned(one)) for one in range(len(self)))
            config = dataclasses.replace(config, examples=max(1, config.examples * fewest // len(self.examples)))
        largest = max(map(len, self.places))
        return dataclasses.replace(config, evaluate_every=loop.evaluation_interval(config, largest))

    def observed(self, fold: int, params: Flat, found: Evaluation) -> AnyArray:
        """What is known of the held-out examples with parameters at an evaluation.

        Returns:
          float64[T, L] probabilities of the labels; of free text float64[T, 2], loss and whether it is right.
        """
        if self.predictor is None:
            return np.stack([np.array(found.losses), np.array(found.right, np.float64)], axis=1)
        held_out = [self.examples[place] for place in self.places[fold]]
        said = self.predictor.predict_all(held_out, params=params)
        return np.array([one.probabilities for one in said], np.float64)

    def out_of_fold(self, observed: Sequence[Weights]) -> OutOfFold:
        """What all folds come to.

        Args:
          observed: of each fold what was observed, by the number of the step.
        """
        steps = sorted(set.intersection(*({int(step) for step in one} for one in observed)) - {0})
        losses = {step: self._losses([np.asarray(one[str(step)]) for one in observed]) for step in steps}
        lowest = chosen = steps[0]
        for step in steps[1:]:
            if sum(losses[step]) < sum(losses[lowest]):
                lowest = chosen = step
            elif is_as_good(losses[step], losses[lowest]):
                chosen = step
        at = [np.asarray(one[str(chosen)]) for one in observed]
        return OutOfFold(chosen, losses[chosen], self._predictions(at))

    def _in_order(self, found: Sequence[AnyArray]) -> list[tuple[Example, AnyArray]]:
        """Every example with its rows of what was found of each fold's targets."""
        rows: dict[int, AnyArray] = {}
        for places, array in zip(self.places, found, strict=True):
            start = 0
            for place in places:
                count = len(self.examples[place].targets) if self.predictor is not None else 1
                rows[place], start = array[start : start + count], start + count
        return [(self.examples[place], rows[place]) for place in range(len(self.examples)) if place in rows]

    def _losses(self, found: Sequence[AnyArray]) -> list[float]:
        if self.predictor is None:
            return [float(rows[0, 0]) for _, rows in self._in_order(found)]
        losses = []
        for example, rows in self._in_order(found):
            for target, p in zip(example.targets, rows, strict=True):
                if target.answer is not None:
                    known = list(map(plain, target.choices or self.made.labels or ()))
                    losses.append(-math.log(max(float(p[known.index(plain(target.answer))]), SMALLEST)))
        return losses

    def _predictions(self, found: Sequence[AnyArray]) -> list[Prediction]:
        said = []
        for example, rows in self._in_order(found):
            if self.predictor is None:
                said.append(Prediction(example, example.target, example.label if rows[0, 1] else ""))
                continue
            for target, p in zip(example.targets, rows, strict=True):
                made = self.made._replace(labels=target.choices) if target.choices else self.made
                said.append(predicted(example, target, p, made))
        return said

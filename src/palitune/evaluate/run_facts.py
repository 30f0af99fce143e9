"""What is known of a run beside the rows of its metrics: its settings, its examples, and its answers, counted."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Lift(NamedTuple):
    """What a threshold of its own does for one of several labels on a validation set.

    Attributes:
      before: the F-measure as it is; `after` is the highest one that a threshold gives.
      area: under ROC, of the probabilities.
    """

    before: float
    after: float
    area: float


class Answered(NamedTuple):
    """Labels and answers of a validation set, counted by name, for one target.

    Attributes:
      right: how many answers are their label.
      target: the target's name, where an example has several labels; else empty.
      lift: of one of several labels, where probabilities and both answers are there.
    """

    labels: Mapping[str, int]
    answers: Mapping[str, int]
    right: int
    target: str = ""
    lift: Lift | None = None

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.labels.values())


class Together(NamedTuple):
    """What several trials have become.

    Attributes:
      how: the value of the setting `combine`.
      trials: how many are part of it, or have taught it.
      loss: its validation loss; `best` is the lowest one of these trials.
    """

    how: str
    trials: int
    loss: float
    best: float


class Facts(NamedTuple):
    """What the rows of a run do not tell.

    Attributes:
      examples: of the training set.
      classes: training examples by label, for each target.
      shown: examples that were shown in a pass.
      learning_rate: its highest value; `usual_rate` is what suits the method, where that is known.
      balance: the setting of this name.
      has_validation: whether the run was evaluated on other examples than it learned from.
      validation: answers of what was kept to them, for each target; of free text there are none.
      has_images: whether each training example has an image.
      together: of a run of several trials what they have become, where that is no single one of them.
    """

    examples: int
    classes: Sequence[Mapping[str, int]]
    shown: int
    learning_rate: float
    usual_rate: float | None = None
    balance: str = "none"
    has_validation: bool = True
    validation: Sequence[Answered] = ()
    has_images: bool = True
    together: Together | None = None

    @property
    def epochs(self) -> float:
        """How often a pass showed each example."""
        return self.shown / self.examples

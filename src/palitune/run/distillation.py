"""One model taught what several say together: knowledge distillation (https://arxiv.org/abs/1503.02531).

The student learns from the probabilities that an ensemble gives the labels of the training examples, and of others that
have no label.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from palitune import randomness
from palitune.config.run_config import TrainingConfig
from palitune.data import templates
from palitune.data.batches import Batch
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.prediction import MadeWith, by_example
from palitune.infer.predictor import Predictor
from palitune.models.arrays import Flat
from palitune.run.training_setup import TrainingSetups
from palitune.run.trial_queue import Teach
from palitune.train import loop, soft_labels
from palitune.train.soft_labels import Soft


class DistillationSetups(TrainingSetups):
    """Training setups in which examples have the labels that a teacher gives them, by their probabilities."""

    def __init__(
        self,
        of: TrainingSetups,
        config: TrainingConfig,
        teacher: Flat,
        unlabelled: Sequence[Example] = (),
        quiet: bool = False,
    ) -> None:
        """Asks the teacher about every example.

        Args:
          of: the setups of what has been learned from labels.
          teacher: parameters of a model or an ensemble, flat, on the device.
          unlabelled: examples to learn from beside those.

        Raises:
          BadDataError: an image of an unlabelled example cannot be used.
        """
        examples = [*of.train, *unlabelled]
        # Room is made for the longest label: which of them will be drawn is not known.
        longest = max(config.labels, key=lambda label: len(of.model.template.answer(label)))
        super().__init__(of.model, of.shown, [_with(one, longest) for one in examples], of.valid, config, of.folder)
        made = MadeWith(config.labels, prompt=config.prompt, positive=config.positive)
        said = Predictor(of.model, of.shown, made, quiet=quiet).predict_all(examples, params=teacher)
        self.labels = [
            [Soft(one.made.labels or () if one.made else (), one.probabilities or ()) for one in predictions]
            for _, predictions in by_example(said)
        ]

    def batches(self, config: TrainingConfig, name: str, start: int) -> Iterator[Batch]:
        """A pass's batches after the first `start`, with labels that are drawn from the teacher's probabilities."""
        order = loop.order_of(self.train, config, name)
        places = [place for batch in order for place in batch]
        rng = randomness.generator(config.seed, "labels", name)

        def encoded(example: Example) -> Encoded:
            return templates.encoded(self.model.template, example, config.prompt, config.loss_on)

        texts = soft_labels.drawn(places, self.train, self.labels, encoded, rng)
        records = [self.train[place] for place in places]
        size = len(order[0]) if order else 1
        shown = [list(range(first, first + size)) for first in range(0, len(places), size)]
        return loop.training_batches(records, texts, self.shown, config, name, start, self.devices, shown)


def teacher(setups: TrainingSetups, unlabelled: Sequence[Example], quiet: bool) -> Teach:
    """What teaches a student of what was learned with these setups.

    The student is shown as many examples as its teachers were, and each at least once. What an answer of each label
    counts is the teachers' matter, who have learned with it.
    """

    def teach(params: Flat, config: TrainingConfig) -> tuple[TrainingSetups, TrainingConfig]:
        examples = max(config.examples, len(setups.train) + len(unlabelled))
        config = dataclasses.replace(config, examples=examples, balance="none")
        return DistillationSetups(setups, config, params, unlabelled, quiet), config

    return teach


def _with(example: Example, answer: str) -> Example:
    """The same example with an answer to each target."""
    return example._replace(targets=tuple(one._replace(answer=answer) for one in example.targets))

"""What learning needs before its first step, made from a model, its records and a configuration."""

import copy
import dataclasses
import functools
from collections.abc import Collection, Iterator, Sequence

import jax
import numpy as np

from palitune import host_memory, hosts
from palitune.checkpoint import delta, npz
from palitune.checkpoint.parameter_dtypes import is_finite
from palitune.config.run_config import TrainingConfig
from palitune.data import batches, templates
from palitune.data.batches import Batch
from palitune.data.example import Example
from palitune.data.images.of_examples import NoImages
from palitune.evaluate.class_counts import counts_of
from palitune.infer.features import Features
from palitune.infer.loading import IMAGE_ENCODER, Model
from palitune.infer.opening import ImagesOfModel
from palitune.labels import LABELS
from palitune.method import METHODS
from palitune.models import lora
from palitune.models.arrays import AnyArray, DType, Flat, Weights
from palitune.run import label_ratios
from palitune.run.folder import RunFolder
from palitune.train import loop, plan, step_shapes
from palitune.train.evaluation import Evaluation, Evaluator
from palitune.train.loop import TrainingSetup
from palitune.train.step import state_shapes
from palitune.train.step_shapes import Work

IN_MEMORY = 0.5  # share of the free memory that the best weights may take, before they go to the disk
RATIOS = ("accuracy", "balanced_accuracy", "precision", "recall", "f_measure")
# What a compiled step does not depend on.
NOT_COMPILED = (
    "seed",
    "learning_rate",
    "second_learning_rate",
    "second_pass",
    "balance",
    "augment",
    "evaluate_every",
    "patience",
    "second_patience",
    "select",
    "attempts",
    "frames",
    "max_pixels",
    "labels",
    "positive",
)


@functools.partial(jax.jit, static_argnums=1)
def _converted(arrays: Flat, dtypes: tuple[tuple[str, DType], ...]) -> dict[str, jax.Array]:
    """Arrays in the dtypes that are named, by one program."""
    return {path: arrays[path].astype(dtype) for path, dtype in dtypes}


def _beginnings(model: Model, classes: Sequence[str]) -> dict[int, list[str]]:
    """The classes that begin with each token."""
    found: dict[int, list[str]] = {}
    for name in classes:
        found.setdefault(model.template.answer(name)[0], []).append(name)
    return found


class TrainingSetups:
    """Training setups for configurations of one method on one model, which share what they can."""

    def __init__(
        self,
        model: Model,
        shown: ImagesOfModel,
        train: Sequence[Example],
        valid: Sequence[Example],
        config: TrainingConfig,
        folder: RunFolder | None,
    ) -> None:
        """`folder` is where the best weights go when they are too large for the memory."""
        self.model, self.shown, self.folder = model, shown, folder
        self.together = 1  # trainings whose steps are one program
        # Of texts alone, the image encoder has no part in it.
        self.spec = dataclasses.replace(model.sizes, img=None) if isinstance(shown, NoImages) else model.sizes
        self.train = list(templates.separated(model.template, train))
        self.valid = list(templates.separated(model.template, valid))
        # Which example each of them is of, where an example is several to the model.
        self.sources = [place for place, one in enumerate(train) for _ in templates.separated(model.template, [one])]
        how = config.prompt, config.loss_on, config.max_length
        self.train_texts = loop.examples_of(self.train, model.template, *how)
        valid_texts = loop.examples_of(self.valid, model.template, *how)
        self.classes = config.labels
        self.beginnings = {} if self.classes == LABELS else _beginnings(model, self.classes)
        labels = [int(text.tokens[answer[0]]) for text in self.train_texts for answer in text.answers]
        labels += self.beginnings
        self.evaluator = Evaluator(
            self.spec, self.valid, valid_texts, shown, model.dtype, config.vocabulary_chunks, labels, model.placement
        )
        self._prepared: dict[str, plan.Prepared] = {}
        self.lengths = batches.longest(self.train_texts)

    def part(self, learned: Collection[int], held_out: Collection[int]) -> "TrainingSetups":
        """The setups of some of the examples, evaluated on others, by the same programs.

        Args:
          learned, held_out: places of examples, which are both what these setups learn from and are evaluated on.
        """
        found = copy.copy(self)
        chosen, others = (
            [place for place, source in enumerate(self.sources) if source in wanted]
            for wanted in (frozenset(learned), frozenset(held_out))
        )
        found.train, found.train_texts = [self.train[i] for i in chosen], [self.train_texts[i] for i in chosen]
        found.valid, found.evaluator = [self.valid[i] for i in others], self.evaluator.part(others)
        return found

    def work(self, config: TrainingConfig) -> Work:
        """What decides how much memory a step needs."""
        model = self.model
        length, answer = self.lengths
        leaves = model.checkpoint.leaves()
        stored = {path: leaf for path, leaf in leaves.items() if self.spec.img or not path.startswith(IMAGE_ENCODER)}
        return Work(
            self.spec,
            stored,
            config,
            model.dtype,
            length,
            answer,
            isinstance(self.shown, Features),
            self._packing(config),
            any(text.branches is not None for text in self.train_texts),
            frozenset(delta.inherited(model.checkpoint)),
            model.placement,
            self.together,
        )

    def several(self, count: int) -> "TrainingSetups":
        """The same setups for so many trainings in lockstep."""
        found = copy.copy(self)
        found.together = count
        return found

    @property
    def devices(self) -> int:
        """How many devices a batch is split over."""
        return 1 if self.model.placement is None else self.model.placement.count

    def _packing(self, config: TrainingConfig) -> batches.Packing | None:
        """How the texts of the first batch go into rows; those of the whole pass have as many."""
        if any(text.images for text in self.train_texts):
            return None
        order = loop.order_of(self.train, config, loop.PASSES[0])
        found = loop.packings_of(order, self.train_texts, config, self.devices)
        return found[0] if found else None

    def program(self, config: TrainingConfig) -> str:
        """The same text for configurations that have the same compiled step, and as many of them in a pass."""
        compiled = {name: value for name, value in config.as_json().items() if name not in NOT_COMPILED}
        return str(compiled | {"together": self.together > 1})

    def prepared(self, config: TrainingConfig) -> plan.Prepared:
        """The compiled step. Raises ConfigurationError where it cannot fit."""
        key = self.program(config)
        if key not in self._prepared:
            self._prepared[key] = plan.prepare(self.work(config))
        return self._prepared[key]

    def sizes(self, config: TrainingConfig) -> tuple[int, int]:
        """Bytes of a saved checkpoint, and of a saved state with two more sets of weights beside its own."""
        chosen, _ = step_shapes.parameters(self.work(config))
        prepared = self.prepared(config)
        state = state_shapes(prepared.transform, chosen, prepared.options)
        checkpoint = sum(leaf.size * self._stored(path, leaf.dtype).itemsize for path, leaf in chosen.items())
        own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((chosen, state)))
        return checkpoint, self.together * (own + checkpoint) + checkpoint

    def of(self, config: TrainingConfig, frozen: Flat, last: int | None = None) -> TrainingSetup:
        """The setup of a configuration, with the parameters that it freezes. Raises as `prepared`.

        Args:
          last: the step after which a pass ends, where that is not its last.
        """
        prepared = self.prepared(config)
        return TrainingSetup(
            step=prepared.step,
            transform=prepared.transform,
            options=prepared.options,
            config=config,
            weights_dtype=prepared.weights_dtype,
            frozen=frozen,
            evaluate=self.evaluator,
            measure=self.measure,
            keep=self.keep,
            words=self.words,
            right_words=self.words(self.evaluator.first_right),
            interval=loop.evaluation_interval(config, len(self.valid)),
            last=loop.steps_of(config) if last is None else last,
            placement=self.model.placement,
        )

    def measure(self, found: Evaluation) -> dict[str, float | None]:
        """Ratios as in the result blocks: an answer that is not wholly right counts as the other class.

        Of more than two classes it is one that begins as the answer does. Of free text there is the accuracy alone.
        Several labels have more ratios, as `label_ratios` names them.
        """
        known = [one for record in self.valid for one in record.targets if one.answer is not None]
        if any(one.name for one in known):
            return label_ratios.ratios_of(known, found.right)
        labels = [one.answer or "" for one in known]
        if not self.classes:
            return dict.fromkeys(RATIOS) | {"accuracy": sum(found.right) / len(found.right)}
        answers = [
            label if right else self._other_than(label, first)
            for label, right, first in zip(labels, found.right, found.first, strict=True)
        ]
        counted = counts_of(labels, answers, self.classes)
        return {name: getattr(counted, name) for name in RATIOS}

    def _other_than(self, label: str, first: int) -> str:
        """The class that a wrong answer with this first token is; empty where none begins so."""
        return next((name for name in self.beginnings.get(first, ()) if name != label), "")

    def words(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token, or the only class that it begins."""
        classes = [self.beginnings.get(token, ()) for token in tokens]
        return [
            names[0] if len(names) == 1 else templates.written(self.model.template, [token])
            for token, names in zip(tokens, classes, strict=True)
        ]

    def keep(self, learned: Flat) -> Weights:
        """A copy as it would be saved, so that the saved weights are evaluated; on disk where it is too large."""
        smaller = _converted(
            learned, tuple((path, self._stored(path, learned[path].dtype)) for path in sorted(learned))
        )
        # float16 ends at 65,504.
        rounded = {path: leaf if is_finite(leaf) else learned[path] for path, leaf in smaller.items()}
        size, free = sum(leaf.nbytes for leaf in rounded.values()), host_memory.free()
        if self.folder is not None and hosts.count() == 1 and free is not None and size > IN_MEMORY * free:
            npz.save(self.folder.best, rounded)
            opened = npz.Checkpoint(self.folder.best)
            # Mapped now: these stay what they are when the file is replaced by the next.
            return {path: opened[path] for path in opened}
        return {path: np.array(hosts.whole(leaf)) for path, leaf in rounded.items()}

    def changed(self, config: TrainingConfig, frozen: Flat, learned: Weights) -> dict[str, AnyArray]:
        """Everything that differs from the base after learning: what a delta has to hold."""
        result: dict[str, AnyArray] = {
            path: self.model.checkpoint[path] for path in delta.inherited(self.model.checkpoint)
        }
        result |= {path: leaf for path, leaf in frozen.items() if lora.is_adapter(path)}
        result |= {path: learned[path] for path in learned if METHODS[config.method].trainable(path)}
        return dict(sorted(result.items()))

    def batches(self, config: TrainingConfig, name: str, start: int) -> Iterator[Batch]:
        """A pass's batches after the first `start`."""
        return loop.training_batches(self.train, self.train_texts, self.shown, config, name, start, self.devices)

    def _stored(self, path: str, dtype: DType) -> DType:
        return delta.stored_dtype(self.model.checkpoint.leaves(), path, dtype)

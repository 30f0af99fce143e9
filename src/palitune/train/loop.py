"""One attempt at a pass of learning: batches in a seeded order, evaluations, the best weights kept, and a guard."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from palitune import randomness
from palitune.checkpoint import run_state
from palitune.config.run_config import TrainingConfig
from palitune.data import batches, chat_turns, label_weights, templates
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.images.augment import augment
from palitune.data.images.loader import ImageSource, raise_first
from palitune.data.images.of_examples import images_of
from palitune.data.templates import Template
from palitune.errors import BadDataError, DivergedError
from palitune.models.arrays import AnyArray, DType, Flat, Weights
from palitune.parallel import Placement
from palitune.train import guard, schedule
from palitune.train.early_stopping import Best, EarlyStopping
from palitune.train.evaluation import Evaluation
from palitune.train.guard import Guard
from palitune.train.step import Step, init_state
from palitune.train.step_options import Options

ADVICE = "Halve the --learning-rate, raise --batch-size, or check the data"
BLOCK = 4096  # values of a schedule that are computed together
PASSES = ("1st", "2nd")  # by which an attempt's name begins
LINES = 8  # printed in a pass, and evaluations where nothing else was asked for


def steps_of(config: TrainingConfig) -> int:
    """Updates in a pass."""
    return int(config.examples // (config.batch_size * config.accumulate))


def evaluation_interval(config: TrainingConfig, validation: int) -> int:
    """Steps between two evaluations of so many examples.

    By default eight in a pass, or as many as evaluate no more examples together than the pass itself, but at least one.
    """
    if config.evaluate_every:
        return int(config.evaluate_every)
    count = min(LINES, max(1, config.examples // max(1, validation)))
    return max(1, steps_of(config) // count)


def examples_of(
    records: Sequence[Example],
    template: Template,
    prompt: str,
    loss_on: str = chat_turns.ALL,
    longest: int | None = None,
) -> list[Encoded]:
    """Prompts and answers as tokens.

    Args:
      loss_on: of a chat, the assistant's turns that count in the loss.
      longest: the most tokens of an example; None is any number that `template` takes.

    Raises:
      BadDataError: a record, which is named, is too long.
    """
    found = []
    for record in records:
        one = templates.encoded(template, record, prompt, loss_on)
        if longest is not None and len(one.tokens) > longest:
            what = f"an example of {len(one.tokens):,} tokens; --max-length {longest} was asked for"
            raise BadDataError(what, where=record.where)
        found.append(one)
    return found


def order_of(records: Sequence[Example], config: TrainingConfig, name: str) -> list[list[int]]:
    """The places of the examples of each batch of a pass; they depend on the seed and on the attempt's name."""
    steps, size = steps_of(config), config.batch_size * config.accumulate
    rng = randomness.generator(config.seed, "order", name)
    if config.balance == "sample":
        order = list(batches.balanced_order(label_weights.group_of(records), steps * size, rng))
    else:
        order = list(batches.order(len(records), steps * size, rng))
    return [order[step * size : (step + 1) * size] for step in range(steps)]


def packings_of(
    order: Sequence[Sequence[int]], texts: Sequence[Encoded], config: TrainingConfig, devices: int = 1
) -> list[batches.Packing] | None:
    """How each batch's texts go into rows, as many on each device; None where each has a row of its own."""
    return batches.packings(order, texts, config.accumulate * devices) if config.pack else None


def training_batches(
    records: Sequence[Example],
    texts: Sequence[Encoded],
    source: ImageSource,
    config: TrainingConfig,
    name: str,
    start: int = 0,
    devices: int = 1,
    order: Sequence[Sequence[int]] | None = None,
) -> Iterator[batches.Batch]:
    """A pass's batches after the first `start`.

    Args:
      order: the places of the examples of each batch; by default that of the attempt's name.
    """
    order = order_of(records, config, name) if order is None else order
    if config.balance == "weights":
        texts = label_weights.weighted(records, texts)
    packings = packings_of(order, texts, config, devices)
    if packings is None:
        found = _with_images(records, texts, source, config, name, order, start)
    else:
        rows = zip(order[start:], packings[start:], strict=True)
        found = (batches.packed(source.absent, [texts[i] for i in chosen], packing) for chosen, packing in rows)
    return (batches.split(one, config.accumulate) for one in found) if config.accumulate > 1 else found


def _with_images(
    records: Sequence[Example],
    texts: Sequence[Encoded],
    source: ImageSource,
    config: TrainingConfig,
    name: str,
    order: Sequence[Sequence[int]],
    start: int,
) -> Iterator[batches.Batch]:
    """Batches of a record a row, each with its image"""
    _, longest = batches.longest(texts)
    # Decoded while the device is at work on the batch before.
    shown = raise_first(images_of((records[i] for chosen in order[start:] for i in chosen), source))
    for step, chosen in enumerate(order[start:], start):
        images = np.stack([next(shown) for _ in chosen])
        if config.augment:
            rng = randomness.generator(config.seed, "augment", name, step)
            images = np.stack([augment(image, config.augment, rng) for image in images])
        yield batches.training(images, [texts[i] for i in chosen], longest)


class TrainingSetup(NamedTuple):
    """What all attempts at a pass share: the compiled step, frozen parameters, and how results are evaluated."""

    step: Step
    transform: optax.GradientTransformation
    options: Options
    config: TrainingConfig
    weights_dtype: DType  # of trainable parameters
    frozen: Flat
    evaluate: Callable[[Flat], Evaluation]  # of all parameters
    measure: Callable[[Evaluation], Mapping[str, float | None]]  # ratios of right and wrong answers, by name
    keep: Callable[[Flat], Weights]  # a copy of the trainable parameters, as it would be saved
    words: Callable[[Sequence[int]], list[str]]  # tokens as text
    right_words: Sequence[str]  # first words of the validation set's answers
    interval: int  # steps between evaluations
    last: int  # the step after which a pass ends; the schedule may go further
    placement: Placement | None = None  # of several devices


class Row(NamedTuple):
    """What is known after a step; step 0 is before the first."""

    step: int
    learning_rate: float
    loss: float  # nan at step 0
    accuracy: float
    evaluation: Evaluation | None
    ratios: Mapping[str, float | None]  # what the setup measures of the evaluation
    is_best: bool
    remarks: list[str]
    is_as_good: bool = False  # the best, though another had a lower loss: by no more than chance


class Attempt:
    """Where an attempt stands: everything that taking it up again needs, beside what its setup has.

    Raises, from `rows`:
      DivergedError: the guard has seen enough.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        start: MutableMapping[str, jax.Array] | MutableMapping[str, AnyArray],
        learning_rate: float,
        *,
        warmup: int,
        patience: int,
        best: Best | None = None,
    ) -> None:
        """Args:
        start: the trainable parameters before the first step; taken over and emptied, to have it in memory only once.
        best: what has to be surpassed.
        """
        self.setup, self.learning_rate = setup, learning_rate
        self.stopping = EarlyStopping(setup.config.select, patience, best)
        where, dtype = setup.placement, setup.weights_dtype
        self.trainable: Flat = {path: _own(path, start.pop(path), dtype, where) for path in list(start)}
        self.state = init_state(setup.transform, self.trainable, setup.options, learning_rate, setup.config.seed, where)
        self.count = 0  # steps made
        self.losses: list[float] = []  # of the steps since the last evaluation
        self.guard = Guard(warmup, patience or guard.PATIENCE)

    @property
    def best(self) -> Best | None:
        """The best evaluation so far."""
        return self.stopping.best

    @property
    def result(self) -> Flat:
        """What has been learned by now."""
        return self.state.get("ema", self.trainable)

    def facts(self) -> dict[str, object]:
        """Everything about where it stands that is no array, as JSON has it."""
        return {
            "count": self.count,
            "stalled": self.stopping.stalled,
            "losses": self.losses,
            "lowest": self.stopping.lowest,
            "guard": dataclasses.asdict(self.guard),
            "best": self.best.facts() if self.best else None,
        }

    def restore(self, arrays: Mapping[str, Weights], facts: Mapping[str, Any]) -> None:
        """Puts it where another one stood.

        Args:
          arrays: its "trainable", the leaves of its "state", and what was "best".

        Raises:
          BadDataError: they are not those of such an attempt.
        """
        trainable = run_state.tree_of(self.trainable, run_state.leaves_of(dict(arrays["trainable"])))
        self.trainable, self.state = trainable, run_state.tree_of(self.state, arrays["state"])
        self.restore_facts(facts, arrays["best"])

    def restore_facts(self, facts: Mapping[str, Any], best: Weights) -> None:
        """As `restore`, of everything but the parameters and the state."""
        self.count, self.losses = facts["count"], list(facts["losses"])
        self.stopping.stalled, self.stopping.lowest = facts["stalled"], list(facts["lowest"])
        self.guard = Guard(**facts["guard"])
        self.stopping.best = Best(**facts["best"], arrays=best) if facts["best"] else None

    def rows(self, feed: Iterable[batches.Batch]) -> Iterator[Row]:
        """Takes the steps that are left, each when its row is asked for; everything about a row's step is settled."""
        if (row := self.before()) is not None:
            yield row
        for batch, rate in zip(feed, self.rates(), strict=True):
            if self.is_over:
                return
            self.trainable, self.state, outcome = self.setup.step(self.trainable, self.state, self.setup.frozen, batch)
            loss, accuracy, finite = (value.item() for value in jax.device_get(outcome))
            yield self.after(rate, loss, accuracy, finite)

    def before(self) -> Row | None:
        """What is known before the first step; None where that has been said."""
        if self.count or self.guard.first_valid is not None:
            return None
        return self._evaluated(0, 0.0, math.nan, math.nan)

    def rates(self) -> Iterator[float]:
        """The learning rate of every step that is left of the schedule."""
        config, steps = self.setup.config, steps_of(self.setup.config)
        rate = schedule.make(config.schedule, steps, self.learning_rate, config.warmup)
        return _values(rate, self.count + 1, steps)

    def is_evaluated(self, step: int) -> bool:
        """Whether there is an evaluation after a step."""
        return step % self.setup.interval == 0 or step == self.setup.last

    def after(self, rate: float, loss: float, accuracy: float, finite: bool) -> Row:
        """Settles everything about the next step, which has been taken, and with this outcome."""
        self.count += 1
        self.losses.append(loss)
        self._end_if(self.guard.step(loss, finite), steps_of(self.setup.config))
        known = (self.count, rate, loss, accuracy)
        return self._evaluated(*known) if self.is_evaluated(self.count) else Row(*known, None, {}, False, [])

    @property
    def is_no_better(self) -> bool:
        """Whether the best evaluation has no lower loss than the one before learning."""
        before = self.guard.first_valid
        return self.best is not None and before is not None and self.best.loss >= before

    @property
    def is_over(self) -> bool:
        """Whether all steps are taken, or none of them is worth it any more."""
        return self.count >= self.setup.last or self.stopping.is_due

    def _evaluated(self, step: int, rate: float, loss: float, accuracy: float) -> Row:
        setup = self.setup
        found = setup.evaluate({**setup.frozen, **self.result})
        train_loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.losses = []
        steps = steps_of(setup.config)
        last = step == setup.last
        self._end_if(self.guard.evaluated(found.loss, train_loss, last, found.is_lost), steps)
        ratios = setup.measure(found)
        better = self.stopping.observe(self.count, found, ratios, lambda: setup.keep(self.result))
        remarks = self.guard.remarks(setup.words(found.first), setup.right_words, last)
        return Row(step, rate, loss, accuracy, found, ratios, better, remarks, better and self.stopping.is_as_good)

    def _end_if(self, reason: str | None, steps: int) -> None:
        if reason:
            raise DivergedError(f"learning diverged at step {self.count} of {steps} ({reason})", hint=ADVICE)


def _own(path: str, leaf: jax.Array | AnyArray, dtype: DType, placement: Placement | None) -> jax.Array:
    """A leaf on the device that a step may take over: on a CPU the memory of an array may be the checkpoint's file."""
    if placement is not None:
        return placement.place(path, leaf if leaf.dtype == dtype else leaf.astype(dtype))
    if jax.default_backend() == "cpu":
        # NumPy converts without a program for every shape; only an array that is on the device already is copied.
        return jax.device_put(jax.device_put(np.asarray(leaf).astype(dtype, copy=False)), may_alias=False)
    return jnp.asarray(leaf, dtype)


def _values(rate: optax.Schedule, first: int, last: int) -> Iterator[float]:
    """A schedule's values at the steps first … last, many at a time: one by one they would cost as much as a step."""
    values = jax.jit(rate)  # one program; operation by operation they would be two dozen
    for start in range(first, last + 1, BLOCK):
        steps = np.arange(start, min(start + BLOCK, last + 1), dtype=np.int32)
        yield from np.broadcast_to(np.asarray(values(steps)), steps.shape).tolist()  # a constant rate is one number


def is_line_due(step: int, steps: int) -> bool:
    """Whether a step's line is printed: eight times in a pass, as people's scripts expect."""
    return step % max(1, steps // LINES) == 0


def line(step: int, steps: int, learning_rate: float, loss: float) -> str:
    """`step: 32/256   lr: 0.02995   loss: 0.3417`, which people's scripts parse."""
    return f"step: {step}/{steps}   lr: {learning_rate:.5f}   loss: {loss:.4f}"

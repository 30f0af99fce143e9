"""The trials of a run that learn in lockstep: how many, which, and how they are saved and resumed."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from palitune.checkpoint import run_state
from palitune.config.run_config import TrainingConfig
from palitune.data.batches import Batch
from palitune.errors import ConfigurationError, UsageError
from palitune.evaluate.report.result_block import TrialResult
from palitune.models.arrays import Weights
from palitune.run.training_setup import TrainingSetups
from palitune.run.trial_queue import Task, TrialQueue
from palitune.run.trial_weights import TrialWeights
from palitune.train import lockstep, loop
from palitune.train.lockstep import Kept, Lane, Lockstep
from palitune.train.loop import Attempt

FACTS = "lockstep"  # in a saved state
PREFIX = "lockstep "  # of its groups of arrays


def count(setups: TrainingSetups, configs: Sequence[TrainingConfig], asked: int | None, *, is_search: bool) -> int:
    """How many trials learn in lockstep: those that were asked for, or as many as are quicker so and fit.

    Args:
      configs: of all trials, or of a search some of them.

    Raises:
      UsageError: so many were asked for, and they cannot.
      ConfigurationError: they would not fit.
    """
    if asked == 1:
        return 1
    first = configs[0]
    most = asked or (lockstep.MOST_EXAMPLES // first.batch_size if jax.default_backend() == "cpu" else 1)
    same = len(list(itertools.takewhile(lambda one: setups.program(one) == setups.program(first), configs)))
    against = obstacle(setups, first, is_search=is_search)
    if asked and against is not None:
        raise UsageError(f"--together {asked} cannot go with {against}")
    if asked and same == 1:
        hint = "--repeat 5 learns from five seeds"
        raise UsageError(f"--together {asked} is for trials that differ in seeds, rates or folds alone", hint=hint)
    if against is not None:
        return 1
    groups = -(-same // max(1, most))
    size = -(-same // groups)
    if size == 1:
        return 1
    try:
        setups.several(size).prepared(first)
    except ConfigurationError as error:
        if asked:
            raise ConfigurationError(error.what, hint=f"Use a lower --together. {error.hint}") from None
        return 1
    return size


def obstacle(setups: TrainingSetups, config: TrainingConfig, *, is_search: bool) -> str | None:
    """What trials in lockstep cannot have, and these have; None is nothing."""
    work = setups.work(config)
    known = {
        "--search": is_search,
        "--second-pass": config.second_pass,
        "--offload": config.offload != "none",
        "several devices": work.placement is not None,
        "several texts in a row": work.packing is not None,
        "several questions in a record": work.branches,
    }
    return next((name for name, has in known.items() if has), None)


class LockstepTrials:
    """The trials of a run that learn in lockstep now, if there are some."""

    def __init__(self, queue: TrialQueue, attempt: Callable[[Task], Attempt]) -> None:
        """Args:
        attempt: a new attempt at a training.
        """
        self.queue, self.attempt = queue, attempt
        self.group: Lockstep | None = None

    def take(
        self,
        task: Task,
        results: Sequence[TrialResult],
        weights: TrialWeights,
        *,
        is_alone: bool,
        may_begin: bool,
    ) -> Lane | None:
        """The lane of the training that comes after these results; None where it learns alone.

        Args:
          is_alone: whether the training has left its first attempt at its first pass behind.
          may_begin: whether it can begin in lockstep with others.
        """
        number = len(results)
        self._drop_before(number)
        if is_alone:
            return None
        if self.group is None and may_begin:
            tasks = self.queue.beside(task, results, weights, self.queue.together)
            if len(tasks) > 1:
                size, places = len(tasks), enumerate(tasks, number)
                self.group = Lockstep({place: self._lane(one, size) for place, one in places}, number, size)
        return self.group.lanes.get(number) if self.group else None

    def _drop_before(self, number: int) -> None:
        """Drops the lanes of trials that have ended."""
        if self.group is not None:
            for other in [one for one in self.group.lanes if one < number]:
                del self.group.lanes[other]
            if not self.group.lanes:
                self.group = None

    def _lane(self, task: Task, size: int, kept: Kept | None = None) -> Lane:
        def feed(start: int) -> Iterator[Batch]:
            return task.setups.batches(task.config, loop.PASSES[0], start)

        attempt = self.attempt(task._replace(setups=task.setups.several(size)))
        return Lane(attempt, feed, task.observe, kept)

    def arrays(self) -> dict[str, Weights]:
        """What is saved of them beside `facts`, by group."""
        return {f"{PREFIX}{name}": own for name, own in self.group.arrays().items()} if self.group else {}

    def facts(self) -> dict[str, object] | None:
        """Where they stand, as JSON has it."""
        return self.group.facts() if self.group else None

    def restore(
        self, saved: run_state.Saved, task: Task, results: Sequence[TrialResult], weights: TrialWeights
    ) -> None:
        """Puts the trials, of which this training is the first, where they stood, if the state has some.

        Raises:
          BadDataError: the state is not that of such trainings.
        """
        facts: Mapping[str, Any] | None = saved.facts.get(FACTS)
        if facts is None:
            return
        tasks = self.queue.beside(task, results, weights, len(facts["lanes"]))
        size = int(facts["size"])
        arrays = {name.removeprefix(PREFIX): own for name, own in saved.arrays.items() if name.startswith(PREFIX)}
        lanes = {}
        for (name, own), one in zip(facts["lanes"].items(), tasks, strict=True):
            lanes[int(name)] = self._lane(one, size, Kept(own, arrays[f"best {name}"], arrays[f"observed {name}"]))
        self.group = Lockstep(lanes, int(facts["first"]), size, arrays)

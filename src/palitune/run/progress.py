"""How far a run has come, in words and numbers."""

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any

import jax

from palitune.evaluate.report.result_block import TrialResult
from palitune.infer.loading import learning_params
from palitune.models.arrays import AnyArray, Weights
from palitune.run.trial_queue import Task
from palitune.train import loop, schedule
from palitune.train.early_stopping import Best
from palitune.train.loop import Attempt


@dataclasses.dataclass
class Progress:
    """Where a run stands, in words and numbers."""

    results: list[TrialResult] = dataclasses.field(default_factory=list)  # of the trials that have ended
    winner: int | None = None  # the best of them
    number: int = 0  # of the pass, from 0
    failures: int = 0  # attempts at this pass that diverged
    attempts: int = 0  # attempts in this trial so far
    passed: dict[str, Any] | None = None  # what the pass before was at its best, the arrays aside

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Progress":
        """As it was saved, field by field. Raises ValueError or TypeError for what only a damaged file can have."""
        found = cls(**{**facts, "results": [TrialResult(**result) for result in facts["results"]]})
        found.check()
        return found

    def attempt(self, task: Task, frozen: dict[str, jax.Array], start: Weights | None) -> Attempt:
        """A new attempt at the pass at hand, at half the learning rate for each that diverged but the first.

        Args:
          frozen: all parameters that the model has and a run leaves; what new adapters freeze is added.
          start: what the pass before has learned; None is before the first.
        """
        config, is_first = task.config, self.number == 0
        base: dict[str, jax.Array] | dict[str, AnyArray]
        base, more = learning_params(task.setups.model, config)
        frozen |= more
        if start is not None:
            base = {path: start[path] for path in base}
        rate = config.learning_rate if is_first else config.second_learning_rate or config.learning_rate / 10
        return Attempt(
            task.setups.of(config, frozen, task.last),
            base,
            rate * 0.5 ** max(0, self.failures - 1),
            warmup=schedule.warmup_steps(loop.steps_of(config), config.warmup),
            patience=config.patience if is_first or config.second_patience < 0 else config.second_patience,
            best=Best(**{**self.passed, "step": 0}, arrays=start) if self.passed and start else None,
        )

    def check(self) -> None:
        """Raises ValueError or TypeError for numbers that only a damaged file can have."""
        for value in (self.number, self.failures, self.attempts, self.winner or 0):
            if operator.index(value) < 0:
                raise ValueError(f"{value} is no count")
        if self.winner is not None and self.winner >= len(self.results):
            raise ValueError("the best of its trials is none of them")
        if self.passed is not None:
            Best(**self.passed, arrays={})

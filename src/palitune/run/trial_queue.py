"""Which training comes next in a run: its trials, the folds of each, the one on everything, and a student."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from palitune.config.run_config import BEST, TrainingConfig
from palitune.evaluate.report.result_block import TrialResult
from palitune.models import ensemble
from palitune.models.arrays import AnyArray, Flat, Weights
from palitune.run import combination
from palitune.run.folds import Folds, OutOfFold
from palitune.run.sweep import Trial, Trials
from palitune.run.training_setup import TrainingSetups
from palitune.run.trial_weights import TrialWeights
from palitune.train import loop
from palitune.train.evaluation import Evaluation

# What a student learns from: by the parameters of its teachers together, on the device, and their configuration.
Teach = Callable[[Flat, TrainingConfig], tuple[TrainingSetups, TrainingConfig]]


class Task(NamedTuple):
    """One training that a run has to do.

    Attributes:
      last: the step after which it ends; None is the last of its schedule.
      observe: what is kept of parameters at an evaluation; None is nothing.
      title: what it is, for a person; empty for the only training of a run.
    """

    trial: Trial
    config: TrainingConfig
    setups: TrainingSetups
    last: int | None = None
    observe: Callable[[Flat, Evaluation], AnyArray] | None = None
    title: str = ""

    def is_like(self, other: "Task") -> bool:
        """Whether one program can take the steps of both: all that may differ is an argument of it."""
        return self.last == other.last and self.setups.program(self.config) == other.setups.program(other.config)


class TrialQueue:
    """All trainings of a run, one after another.

    Attributes:
      candidates: the numbers of those that the result is chosen from, or made of; empty where the folds are the result.
      count: how many there are.
    """

    def __init__(
        self,
        trials: Trials,
        configured: Callable[[Trial], TrainingConfig],
        setups: TrainingSetups,
        folds: Folds | None = None,
        teach: Teach | None = None,
        together: int = 1,
    ) -> None:
        """Args:
        configured: the configuration of a trial.
        setups: of all that is learned from.
        folds: each trial is learned on these, before the best of them is learned on everything.
        teach: tells what a student of the trials learns from; None is no student.
        together: how many may learn in lockstep.
        """
        self.trials, self.configured, self.setups, self.folds, self.teach = trials, configured, setups, folds, teach
        self.together = together
        if folds is None or trials.joins_folds:
            self.candidates = range(trials.count)
        else:
            self.candidates = range(trials.count, trials.count + trials.repeat)
        self.count = self.candidates.stop + (teach is not None)

    def of_folds_alone(self) -> "TrialQueue":
        """The same trials, of which nothing is wanted but what their folds say of the records held out."""
        found = copy.copy(self)
        found.candidates, found.count, found.teach = (
            range(self.trials.count, self.trials.count),
            self.trials.count,
            None,
        )
        return found

    @property
    def is_alone(self) -> bool:
        """Whether there is one training, whose result is that of the run."""
        return self.count == 1

    def next(
        self, results: Sequence[TrialResult], weights: TrialWeights, all_params: Callable[[Weights], Flat]
    ) -> Task | None:
        """The training behind those that have ended with these results; None where none is left that can be done.

        Args:
          weights: what earlier ones have learned.
          all_params: all parameters on the device, of what was learned.
        """
        number = len(results)
        if number < self.trials.count:
            trial = self.trials.next([None if one.diverged else one.score for one in results])
            return self._of_trial(trial, number)
        if number in self.candidates:
            return self._on_everything(number - self.candidates.start, results, weights)
        if number < self.count and self.teach is not None and (teachers := self.members(results)):
            trial = Trial(self.trials.seed + self.trials.repeat, dict(results[teachers[0]].changes))
            together = combination.of_one_kind([weights[one] for one in teachers])
            setups, config = self.teach(all_params(ensemble.stacked(together)), self.configured(trial))
            return Task(trial, config, setups, title=f"student of {len(together)} trials")
        return None

    def beside(self, first: Task, results: Sequence[TrialResult], weights: TrialWeights, count: int) -> list[Task]:
        """The training that `next` found, and those after it that can learn in lockstep with it, `count` at most."""
        number, found = len(results), [first]
        trials = range(0 if self.trials.search else self.trials.count)
        for other in range(number + 1, number + count):
            task: Task | None = None
            if number in trials and other in trials:
                task = self._of_trial(self.trials[other], other)
            elif number in self.candidates and other in self.candidates:
                task = self._on_everything(other - self.candidates.start, results, weights)
            if task is None or not first.is_like(task):
                break
            found.append(task)
        return found

    def _of_trial(self, trial: Trial, number: int) -> Task:
        """A trial, or one fold of it."""
        config, folds = self.configured(trial), self.folds
        changes = "".join(f", {name} {value}" for name, value in trial.changes.items())
        if folds is None:
            title = f"trial {number + 1} of {self.trials.count}: seed {trial.seed}{changes}"
            return Task(trial, config, self.setups, title="" if self.is_alone else title)
        fold = number % len(folds)

        def observe(params: Flat, found: Evaluation) -> AnyArray:
            return folds.observed(fold, params, found)

        config = folds.config(config, by_epochs=self.trials.by_epochs)
        title = f"fold {fold + 1} of {len(folds)}: learning from {len(folds.learned(fold))} records{changes}"
        return Task(trial, config, folds.setups(fold), None, observe, title)

    def _on_everything(self, number: int, results: Sequence[TrialResult], weights: TrialWeights) -> Task | None:
        """The training on all examples, of as many steps as the folds of the best trial have chosen."""
        if self.folds is None or (found := self.out_of_fold(results, weights)) is None:
            return None
        changes = dict(results[self.trials.best_group(results[: self.trials.count])[0]].changes)
        trial = Trial(self.trials.seed + number, changes)
        config = self.configured(trial)
        in_fold = self.folds.config(config, by_epochs=self.trials.by_epochs)
        last = max(1, round(found.step * loop.steps_of(config) / loop.steps_of(in_fold)))
        title = f"all records, {last} steps" + (f": seed {trial.seed}" if self.trials.repeat > 1 else "")
        return Task(trial, dataclasses.replace(config, evaluate_every=last), self.setups, last, title=title)

    def out_of_fold(self, results: Sequence[TrialResult], weights: TrialWeights) -> OutOfFold | None:
        """What the folds of the best trial say of all examples; None where some fold of every trial has diverged.

        Args:
          weights: with what was observed of the folds.
        """
        group = self.trials.best_group(results[: self.trials.count])
        if self.folds is None or len(group) < len(self.folds):
            return None
        return self.folds.out_of_fold([weights.observed[one] for one in group])

    def held_out(self, results: Sequence[TrialResult]) -> dict[int, int]:
        """The folds of the best trial, by the number of their training: how many records were held out of each."""
        group = self.trials.best_group(results[: self.trials.count])
        return {} if self.folds is None else dict(zip(group, map(len, self.folds.places), strict=True))

    def told(self, results: Sequence[TrialResult]) -> tuple[Sequence[TrialResult], list[tuple[str, TrialResult]]]:
        """The results of the trials, or of the folds of each, and those of trainings after them with what these are."""
        later = range(self.trials.count, len(results))
        names = ["all records" if number in self.candidates else "student" for number in later]
        return results[: self.trials.count], list(zip(names, results[self.trials.count :], strict=True))

    def best(self, results: Sequence[TrialResult]) -> str:
        """Which trial is the best, for a person; of a trial in folds, where there are others, its folds."""
        if self.folds is None:
            ranked = combination.ranked(results)
            return f"trial {ranked[0] + 1}" if ranked else ""
        group = self.trials.best_group(results)
        return f"trials {group[0] + 1} to {group[-1] + 1}" if group and len(results) > len(group) else ""

    def members(self, results: Sequence[TrialResult]) -> list[int]:
        """The trainings that the result is made of, by their numbers, the best first."""
        own = results[self.candidates.start : self.candidates.stop]
        if self.trials.how == BEST:
            found = combination.ranked(own)[:1]
        elif self.folds is not None and self.trials.joins_folds:
            found = self.trials.best_group(own)
        else:
            found = combination.chosen(own, self.trials.repeat)
        return [self.candidates.start + one for one in found]

    def winner(self, results: Sequence[TrialResult]) -> int | None:
        """The training with the best result, by its number; a student that came to an end comes first."""
        if self.teach is not None and len(results) == self.count and not results[-1].diverged:
            return self.count - 1
        own = results[self.candidates.start : self.candidates.stop]
        ranked = combination.ranked(own)
        if self.folds is not None and self.trials.joins_folds:  # without one of them nothing comes of the others
            group = self.trials.best_group(own)
            ranked = [one for one in ranked if one in group]
        return self.candidates.start + ranked[0] if ranked else None

    def is_lost(self, results: Sequence[TrialResult]) -> bool:
        """Whether nothing comes of trainings that have all ended: each, or a fold of each trial, has diverged."""
        return self.winner(results) is None if self.candidates else not self.trials.best_group(results)

    def is_kept(self, number: int) -> bool:
        """Whether what a training learns may be part of the result; of a fold only what was observed is needed."""
        return number >= self.candidates.start

    def wanted(self, results: Sequence[TrialResult]) -> set[int]:
        """The trainings, of those that have ended, of which something is still needed."""
        found = set() if (winner := self.winner(results)) is None else {winner}
        found |= self.trials.wanted(results[: self.trials.count])
        return found | set(self.members(results))

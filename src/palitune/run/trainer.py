"""A run of training: some trials, each of one or two passes, each restarted when it diverges.

What was best is kept, and a run can be resumed at any step.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from palitune import hosts
from palitune.checkpoint import manifest, npz, run_state
from palitune.config.run_config import TrainingConfig
from palitune.errors import DivergedError, ResumableError
from palitune.evaluate.report.result_block import TrialResult
from palitune.models import lora
from palitune.models.arrays import AnyArray, Flat, Weights
from palitune.run import lockstep_trials
from palitune.run.description import Describe
from palitune.run.folder import RunFolder
from palitune.run.interrupt import Interrupt
from palitune.run.lockstep_trials import LockstepTrials
from palitune.run.progress import Progress
from palitune.run.run_log import RunLog
from palitune.run.saving_clock import SavingClock
from palitune.run.sweep import Trial
from palitune.run.training_setup import TrainingSetups
from palitune.run.trial_queue import Task, TrialQueue
from palitune.run.trial_weights import TrialWeights
from palitune.train import loop
from palitune.train.lockstep import Lane
from palitune.train.loop import Attempt, Row


class Trainer:
    """One run, from where it stands to its end.

    Attributes:
      frozen: the frozen parameters, on the device.
      start: what the second pass begins with; None before it.
      weights: what trials have learned that may be part of the result.
      observed: what was observed of held-out examples in the training at hand, by the step.
      task: the training at hand.
      lane: of it, where it learns in lockstep with others.
    """

    def __init__(
        self,
        queue: TrialQueue,
        frozen: dict[str, jax.Array],
        log: RunLog,
        evaluate: Callable[[Flat, str], None],
        describe: Describe,
        save_every: int | None,
        *,
        follows: bool = False,
    ) -> None:
        """Args:
        queue: the trainings of the run.
        evaluate: prints the result blocks of all parameters under a label.
        describe: the manifest of the arrays that a configuration made.
        save_every: steps between saved states; 0 is never, None by the clock.
        follows: another process writes what this one has a part in.
        """
        self.queue, self.frozen = queue, frozen
        self.log, self.evaluate, self.describe = log, evaluate, describe
        self.folder: RunFolder | None = log.folder
        self.saves = self.folder is not None or follows
        self.state_path = self.folder.state if self.folder is not None else Path("state.npz")  # for messages
        self.progress = Progress()
        self.start: Weights | None = None
        self.weights = TrialWeights(None if queue.is_alone else self.folder)
        self.observed: dict[str, AnyArray] = {}
        self.task: Task | None = None
        self.interrupt = Interrupt()
        self.clock = SavingClock(save_every if self.saves else 0)
        self.resumed: run_state.Saved | None = None
        self.lockstep = LockstepTrials(queue, self._made)
        self.lane: Lane | None = None

    def learn(self) -> None:
        """Takes every step that is left. What was best is saved, and evaluated after each pass of a single trial.

        Raises:
          DivergedError: no trial came to an end.
          ResumableError: stopped on request.
        """
        while (attempt := self._next_attempt()) is not None:
            steps = loop.steps_of(attempt.setup.config)
            try:
                with self._at_work(attempt, steps) as rows:
                    for row in rows:
                        self._observe(attempt, row, steps)
            except DivergedError as error:
                self._diverged(attempt, error)
            else:
                self._end_pass(attempt)
            del attempt  # before the next one takes as much memory
        if self.queue.is_lost(self.progress.results):
            what = f"all {len(self.progress.results)} trials diverged; no model was saved"
            if self.queue.folds:
                what = "every trial, or a fold of each, has diverged; no model was saved"
            raise DivergedError(what, hint=loop.ADVICE)

    def _next_attempt(self) -> Attempt | None:
        """What comes next: an attempt at a pass of a trial, the one that was saved, or nothing more."""
        if self.task is None:
            self.task = self.queue.next(self.progress.results, self.weights, self.all_params)
            if self.task is None:
                return None
            if self.task.title:
                self.log.note(self.task.title)
        return self._attempt(self.task)

    def _attempt(self, task: Task) -> Attempt:
        """A new attempt at the current pass, or the one that was saved."""
        p, saved = self.progress, self.resumed
        if saved is not None:
            with run_state.understood(self.state_path):
                self.lockstep.restore(saved, task, p.results, self.weights)
        # Others are in lockstep with its first attempt at its first pass.
        alone = bool(p.number or p.failures)
        self.lane = self.lockstep.take(task, p.results, self.weights, is_alone=alone, may_begin=saved is None)
        attempt = self.lane.attempt if self.lane else self._made(task)
        self.resumed = None
        if self.lane is not None:
            self.observed = self.lane.observed
        if saved is None:
            p.attempts += 1
            return attempt
        if self.lane is None:
            with run_state.understood(self.state_path):
                attempt.restore(saved.arrays, saved.facts["attempt"])
                self.observed = dict(saved.arrays["observed"])
        place = ", ".join(f"{key} {value}" for key, value in self.place().items())
        at = self.lane.position if self.lane else attempt.count
        self.log.note(f"going on after step {at} of {loop.steps_of(task.config)} ({place})")
        return attempt

    def _made(self, task: Task) -> Attempt:
        """A new attempt at the pass at hand of a training."""
        own = task.setups.model.checkpoint
        # Without what an earlier trial had beside its adapters.
        self.frozen = {path: leaf for path, leaf in self.frozen.items() if path in own or not lora.is_adapter(path)}
        return self.progress.attempt(task, self.frozen, self.start)

    @contextlib.contextmanager
    def _at_work(self, attempt: Attempt, steps: int) -> Iterator[Iterator[Row | None]]:
        """The rows of the steps that an attempt still has to take, while signals wait for the end of a step."""
        p, config = self.progress, attempt.setup.config
        name = loop.PASSES[p.number]
        order = name if not p.failures else f"{name}, attempt {p.failures + 1}"
        done = self.lane.position if self.lane else attempt.count
        self.log.open_bar(f"{name} training", steps, config.batch_size * config.accumulate, done)
        try:
            with self.interrupt if self.saves else contextlib.nullcontext():
                if self.lane and self.lockstep.group:
                    yield self.lockstep.group.rows(len(p.results))
                else:
                    yield attempt.rows(self.setups.batches(config, order, attempt.count))
            if attempt.count < attempt.setup.last:
                without = f"{attempt.stopping.stalled} evaluations without a better one"
                self.log.note(f"the {name} pass ends at step {attempt.count} of {steps}: {without}")
            if self.clock.every != 0:
                self.save_state(attempt)  # what comes next, evaluating and writing, takes time too
        finally:
            self.log.close_bar()
        self.log.total += steps

    def _observe(self, attempt: Attempt, row: Row | None, steps: int) -> None:
        """Writes a step down, and saves the state where that is due. Raises ResumableError where a signal asked.

        Args:
          row: None after a step that was not this attempt's.
        """
        if row is not None:
            self._write(attempt, row, steps)
        step = attempt.count if row is None else row.step
        is_due = not attempt.is_over and self.clock.is_due(step)
        # All processes do what the first one decides by its clock and its signals.
        is_wanted, is_due = map(bool, divmod(hosts.agreed(2 * (self.interrupt.wanted is not None) + is_due), 2))
        if is_wanted or is_due:
            self.save_state(attempt)
        if is_wanted:
            self.log.draw(self.progress.winner)
            raise ResumableError(f"stopped at step {step} of {steps}, and saved")

    def _write(self, attempt: Attempt, row: Row, steps: int) -> None:
        """Writes a step down, with what is to be observed of it."""
        if row.evaluation and self.lane is None and self.task is not None and self.task.observe is not None:
            params = {**self.frozen, **attempt.result}
            self.observed[str(row.step)] = self.task.observe(params, row.evaluation)
        try:
            self.log.row(row, steps, self.place() | {"epoch": self._epoch(attempt, row.step)})
        except BrokenPipeError:  # the reader of our lines has gone; what was learned need not
            if self.clock.every != 0:
                self.save_state(attempt)
            if self.interrupt.wanted is None:
                raise

    def _diverged(self, attempt: Attempt, error: DivergedError) -> None:
        """Counts an attempt that diverged. Raises DivergedError where it was the last one of the only trial."""
        p, most = self.progress, attempt.setup.config.attempts
        facts = {"step": attempt.count, "highest_learning_rate": attempt.learning_rate, "what": error.what}
        self.log.event("diverged", **self.place(), **facts)
        p.failures += 1
        if p.failures < most:
            slower = " at half the learning rate" if p.failures > 1 else ""
            self.log.note(f"{error.what}; restarted with another order of the examples{slower}")
            return
        what = error.what + (f", attempt {p.failures} of {p.failures}" if p.failures > 1 else "")
        if self.queue.is_alone:
            saved = p.number and self.folder is not None
            kept = f"{self.folder.target} has what the first pass learned" if saved and self.folder else None
            raise DivergedError(f"{what}; {kept or 'no model was saved'}", hint=error.hint) from None
        self.log.note(what)
        self._end_trial(TrialResult(self._trial.seed, self._trial.changes, p.attempts, diverged=what))

    def _end_pass(self, attempt: Attempt) -> None:
        """Goes on to the next pass, or ends the trial."""
        p, best, config = self.progress, attempt.best, attempt.setup.config
        assert best is not None
        if attempt.is_no_better and p.number == 0:
            self.log.note("the validation loss is no lower than before training: check the data and the learning rate")
        elif best.step == 0:
            self.log.note("the second pass found nothing better: what the first learned stays")
        p.number += 1
        p.failures = 0
        self.start, p.passed = best.arrays, best.facts()
        if self.queue.is_alone:
            # At once and after each pass, so that nothing that comes later can cost what was learned.
            self.save(config, best.arrays)
            self.evaluate(self.all_params(best.arrays), f"{loop.PASSES[p.number - 1]} trained")
        if p.number < (2 if config.second_pass else 1):
            return
        trial, found = self._trial, (best.step, best.score, best.loss, dict(best.ratios))
        learned: Weights = {}
        if self.queue.is_kept(len(p.results)):
            # With what this trial had beside its trainable parameters.
            adapters = {path: hosts.whole(leaf) for path, leaf in self.frozen.items() if lora.is_adapter(path)}
            learned = {**adapters, **best.arrays}
        self.weights.add(len(p.results), learned, self.observed)
        if self._end_trial(TrialResult(trial.seed, trial.changes, p.attempts, None, *found)):
            self.save(config, best.arrays)

    def _end_trial(self, result: TrialResult) -> bool:
        """Notes how a trial ended; returns whether its result is the best of several so far."""
        p = self.progress
        p.results.append(result)
        p.winner = self.queue.winner(p.results)
        self.weights.only(self.queue.wanted(p.results))
        p.number = p.failures = p.attempts = 0
        p.passed = self.start = self.task = None
        self.observed = {}
        return not self.queue.is_alone and p.winner == len(p.results) - 1

    @property
    def setups(self) -> TrainingSetups:
        """Those of the training at hand, or of all that is learned from."""
        return self.queue.setups if self.task is None else self.task.setups

    @property
    def _trial(self) -> Trial:
        return self.task.trial if self.task else Trial(0, {})

    def all_params(self, learned: Weights) -> dict[str, jax.Array]:
        """All parameters on the device: the frozen ones, and those that were learned."""
        return {**self.frozen, **{path: self.setups.model.put(path, learned[path]) for path in learned}}

    def place(self) -> dict[str, int]:
        """The trial, pass and attempt at work, counted from 1, as the metrics name them."""
        p = self.progress
        return {"trial": len(p.results) + 1, "pass": p.number + 1, "attempt": p.failures + 1}

    def _epoch(self, attempt: Attempt, step: int) -> float:
        """How often a pass has shown each example after a step."""
        config = attempt.setup.config
        return round(step * config.batch_size * config.accumulate / len(self.setups.train), 6)

    # What is saved ----------------------------------------------------------------------------------------------------

    def save(self, config: TrainingConfig, learned: Weights) -> None:
        """Writes the checkpoint: what differs from the base, and where it comes from. Raises StorageError."""
        changed = self.setups.changed(config, self.frozen, learned)
        self.write(config, {path: hosts.whole(leaf) if hosts.count() > 1 else leaf for path, leaf in changed.items()})

    def write(self, config: TrainingConfig, changed: Weights, combined: manifest.Combined | None = None) -> None:
        """Writes all that differs from the base as the checkpoint; `combined` says what of several trials it is."""
        if self.folder is None:
            return
        content = self.describe(config, changed, combined)
        npz.save(self.folder.target, changed, texts={manifest.MEMBER: content})
        manifest.write(self.folder.target, content)

    def save_state(self, attempt: Attempt) -> None:
        """Writes everything that resuming takes, where there is a folder for it. Raises StorageError."""
        if not self.saves:
            return
        best = None if self.lane else attempt.best
        arrays = {
            "trainable": attempt.trainable,
            "state": run_state.leaves_of(attempt.state),
            "best": best.arrays if best else {},
            "start": self.start or {},
            "observed": {} if self.lane else self.observed,
        } | self.lockstep.arrays()
        written = {group: {name: hosts.fetched(leaf) for name, leaf in own.items()} for group, own in arrays.items()}
        if self.folder is None:
            hosts.follow(leaf for own in written.values() for leaf in own.values())
        else:
            facts = {
                "progress": dataclasses.asdict(self.progress),
                "attempt": attempt.facts(),
                lockstep_trials.FACTS: self.lockstep.facts(),
                "metrics": self.log.metrics.sync(),
                "blocks": self.log.blocks,
                "total": self.log.total,
            }
            run_state.save(self.folder.state, written, facts)
            self.weights.clean()  # no state asks for them any more
        self.clock.saved()

    def resume(self, saved: run_state.Saved, folder: RunFolder) -> None:
        """Puts everything where it was when the state was saved; the attempt follows when it is wanted.

        Args:
          folder: where the run is.

        Raises:
          BadDataError: the state is not one that was saved, or what an earlier trial has learned is damaged.
        """
        with run_state.understood(self.state_path):
            self.progress = Progress.of(saved.facts["progress"])
            self.start = saved.arrays["start"] or None
            self.log.blocks = [str(block) for block in saved.facts["blocks"]]
            self.log.total = int(saved.facts["total"])
        if not self.queue.is_alone:
            self.weights.read(self.queue.wanted(self.progress.results), folder)
        self.resumed = saved

    def finish(self, event: str, **facts: object) -> None:
        """Marks the run as ended, "finished" or "failed", and removes what only resuming would need."""
        winner = self.progress.winner
        self.log.event(event, winner=None if winner is None else winner + 1, **facts)
        if self.folder is not None:
            self.log.metrics.sync()
            self.folder.clean_state()

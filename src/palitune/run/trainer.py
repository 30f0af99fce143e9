"""A run of training: some trials, each of one or two passes, each restarted when it diverges.

What was best is kept, and a run can be resumed at any step.
"""

import contextlib
import dataclasses
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from palitune import hosts
from palitune.checkpoint import manifest, npz, run_state
from palitune.config.run_config import TrainingConfig
from palitune.data.batches import Batch
from palitune.errors import DivergedError, ResumableError
from palitune.evaluate.report.result_block import TrialResult
from palitune.infer.loading import learning_params
from palitune.models import lora
from palitune.models.arrays import AnyArray, Flat, Weights
from palitune.run.folder import RunFolder
from palitune.run.interrupt import Interrupt
from palitune.run.run_log import RunLog
from palitune.run.sweep import Trial, Trials
from palitune.run.training_setup import TrainingSetups
from palitune.train import loop, schedule
from palitune.train.early_stopping import Best
from palitune.train.loop import Attempt, Row

SAVE_SECONDS = 600  # between two saved states, where no steps were named


@dataclasses.dataclass
class Progress:
    """Where a run stands, in words and numbers."""

    results: list[TrialResult] = dataclasses.field(default_factory=list)  # of the trials that have ended
    winner: int | None = None  # the best of them
    number: int = 0  # of the pass, from 0
    failures: int = 0  # attempts at this pass that diverged
    attempts: int = 0  # attempts in this trial so far
    passed: dict[str, Any] | None = None  # what the pass before was at its best, the arrays aside

    def check(self) -> None:
        """Raises ValueError or TypeError for numbers that only a damaged file can have."""
        for value in (self.number, self.failures, self.attempts, self.winner or 0):
            if operator.index(value) < 0:
                raise ValueError(f"{value} is no count")
        if self.winner is not None and self.winner >= len(self.results):
            raise ValueError("the best of its trials is none of them")
        if self.passed is not None:
            Best(**self.passed, arrays={})


class Trainer:
    """One run, from where it stands to its end.

    Attributes:
      frozen: the frozen parameters, on the device.
      start: what the second pass begins with; None before it.
      kept: what the best trial so far has learned.
      config: of the trial at hand.
    """

    def __init__(
        self,
        setups: TrainingSetups,
        frozen: dict[str, jax.Array],
        trials: Trials,
        configured: Callable[[Trial], TrainingConfig],
        log: RunLog,
        evaluate: Callable[[Flat, str], None],
        describe: Callable[[TrainingConfig, Weights], str],
        save_every: int | None,
        *,
        follows: bool = False,
    ) -> None:
        """Args:
        configured: the configuration of a trial.
        evaluate: prints the result blocks of all parameters under a label.
        describe: the manifest of the arrays that a configuration made.
        save_every: steps between saved states; 0 is never, None by the clock.
        follows: another process writes what this one has a part in.
        """
        self.setups, self.frozen, self.trials, self.configured = setups, frozen, trials, configured
        self.log, self.evaluate, self.describe, self.save_every = log, evaluate, describe, save_every
        self.folder: RunFolder | None = log.folder
        self.saves = self.folder is not None or follows
        self.state_path = self.folder.state if self.folder is not None else Path("state.npz")  # for messages
        self.progress = Progress()
        self.start: Weights | None = None
        self.kept: Weights | None = None
        self.config: TrainingConfig | None = None
        self.trial: Trial | None = None
        self.interrupt = Interrupt()
        self.saved_at = time.monotonic()
        self.resumed: run_state.Saved | None = None

    def learn(self) -> None:
        """Takes every step that is left. What was best is saved, and evaluated after each pass of a single trial.

        Raises:
          DivergedError: no trial came to an end.
          ResumableError: stopped on request.
        """
        while (attempt := self._next_attempt()) is not None:
            steps = loop.steps_of(attempt.setup.config)
            try:
                with self._at_work(attempt, steps) as feed:
                    for row in attempt.rows(feed):
                        self._observe(attempt, row, steps)
            except DivergedError as error:
                self._diverged(attempt, error)
            else:
                self._end_pass(attempt)
            del attempt  # before the next one takes as much memory
        if self.progress.winner is None:
            raise DivergedError(f"all {self.trials.count} trials diverged; no model was saved", hint=loop.ADVICE)

    def _next_attempt(self) -> Attempt | None:
        """What comes next: an attempt at a pass of a trial, the one that was saved, or nothing more."""
        p = self.progress
        if len(p.results) == self.trials.count:
            return None
        if self.trial is None or self.config is None:
            self.trial = self.trials.next([None if result.diverged else result.score for result in p.results])
            self.config = self.configured(self.trial)
            if self.trials.count > 1:
                changes = "".join(f", {name} {value}" for name, value in self.trial.changes.items())
                number = f"{len(p.results) + 1} of {self.trials.count}"
                self.log.note(f"trial {number}: seed {self.trial.seed}{changes}")
        return self._attempt(self.config)

    def _attempt(self, config: TrainingConfig) -> Attempt:
        """A new attempt at the current pass, or the one that was saved."""
        p = self.progress
        base: dict[str, jax.Array] | dict[str, AnyArray]
        base, more = learning_params(self.setups.model, config)
        own = self.setups.model.checkpoint
        # Without what an earlier trial had beside its adapters.
        self.frozen = {path: leaf for path, leaf in self.frozen.items() if path in own or not lora.is_adapter(path)}
        self.frozen |= more
        if self.start is not None:
            base = {path: self.start[path] for path in base}
        first = p.number == 0
        rate = config.learning_rate if first else config.second_learning_rate or config.learning_rate / 10
        attempt = Attempt(
            self.setups.of(config, self.frozen),
            base,
            rate * 0.5 ** max(0, p.failures - 1),
            warmup=schedule.warmup_steps(loop.steps_of(config), config.warmup),
            patience=config.patience if first or config.second_patience < 0 else config.second_patience,
            best=Best(**{**p.passed, "step": 0}, arrays=self.start) if p.passed and self.start else None,
        )
        if self.resumed is None:
            p.attempts += 1
            return attempt
        with run_state.understood(self.state_path):
            attempt.restore(self.resumed.arrays, self.resumed.facts["attempt"])
        self.resumed = None
        place = ", ".join(f"{key} {value}" for key, value in self.place().items())
        self.log.note(f"going on after step {attempt.count} of {loop.steps_of(config)} ({place})")
        return attempt

    @contextlib.contextmanager
    def _at_work(self, attempt: Attempt, steps: int) -> Iterator[Iterator[Batch]]:
        """The batches that an attempt still has to take, while signals wait for the end of a step."""
        p, config = self.progress, attempt.setup.config
        name = loop.PASSES[p.number]
        order = name if not p.failures else f"{name}, attempt {p.failures + 1}"
        self.log.open_bar(f"{name} training", steps, config.batch_size * config.accumulate, attempt.count)
        try:
            with self.interrupt if self.saves else contextlib.nullcontext():
                yield self.setups.batches(config, order, attempt.count)
            if attempt.count < steps:
                without = f"{attempt.stopping.stalled} evaluations without a better one"
                self.log.note(f"the {name} pass ends at step {attempt.count} of {steps}: {without}")
            if self.save_every != 0:
                self.save_state(attempt)  # what comes next, evaluating and writing, takes time too
        finally:
            self.log.close_bar()
        self.log.total += steps

    def _observe(self, attempt: Attempt, row: Row, steps: int) -> None:
        """Writes a step down, and saves the state where that is due. Raises ResumableError where a signal asked."""
        try:
            self.log.row(row, steps, self.place() | {"epoch": self._epoch(attempt, row.step)})
        except BrokenPipeError:  # the reader of our lines has gone; what was learned need not
            if self.save_every != 0:
                self.save_state(attempt)
            if self.interrupt.wanted is None:
                raise
        is_due = not attempt.is_over(steps) and self.is_save_due(row.step)
        # All processes do what the first one decides by its clock and its signals.
        is_wanted, is_due = map(bool, divmod(hosts.agreed(2 * (self.interrupt.wanted is not None) + is_due), 2))
        if is_wanted or is_due:
            self.save_state(attempt)
        if is_wanted:
            self.log.draw(self.progress.winner)
            raise ResumableError(f"stopped at step {row.step} of {steps}, and saved")

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
        if self.trials.count == 1:
            saved = p.number and self.folder is not None
            kept = f"{self.folder.target} has what the first pass learned" if saved and self.folder else None
            raise DivergedError(f"{what}; {kept or 'no model was saved'}", hint=error.hint) from None
        self.log.note(what)
        self._end_trial(TrialResult(self._seed, self._changes, p.attempts, diverged=what))

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
        alone = self.trials.count == 1
        if alone:
            # At once and after each pass, so that nothing that comes later can cost what was learned.
            self.save(config, best.arrays)
            self.evaluate(self.all_params(best.arrays), f"{loop.PASSES[p.number - 1]} trained")
        if p.number < (2 if config.second_pass else 1):
            return
        result = TrialResult(
            self._seed, self._changes, p.attempts, None, best.step, best.score, best.loss, dict(best.ratios)
        )
        if p.winner is None or result.is_better(p.results[p.winner]):
            p.winner = len(p.results)
            adapters = {path: leaf for path, leaf in self.frozen.items() if lora.is_adapter(path)}
            self.kept = {**adapters, **best.arrays}  # with what this trial had beside its trainable parameters
            if not alone:
                self.save(config, best.arrays)
        self._end_trial(result)

    def _end_trial(self, result: TrialResult) -> None:
        p = self.progress
        p.results.append(result)
        p.number = p.failures = p.attempts = 0
        p.passed = self.start = self.trial = self.config = None

    @property
    def _seed(self) -> int:
        return self.trial.seed if self.trial else 0

    @property
    def _changes(self) -> Mapping[str, object]:
        return self.trial.changes if self.trial else {}

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
        if self.folder is None:
            return
        changed = self.setups.changed(config, self.frozen, learned)
        changed = {path: hosts.whole(leaf) if hosts.count() > 1 else leaf for path, leaf in changed.items()}
        content = self.describe(config, changed)
        npz.save(self.folder.target, changed, texts={manifest.MEMBER: content})
        manifest.write(self.folder.target, content)

    def is_save_due(self, step: int) -> bool:
        """Whether the state is to be saved after a step."""
        if not self.saves or step == 0 or self.save_every == 0:
            return False
        if self.save_every is None:
            return time.monotonic() - self.saved_at >= SAVE_SECONDS
        return step % self.save_every == 0

    def save_state(self, attempt: Attempt) -> None:
        """Writes everything that resuming takes, where there is a folder for it. Raises StorageError."""
        if not self.saves:
            return
        best = attempt.best
        arrays = {
            "trainable": attempt.trainable,
            "state": run_state.leaves_of(attempt.state),
            "best": best.arrays if best else {},
            "start": self.start or {},
            "kept": self.kept or {},
        }
        written = {group: {name: hosts.fetched(leaf) for name, leaf in own.items()} for group, own in arrays.items()}
        if self.folder is None:
            hosts.follow(leaf for own in written.values() for leaf in own.values())
        else:
            facts = {
                "progress": dataclasses.asdict(self.progress),
                "attempt": attempt.facts(),
                "metrics": self.log.metrics.sync(),
                "blocks": self.log.blocks,
                "total": self.log.total,
            }
            run_state.save(self.folder.state, written, facts)
        self.saved_at = time.monotonic()

    def resume(self, saved: run_state.Saved) -> None:
        """Puts everything where it was when the state was saved; the attempt follows when it is wanted.

        Raises:
          BadDataError: the state is not one that was saved.
        """
        with run_state.understood(self.state_path):
            facts = dict(saved.facts["progress"])
            facts["results"] = [TrialResult(**result) for result in facts["results"]]
            self.progress = Progress(**facts)
            self.progress.check()
            self.start = saved.arrays["start"] or None
            self.kept = saved.arrays["kept"] or None
            self.log.blocks = [str(block) for block in saved.facts["blocks"]]
            self.log.total = int(saved.facts["total"])
        self.resumed = saved

    def finish(self, event: str, **facts: object) -> None:
        """Marks the run as ended, "finished" or "failed", and removes what only resuming would need."""
        winner = self.progress.winner
        self.log.event(event, winner=None if winner is None else winner + 1, **facts)
        if self.folder is not None:
            self.log.metrics.sync()
            self.folder.clean_state()

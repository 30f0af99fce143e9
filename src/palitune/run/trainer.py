"""Learning as a person asks for it: some trials, each of one or two passes, each tried again when it diverges.

What was best is kept, and a run can be taken up again at any step.
"""

import contextlib
import dataclasses
import operator
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from palitune.checkpoint import manifest, npz, run_state
from palitune.config import TrainingConfig
from palitune.errors import DivergedError, ResumableError
from palitune.evaluate.report.result_block import TrialResult
from palitune.infer.loading import learning_params
from palitune.models import lora
from palitune.run.courses import Courses
from palitune.run.folder import RunFolder
from palitune.run.interrupt import Interrupt
from palitune.run.journal import Journal
from palitune.run.sweep import Trial, Trials
from palitune.train import loop, schedule
from palitune.train.loop import Attempt, Best, Row

PASSES = ("1st", "2nd")
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
        """Raises ValueError or TypeError for numbers that are none, as only a file can have them."""
        for value in (self.number, self.failures, self.attempts, self.winner or 0):
            if operator.index(value) < 0:
                raise ValueError(f"{value} is no count")
        if self.winner is not None and self.winner >= len(self.results):
            raise ValueError("the best of its trials is none of them")
        if self.passed is not None:
            Best(**self.passed, arrays={})


class Training:
    """One run, from where it stands to its end.

    Attributes:
      frozen: what does not learn, on the device.
      start: what the second pass begins with; None before it.
      kept: what the best trial so far has learned.
    """

    def __init__(
        self,
        courses: Courses,
        frozen: dict[str, Any],
        trials: Trials,
        configured: Callable[[Trial], TrainingConfig],
        journal: Journal,
        judge: Callable[[Mapping[str, Any], str], None],
        describe: Callable[[Any], str],
        save_every: int | None,
    ) -> None:
        """Args:
        configured: the configuration of a trial.
        judge: prints the result blocks of all parameters under a label.
        describe: the manifest of arrays learned under a configuration.
        save_every: steps between saved states; 0 is never, None by the clock.
        """
        self.courses, self.frozen, self.trials, self.configured = courses, frozen, trials, configured
        self.journal, self.judge, self.describe, self.save_every = journal, judge, describe, save_every
        self.folder: RunFolder | None = journal.folder
        self.progress = Progress()
        self.start: Mapping[str, Any] | None = None
        self.kept: Mapping[str, Any] | None = None
        self.interrupt = Interrupt()
        self.saved_at = time.monotonic()
        self.resumed: run_state.Saved | None = None

    def __call__(self) -> None:
        """Everything that is left; what was best is saved and judged.

        Raises:
          DivergedError: no trial came to an end.
          ResumableError: stopped on request.
        """
        p, count = self.progress, self.trials.count
        while len(p.results) < count:
            trial = self.trials.next([None if result.diverged else result.score for result in p.results])
            self.learn_trial(trial, self.configured(trial))
            p.number = p.failures = p.attempts = 0
            p.passed = self.start = None
        if p.winner is None:
            raise DivergedError(f"all {count} trials diverged; no model was saved", hint=loop.ADVICE)

    def learn_trial(self, trial: Trial, config: TrainingConfig) -> None:
        p, count = self.progress, self.trials.count
        if count > 1:
            changes = "".join(f", {name} {value}" for name, value in trial.changes.items())
            self.journal.note(f"trial {len(p.results) + 1} of {count}: seed {trial.seed}{changes}")
        best = Best(**p.passed, arrays=self.start) if p.passed and self.start else None
        passes = 2 if config.second_pass else 1
        while p.number < passes:
            try:
                best = self.learn_pass(config, best)
            except DivergedError as error:
                if count == 1:
                    raise self.nothing_saved(error) from None
                self.journal.note(error.what)
                p.results.append(TrialResult(trial.seed, trial.changes, p.attempts, diverged=error.what))
                return
            p.number += 1
            p.failures = 0
            self.start, p.passed = best.arrays, best.facts()
            if count == 1:
                # At once and after each pass, so that nothing that comes later can cost what was learned.
                self.save(config, best.arrays)
                self.judge(self.all_params(best.arrays), f"{PASSES[p.number - 1]} trained")
        assert best is not None
        p.results.append(
            TrialResult(
                trial.seed, trial.changes, p.attempts, None, best.step, best.score, best.loss, dict(best.ratios)
            )
        )
        if p.winner is None or p.results[-1].is_better(p.results[p.winner]):
            p.winner = len(p.results) - 1
            adapters = {path: leaf for path, leaf in self.frozen.items() if lora.is_adapter(path)}
            self.kept = {**adapters, **best.arrays}  # with what this trial had beside what learned
            if count > 1:
                self.save(config, best.arrays)

    def nothing_saved(self, error: DivergedError) -> DivergedError:
        saved = self.folder is not None and self.progress.number
        kept = (
            f"{self.folder.target} has what the first pass learned" if saved and self.folder else "no model was saved"
        )
        return DivergedError(f"{error.what}; {kept}", hint=error.hint)

    def all_params(self, learned: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.frozen, **{path: jnp.asarray(learned[path]) for path in learned}}

    def learn_pass(self, config: TrainingConfig, best: Best | None) -> Best:
        """One pass, in as many attempts as it takes and the configuration allows."""
        p = self.progress
        rate = config.learning_rate if p.number == 0 else config.second_learning_rate or config.learning_rate / 10
        while True:
            attempt = self.attempt(config, best, rate * 0.5 ** max(0, p.failures - 1))
            try:
                self.watch(attempt, config)
            except DivergedError as error:
                facts = {"step": attempt.count, "highest_learning_rate": attempt.learning_rate, "what": error.what}
                self.journal.event("diverged", **self.place(), **facts)
                p.failures += 1
                if p.failures >= config.attempts:
                    again = f", attempt {p.failures} of {p.failures}" if p.failures > 1 else ""
                    raise DivergedError(error.what + again, hint=error.hint) from None
                slower = " at half the learning rate" if p.failures > 1 else ""
                self.journal.note(f"{error.what}; begun again with another order of the examples{slower}")
                del attempt  # before the next one takes as much memory
                continue
            assert attempt.best is not None
            if attempt.is_no_better and p.number == 0:
                self.journal.note("the validation loss is no lower than before learning: look at the data and the rate")
            elif attempt.best.step == 0:
                self.journal.note("the second pass found nothing better: what the first learned stays")
            return attempt.best

    def attempt(self, config: TrainingConfig, best: Best | None, rate: float) -> Attempt:
        """A new attempt at the current pass, or the one that was saved."""
        p = self.progress
        base, more = learning_params(self.courses.model, config)
        own = self.courses.model.checkpoint
        # Without what an earlier trial had beside its adapters.
        resting = {path: leaf for path, leaf in self.frozen.items() if path in own or not lora.is_adapter(path)}
        self.frozen = resting | more
        if self.start is not None:
            base = {path: self.start[path] for path in base}
        patience = config.patience if p.number == 0 or config.second_patience < 0 else config.second_patience
        warmup = schedule.warmup_steps(loop.steps_of(config), config.warmup)
        if best is not None:
            best = dataclasses.replace(best, step=0)
        attempt = Attempt(
            self.courses.course(config, self.frozen), base, rate, warmup=warmup, patience=patience, best=best
        )
        if self.resumed is not None:
            assert self.folder is not None
            with run_state.understood(self.folder.state):
                attempt.restore(self.resumed.arrays, self.resumed.facts["attempt"])
            self.resumed = None
            place = ", ".join(f"{key} {value}" for key, value in self.place().items())
            self.journal.note(f"going on after step {attempt.count} of {loop.steps_of(config)} ({place})")
        else:
            p.attempts += 1
        return attempt

    def watch(self, attempt: Attempt, config: TrainingConfig) -> None:
        """Takes the steps of an attempt, writes each down, and saves where that is due or asked for."""
        p, steps = self.progress, loop.steps_of(config)
        name = PASSES[p.number]
        order = name if not p.failures else f"{name}, attempt {p.failures + 1}"

        def observe(row: Row) -> None:
            try:
                self.journal.row(row, steps, self.place())
            except BrokenPipeError:  # the reader of our lines has gone; what was learned need not
                if self.save_every != 0:
                    self.save_state(attempt)
                if self.interrupt.wanted is None:
                    raise
            last = attempt.is_over(steps)
            if self.interrupt.wanted is not None or (not last and self.is_save_due(row.step)):
                self.save_state(attempt)
            if self.interrupt.wanted is not None:
                self.journal.draw(p.winner)
                raise ResumableError(f"stopped at step {row.step} of {steps}, and saved")

        self.journal.open_bar(f"{name} training", steps, config.batch_size * config.accumulate, attempt.count)
        try:
            with self.interrupt if self.folder is not None else contextlib.nullcontext():
                attempt.learn(self.courses.batches(config, order, attempt.count), observe)
            if attempt.count < steps:
                looks = f"{attempt.stalled} looks without a better one"
                self.journal.note(f"the {name} pass ends at step {attempt.count} of {steps}: {looks}")
            if self.save_every != 0:
                self.save_state(attempt)  # what comes next, judging and writing, takes time too
        finally:
            self.journal.close_bar()
        self.journal.total += steps

    def place(self) -> dict[str, Any]:
        """Trial, pass and attempt that are at work, as the metrics name them."""
        p = self.progress
        return {"trial": len(p.results) + 1, "pass": p.number + 1, "attempt": p.failures + 1}

    # What is saved ----------------------------------------------------------------------------------------------------

    def save(self, config: TrainingConfig, learned: Mapping[str, Any]) -> None:
        """Writes the checkpoint: what differs from the base, and where it comes from."""
        if self.folder is None:
            return
        changed = self.courses.changed(config, self.frozen, learned)
        content = self.describe({"config": config.as_json(), "dtypes": {p: a.dtype for p, a in changed.items()}})
        npz.save(self.folder.target, changed, texts={manifest.MEMBER: content})
        manifest.write(self.folder.target, content)

    def is_save_due(self, step: int) -> bool:
        if self.folder is None or step == 0 or self.save_every == 0:
            return False
        if self.save_every is None:
            return time.monotonic() - self.saved_at >= SAVE_SECONDS
        return step % self.save_every == 0

    def save_state(self, attempt: Attempt) -> None:
        if self.folder is None or self.journal.metrics is None:
            return
        best = attempt.best
        arrays = {
            "trainable": attempt.trainable,
            "state": run_state.leaves_of(attempt.state),
            "best": best.arrays if best else {},
            "start": self.start or {},
            "kept": self.kept or {},
        }
        facts = {
            "progress": dataclasses.asdict(self.progress),
            "attempt": attempt.facts(),
            "metrics": self.journal.metrics.sync(),
            "blocks": self.journal.blocks,
            "total": self.journal.total,
        }
        run_state.save(self.folder.state, arrays, facts)
        self.saved_at = time.monotonic()

    def resume(self, saved: run_state.Saved) -> None:
        """Puts everything where it was when the state was saved; the attempt follows when it is wanted."""
        assert self.folder is not None
        with run_state.understood(self.folder.state):
            facts = dict(saved.facts["progress"])
            facts["results"] = [TrialResult(**result) for result in facts["results"]]
            self.progress = Progress(**facts)
            self.progress.check()
            self.start = saved.arrays["start"] or None
            self.kept = saved.arrays["kept"] or None
            self.journal.blocks = [str(block) for block in saved.facts["blocks"]]
            self.journal.total = int(saved.facts["total"])
        self.resumed = saved

    def finish(self, event: str) -> None:
        """Marks the run as ended, "finished" or "failed", and removes what only going on would need."""
        winner = self.progress.winner
        self.journal.event(event, winner=None if winner is None else winner + 1)
        if self.folder is not None and self.journal.metrics is not None:
            self.journal.metrics.sync()
            self.folder.clean_state()

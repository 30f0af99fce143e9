"""What comes of a run at its end: the result of its trials, evaluated and saved, and what there is to say of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palitune.confidence_interval import wilson_interval
from palitune.config.run_config import RunConfig
from palitune.data.prediction import Prediction
from palitune.evaluate.class_counts import Counts
from palitune.evaluate.confusion import is_right
from palitune.evaluate.report.result_block import TrialResult, trial_table
from palitune.evaluate.run_facts import Together
from palitune.run import combined_trials, next_run, validation_answers
from palitune.run.combination import Combined
from palitune.run.evaluation import SetEvaluator, counted
from palitune.run.folder import COMBINED, OUT_OF_FOLD
from palitune.run.next_run import Told
from palitune.run.preparation import Preparation
from palitune.run.run_log import RunLog
from palitune.run.sweep import Trial
from palitune.run.trainer import Trainer
from palitune.train import loop

UNTOUCHED = "untouched"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
      checkpoint: what was saved, and None where nothing was.
      before: confusion matrices before learning, by file; empty for a run that was resumed after that.
      after: confusion matrices of what was learned, by file; empty for a run that had come to its end earlier. Of a run
        in folds there is one of all records, out of fold.
      metrics: a row for every step and every event, with the names of the columns of metrics.csv.
      trials: how each trial ended.
      best: the number of the best trial, from 0.
      advice: what the metrics say of the run, and the command to try next.
    """

    checkpoint: Path | None
    before: dict[Path, Counts]
    after: dict[Path, Counts]
    metrics: list[dict[str, object]]
    trials: list[TrialResult]
    best: int | None
    advice: list[Told] = dataclasses.field(default_factory=list)


def finished(
    run: Preparation, config: RunConfig, log: RunLog, evaluator: SetEvaluator, trainer: Trainer, program: str
) -> RunResult:
    """Evaluates what several trials come to, and writes what a run has at its end."""
    progress, folder, found = trainer.progress, log.folder, combined_trials.combined(trainer)
    if not run.queue.is_alone:
        _tell(run, log, evaluator, trainer, found)
    log.draw(progress.winner)
    advice = _advice(run, log, evaluator, trainer, program, found)
    if folder is not None and evaluator.last:
        validation_answers.write(folder, list(evaluator.last.values())[-1])
    trainer.finish("finished", **_kept_settings(run, trainer))
    if config.report and folder is not None and run.config.labels:
        evaluator.report(folder, config.lang, config.quiet)
    elif config.report and folder is not None:
        evaluator.report_text(trainer.all_params(found.weights), folder, config.lang, config.quiet)
    return RunResult(
        folder.target if folder is not None else None,
        {path: counted(found, run.config.labels) for path, found in (evaluator.first or {}).items()},
        {path: counted(found, run.config.labels) for path, found in evaluator.last.items()},
        log.metrics.rows,
        progress.results,
        progress.winner,
        advice,
    )


def _tell(run: Preparation, log: RunLog, evaluator: SetEvaluator, trainer: Trainer, found: Combined) -> None:
    """Prints how the trials ended, what they were combined to, and the result blocks of that."""
    progress, queue = trainer.progress, run.queue
    trials, others = queue.told(progress.results)
    if found.result is not None:
        others.append((found.how, found.result))
    best = f"best by {run.config.select}: {queue.best(trials)}" if queue.best(trials) else ""
    log.block(trial_table(trials, best, others))
    if len(found.trials) > 1:
        log.note(f"{found.how} of trials {', '.join(str(number + 1) for number in sorted(found.trials))}")
    if found.result is not None:
        members = [number + 1 for number in sorted(found.trials)]
        log.event(COMBINED, how=found.how, trials=members, loss=found.result.loss, **found.result.ratios)
    if queue.folds is None:
        evaluator(trainer.all_params(found.weights), f"{loop.PASSES[run.config.second_pass]} trained")
        return
    said = queue.out_of_fold(progress.results, trainer.weights)
    assert said is not None  # without it there would be no result
    if run.untouched:
        own = SetEvaluator(run.model, run.images, run.config, {run.data: run.untouched}, {}, log)
        own(trainer.all_params(found.weights), UNTOUCHED)
    evaluator.tell(said.predictions, OUT_OF_FOLD.replace("_", " "))
    right, total = _right(said.predictions)
    low, high = wilson_interval(right, total)
    held_out = _held_out_loss(queue.held_out(progress.results), said.step, log.metrics.rows)
    counts = {"right": right, "total": total, "low": low, "high": high}
    log.event(OUT_OF_FOLD, step=said.step, loss=said.loss, token_loss=held_out, **counts)
    log.note(
        f"out of fold: accuracy {right / total:.4f} ({right} of {total}), 95 % interval {low:.3f} to {high:.3f}, each "
        f"answer by a model that has not learned from the record, after {said.step} steps"
    )


def _held_out_loss(sizes: Mapping[int, int], step: int, rows: Sequence[Mapping[str, object]]) -> float | None:
    """The mean validation loss of all records as the steps of a run tell it, which is of tokens and not of answers.

    Args:
      sizes: of each fold how many records were held out, by the number of its training from 0.
    """
    found = {
        number: row["valid_loss"]
        for row in rows  # of several attempts and passes the last
        if row.get("step") == step and "valid_loss" in row and "event" not in row
        if isinstance(number := row.get("trial"), int) and number - 1 in sizes
    }
    losses = [found.get(number + 1) for number in sizes]
    if not all(isinstance(loss, float) for loss in losses):
        return None
    return float(np.average(np.array(losses, float), weights=list(sizes.values())))


def _kept_settings(run: Preparation, trainer: Trainer) -> dict[str, object]:
    """Of the best of several trials, what its configuration has other than config.json; None is what it has not."""
    if run.queue.is_alone or trainer.progress.winner is None:
        return {}
    best, first = trainer.progress.results[trainer.progress.winner], run.config.as_json()
    own = run.configured(Trial(best.seed, dict(best.changes))).as_json()
    names = sorted(first.keys() | own.keys())
    return {"settings": {name: own.get(name) for name in names if own.get(name) != first.get(name)}}


def _together(found: Combined, results: Sequence[TrialResult], winner: int) -> Together | None:
    """What several trials have become beside the best of them; None of a single trial."""
    if len(found.trials) < 2:
        return None
    loss = results[winner].loss if found.result is None else found.result.loss  # of a student its own
    return Together(found.how, len(found.trials), loss, min(results[one].loss for one in found.trials))


def _right(predictions: Sequence[Prediction]) -> tuple[int, int]:
    """How many of the predictions whose right answer is known are right, and how many there are."""
    known = [one for one in predictions if one.target.answer is not None]
    return sum(is_right(one.text, one.target.answer or "") for one in known), len(known)


def _advice(
    run: Preparation, log: RunLog, evaluator: SetEvaluator, trainer: Trainer, program: str, found: Combined
) -> list[Told]:
    """What the metrics say of the run, printed and written down."""
    progress = trainer.progress
    assert progress.winner is not None
    best = progress.results[progress.winner]
    trial = Trial(best.seed, dict(best.changes))
    asked = run.configured.config
    answers = list(evaluator.last.values())[-1] if run.config.labels and evaluator.last else []
    is_validation = run.queue.folds is not None or len(run.sets) > 1
    together = _together(found, progress.results, progress.winner) if run.queue.folds is None else None
    facts = next_run.facts_of(run.configured(trial), run.sets[run.data], answers, is_validation, together)
    own = asked if run.queue.is_alone else trial.of(asked)
    told = next_run.of_run(log.metrics.rows, facts, own, program, progress.winner, asked)
    for one in told:
        log.event("advice", **one.as_row())
        for line in one.lines:
            log.note(line)
    return told

"""What several trials of a run become together, written as its checkpoint."""

import dataclasses

from palitune.checkpoint import delta, manifest
from palitune.config.run_config import BEST, DISTIL, ENSEMBLE
from palitune.evaluate.report.result_block import TrialResult
from palitune.models import ensemble, lora
from palitune.models.arrays import AnyArray, Weights
from palitune.run import combination
from palitune.run.combination import Combined
from palitune.run.sweep import Trial
from palitune.run.trainer import Trainer
from palitune.train.early_stopping import found_score


def combined(trainer: Trainer) -> Combined:
    """The result of a run whose trials have ended, saved unless it is the best trial, which is saved already.

    Raises:
      StorageError: it cannot be written.
    """
    progress, queue, learned = trainer.progress, trainer.queue, trainer.weights
    assert progress.winner is not None
    how, best = queue.trials.how, progress.results[progress.winner]
    config = queue.configured(Trial(best.seed, dict(best.changes)))

    def worth(weights: Weights) -> TrialResult:
        found = queue.setups.evaluator(trainer.all_params(weights))
        ratios = queue.setups.measure(found)
        score = found_score(config.select, found.loss, ratios)
        return TrialResult(config.seed, {}, 0, score=score, loss=found.loss, ratios=ratios)

    if how == BEST:
        return Combined(learned[progress.winner], (progress.winner,))
    if progress.winner in queue.candidates:
        numbers = queue.members(progress.results)
        how = ENSEMBLE if how == DISTIL else how  # the student diverged
        found = combination.combine(how, numbers, learned, lambda weights: worth(weights).score)
        of = found.trials
        if queue.folds is None and progress.winner != of[0]:  # the best of all has other settings, or bad neighbours
            progress.winner, best = of[0], progress.results[of[0]]
            config = queue.configured(Trial(best.seed, dict(best.changes)))
            if len(of) == 1:
                trainer.write(config, _with_inherited(trainer, found.weights))
        if len(of) > 1 and queue.folds is None:
            found = found._replace(result=worth(found.weights))
    else:
        of = tuple(queue.members(progress.results))
        found = Combined(learned[progress.winner], (progress.winner,))
    if len(of) > 1:
        told: list[dict[str, object]] = [
            {"seed": one.seed, **one.changes} for one in map(progress.results.__getitem__, of)
        ]
        if adapted := lora.adapted(found.weights):
            config = dataclasses.replace(config, lora_rank=found.weights[adapted[0] + lora.A].shape[-1])
        trainer.write(config, _with_inherited(trainer, found.weights), manifest.Combined(how=how, trials=told))
    return found._replace(how=how, trials=of)


def _with_inherited(trainer: Trainer, weights: Weights) -> Weights:
    """All that differs from the base: what the model that was learned from had changed already, too."""
    own = trainer.queue.setups.model.checkpoint
    there = {path for path in delta.inherited(own) if ensemble.own_of(path) not in weights}
    changed: dict[str, AnyArray] = {path: own[path] for path in there}
    return dict(sorted({**changed, **weights}.items()))

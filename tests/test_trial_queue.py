"""Which trainings of a run its result is made of, and what becomes of one that diverges."""

import pytest

from palitune.config.run_config import RunConfig
from palitune.data.example import Example
from palitune.data.prediction import MadeWith
from palitune.evaluate.report.result_block import TrialResult
from palitune.run.folds import Folds
from palitune.run.sweep import Trials
from palitune.run.trial_queue import TrialQueue


def queue(**settings: object) -> TrialQueue:
    """The trainings of a run with these settings, of two examples; what they are trained with is never asked for."""
    config = RunConfig.of(settings)
    examples = [Example.of("a.png", label="yes"), Example.of("b.png", label="no")]
    folds = Folds(None, examples, [[0], [1]], MadeWith(None), True) if config.folds else None  # type: ignore[arg-type]
    return TrialQueue(Trials(config), None, None, folds)  # type: ignore[arg-type]


def ended(loss: float) -> TrialResult:
    return TrialResult(0, {}, 1, None, 8, -loss, loss, {})


DIVERGED = TrialResult(0, {}, 3, "the loss is not a number")


def test_of_several_settings_those_without_a_diverged_trial_are_combined() -> None:
    swept = queue(repeat=3, sweep=("lr=0.1,0.01",))
    lucky = [DIVERGED, ended(0.05), DIVERGED]
    assert swept.members([ended(0.3), ended(0.1), ended(0.2), *lucky]) == [1, 2, 0]
    assert swept.members([DIVERGED, ended(0.1), ended(0.2), *lucky]) == [4]
    assert swept.members([ended(0.3), ended(0.1), ended(0.2), ended(0.01), ended(0.4), ended(0.05)]) == [3, 5, 4]
    assert swept.best([ended(0.3), ended(0.1), ended(0.2), *lucky]) == "trial 5"


def test_the_trials_are_told_apart_from_what_comes_of_them() -> None:
    results = [ended(0.3), ended(0.1), ended(0.2), ended(0.4), ended(0.05)]
    trials, others = queue(folds=2, sweep=("lr=0.1,0.01",)).told(results)
    assert (trials, others) == (results[:4], [("all records", results[4])])
    assert queue(folds=2, sweep=("lr=0.1,0.01",)).best(trials) == "trials 1 to 2"
    assert queue(folds=2).best(results[:2]) == ""  # folds are no trials to choose from
    _, others = queue(folds=2, repeat=2).told([ended(0.1)] * 4)
    assert [name for name, _ in others] == ["all records", "all records"]


def test_folds_that_are_joined_are_nothing_without_one_of_them() -> None:
    joined = queue(folds=2, combine="soup")
    assert joined.candidates == range(2)
    assert joined.winner([ended(0.2), ended(0.1)]) == 1
    assert joined.winner([ended(0.2)]) is None  # the other is still to come
    assert joined.is_lost([ended(0.2), DIVERGED])
    swept = queue(folds=2, combine="soup", sweep=("lr=0.1,0.01",))
    assert swept.winner([ended(0.1), DIVERGED, ended(0.4), ended(0.3)]) == 3
    assert not swept.is_lost([ended(0.1), DIVERGED, ended(0.4), ended(0.3)])


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"folds": 2}, [2]),
        ({"folds": 2, "combine": "soup"}, [0, 1]),
        ({"folds": 2, "repeat": 2}, [2, 3]),
        ({"repeat": 2}, [0, 1]),
    ],
)
def test_weights_are_kept_of_what_the_result_may_be_made_of(settings: dict[str, object], kept: list[int]) -> None:
    found = queue(**settings)
    assert [number for number in range(found.count) if found.is_kept(number)] == kept


def test_of_folds_alone_nothing_is_kept() -> None:
    whole = queue(folds=2, combine="soup")
    alone = whole.of_folds_alone()
    assert (alone.count, list(alone.candidates), whole.count) == (2, [], 2)
    assert queue(folds=2).of_folds_alone().count == 2
    assert not any(map(alone.is_kept, range(2)))
    assert alone.winner([ended(0.2), ended(0.1)]) is None
    assert not alone.is_lost([ended(0.2), ended(0.1)])
    assert alone.is_lost([ended(0.2), DIVERGED])

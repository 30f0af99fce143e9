"""The guard on logs that are known to be good and bad, and on what they are with noise."""

import dataclasses
import json
import math

import numpy as np
import pytest
from conftest import GOLDEN

from palitune.train import schedule
from palitune.train.guard import HOPELESS_LOSS, Guard

LOG = json.loads((GOLDEN / "training_log.json").read_text())
STEPS = 256
WARMUP = schedule.warmup_steps(STEPS)


def curve(kind: str) -> np.ndarray:
    """The logged losses at every step, straight lines in between."""
    points = {int(step): loss for step, loss in LOG[kind].items()}
    return np.interp(np.arange(1, STEPS + 1), list(points), list(points.values()))


def stopped_at(losses: np.ndarray) -> int | None:
    guard = Guard(WARMUP)
    return next((step for step, loss in enumerate(losses, 1) if guard.step(float(loss))), None)


def test_the_logged_runs() -> None:
    assert stopped_at(curve("healthy_loss")) is None
    called = stopped_at(curve("diverged_loss"))
    assert called is not None
    assert called <= 96


@pytest.mark.parametrize(
    "noise",
    [
        lambda rng, count: rng.gamma(1.0, 1.0, count),  # as wide as it is high: a batch of one
        lambda rng, count: rng.gamma(2.0, 0.5, count),
        lambda rng, count: np.exp(rng.normal(0, 0.5, count)),
        lambda rng, count: rng.gamma(2.0, 0.5, count) + 5.0 * (rng.random(count) < 0.01),
    ],
    ids=["exponential", "gamma", "log-normal", "outliers"],
)
def test_a_thousand_noisy_logs_of_each_kind(noise: object) -> None:
    rng = np.random.default_rng(0)
    false = sum(stopped_at(curve("healthy_loss") * noise(rng, STEPS)) is not None for _ in range(1000))
    found = [stopped_at(curve("diverged_loss") * noise(rng, STEPS)) for _ in range(1000)]
    assert false <= 10
    assert sum(step is not None for step in found) >= 990


def test_what_ends_a_run_at_once() -> None:
    for loss in (math.nan, math.inf, -math.inf, HOPELESS_LOSS * 1.001):
        assert Guard(WARMUP).step(loss)
    assert Guard(WARMUP).step(0.1, finite=False) == "a gradient is not finite"
    assert Guard(WARMUP).step(HOPELESS_LOSS) is None


def test_a_high_loss_that_does_not_rise_is_let_alone() -> None:
    """Long answers, or smoothed labels: the loss stays above 1 from the start to the end."""
    for warmup in (0, 1, WARMUP):
        guard = Guard(warmup)
        assert not any(guard.step(3.0) for _ in range(STEPS))
    guard = Guard(0)
    assert not any(guard.step(loss) for loss in np.linspace(5, 0.1, STEPS))


def test_a_validation_loss_that_is_ruined() -> None:
    guard = Guard(warmup=4)
    assert guard.evaluated(3.0) is None
    for _ in range(4):
        guard.step(3.0)
    assert guard.evaluated(6.1) is None  # still warming up
    guard.step(3.0)
    assert guard.evaluated(6.1) is None  # it may come back
    assert guard.evaluated(5.9) is None
    assert guard.evaluated(6.1) is None
    assert guard.evaluated(6.1)
    assert guard.evaluated(math.nan)
    guard.evaluated(1.0)
    assert guard.evaluated(6.1, last=True)
    low = Guard(warmup=0, seen=5)
    assert low.evaluated(0.1) is None
    assert low.evaluated(0.9) is None  # risen ninefold, and still low


def test_over_fitting_is_said_once() -> None:
    guard = Guard(warmup=0, patience=2, seen=1)
    said = []
    for valid, train in ((1.0, None), (0.5, 0.9), (0.4, 0.5), (0.45, 0.4), (0.5, 0.3), (0.6, 0.2)):
        guard.evaluated(valid, train)
        said.append(guard.remarks(["yes", "no"], ["yes", "no"]))
    assert [len(remarks) for remarks in said] == [0, 0, 0, 0, 1, 0]
    assert "risen 2 times while the training loss fell" in said[4][0]


def test_a_rise_that_training_shares_is_no_over_fitting() -> None:
    guard = Guard(warmup=0, patience=2, seen=1)
    for valid, train in ((0.4, 0.3), (0.5, 0.4), (0.6, 0.5), (0.7, 0.6)):
        guard.evaluated(valid, train)
        assert guard.remarks(["yes", "no"], ["yes", "no"]) == []


def test_one_answer_for_everything_that_lasts() -> None:
    mixed = ["yes", "no", "yes"]
    guard = Guard(warmup=2)
    assert guard.remarks(["yes"] * 3, mixed) == []  # it has not learned yet
    for _ in range(3):
        guard.step(0.5)
    for _ in range(3):
        assert guard.remarks(["yes"] * 3, ["yes"] * 3) == []  # which is right
    assert guard.remarks(["yes"] * 3, mixed) == []  # once is no more than stumbling
    assert guard.remarks(mixed, mixed) == []
    assert guard.remarks(["yes"] * 3, mixed) == []
    (remark,) = guard.remarks(["yes"] * 3, mixed)
    assert remark.startswith('collapse: for 2 evaluations every answer on the validation set is "yes"')
    assert guard.remarks(["yes"] * 3, mixed) == []
    assert guard.remarks(mixed, mixed) == []
    (remark,) = guard.remarks(["no"] * 3, mixed, last=True)
    assert remark.startswith('collapse: every answer on the validation set is "no"')


def test_answers_that_are_no_labels() -> None:
    """A model that knew the labels and says neither any more: a remark at once, the end when it lasts."""
    guard = Guard(warmup=0, seen=5)
    assert guard.evaluated(0.9) is None
    said, ends = [], []
    for _ in range(3):
        ends.append(guard.evaluated(0.8, lost=True))
        said += guard.remarks(["no", "no"], ["yes", "no"])
    assert [bool(end) for end in ends] == [False, False, True]
    assert ends[2] == "3 evaluations in a row without a right answer, and with answers that are not a label"
    assert len(said) == 1
    assert "none of the labels" in said[0]
    guard = Guard(warmup=0, seen=5)
    ends = [guard.evaluated(0.9, lost=lost) for lost in (False, True, True, False, True, True)]
    assert ends == [None] * 6
    assert guard.evaluated(0.9, last=True, lost=True)
    assert Guard(warmup=9, seen=5, first_valid=0.9).evaluated(0.9, last=True, lost=True) is None  # still warming up


def test_labels_that_are_new_to_a_model_take_their_time() -> None:
    guard = Guard(warmup=0, seen=5)
    assert not any(guard.evaluated(loss, lost=True) for loss in np.linspace(9, 1, 20))
    assert [bool(guard.evaluated(5.0, lost=True)) for _ in range(3)] == [False, False, True]


def test_a_jump_while_the_rate_rises_is_no_level() -> None:
    """What it was before learning is what a loss that jumped and stayed is held against."""
    for known in (None, 0.9):
        guard = Guard(WARMUP, first_valid=known)
        ends = [guard.step(loss) for loss in [1.0, *[20.0] * (STEPS - 1)]]
        assert any(ends) == (known is not None)


def test_a_guard_taken_up_again_goes_on() -> None:
    losses = curve("diverged_loss")
    guard = Guard(WARMUP)
    for step, loss in enumerate(losses, 1):
        guard = Guard(**json.loads(json.dumps(dataclasses.asdict(guard))))
        if guard.step(float(loss)):
            assert step == stopped_at(losses)
            return
    raise AssertionError("it was not called")

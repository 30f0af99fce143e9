"""Thresholds against trying every one, temperatures against what they were drawn with."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from palitune.data.probabilities import log_odds
from palitune.errors import BadDataError
from palitune.evaluate import metrics, threshold
from palitune.evaluate.threshold import Goal

pytestmark = pytest.mark.quick_programs


def scores_of(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    positive = rng.random(count) < 0.5
    positive[:2] = True, False
    return rng.normal(np.where(positive, 1.0, -1.0), 1.5).round(1), positive


def every(scores: np.ndarray) -> list[float]:
    """A threshold in every gap."""
    known = np.unique(scores)
    return [known[0] - 1, *((known[1:] + known[:-1]) / 2).tolist(), known[-1] + 1]


@pytest.mark.parametrize("seed", range(50))
def test_no_other_threshold_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = scores_of(rng, int(rng.integers(3, 80)))
    tried = []
    for cut in every(scores):
        said = scores >= cut
        precision = precision_score(positive, said, zero_division=0)
        tried.append((precision, recall_score(positive, said), f1_score(positive, said, zero_division=0), said))
    best = max(p for p, *_ in tried)
    wish = 0.9 * best
    choice = threshold.choose(scores, positive, Goal(precision=wish))
    assert (choice.counts.precision or 0) >= wish
    assert choice.counts.recall == pytest.approx(max(r for p, r, *_ in tried if p >= wish))
    choice = threshold.choose(scores, positive, Goal(recall=0.8))
    assert (choice.counts.recall or 0) >= 0.8
    assert choice.counts.precision == pytest.approx(max(p for p, r, *_ in tried if r >= 0.8))
    choice = threshold.choose(scores, positive, Goal(f_measure=True))
    assert choice.counts.f_measure == pytest.approx(max(f for _, _, f, _ in tried))
    choice = threshold.choose(scores, positive, Goal(cost=(10, 1)))
    costs = [10 * (said & ~positive).sum() + (~said & positive).sum() for *_, said in tried]
    assert 10 * choice.counts.fp + choice.counts.fn == min(costs)
    # What was counted on the way is what the threshold gives.
    assert threshold.at(scores, positive, choice.log_odds) == choice.counts


def test_a_threshold_lies_between_the_records_that_it_parts() -> None:
    choice = threshold.choose(np.array([-3.0, -1.0, 2.0, 4.0]), np.array([0, 0, 1, 1], bool), Goal(f_measure=True))
    assert choice.log_odds == 0.5


def test_what_cannot_be_had_is_said() -> None:
    scores, positive = np.array([1.0, 2.0]), np.array([True, False])
    with pytest.raises(BadDataError, match=r"no threshold has a precision of 0\.9 here; the highest is 0\.5"):
        threshold.choose(scores, positive, Goal(precision=0.9))
    with pytest.raises(BadDataError, match="both labels"):
        threshold.choose(scores, np.array([True, True]), Goal(f_measure=True))
    with pytest.raises(BadDataError, match="both labels"):
        threshold.temperature(scores, np.array([True, True]))


@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_a_temperature_is_found_again(heat: float) -> None:
    rng = np.random.default_rng(5)
    honest = rng.normal(0, 3, 20_000)
    positive = rng.random(20_000) < 1 / (1 + np.exp(-honest))
    found = threshold.temperature(honest * heat, positive)
    assert found == pytest.approx(heat, rel=0.05)
    before, after = (1 / (1 + np.exp(-honest * heat / t)) for t in (1.0, found))
    assert threshold.log_loss(after, positive) <= threshold.log_loss(before, positive) + 1e-9
    if heat != 1.0:
        assert metrics.calibration_error(after, positive) < metrics.calibration_error(before, positive)


def test_a_set_without_a_mistake_does_not_make_a_model_certain() -> None:
    scores = np.array([-2.0, -1.5, 1.5, 2.0])
    assert threshold.temperature(scores, scores > 0) > 0.2


def test_log_odds_of_what_was_written_with_six_digits() -> None:
    p = np.array([0.0, 0.25, 0.5, 1.0])
    found = log_odds(p)
    assert np.isfinite(found).all()
    assert [threshold.to_probability(one) for one in found[1:3]] == pytest.approx([0.25, 0.5])
    assert threshold.to_probability(2.0, 2.0) == pytest.approx(1 / (1 + np.exp(-1)))


def test_a_threshold_above_certainty_is_none() -> None:
    """Where the highest score is 1.000000 nothing tells how far above it a threshold would have to be."""
    scores, positive = log_odds(np.array([1.0, 1.0, 1.0, 0.2])), np.array([True, False, True, False])
    choice = threshold.choose(scores, positive, Goal(cost=(1000, 1)))
    assert choice.counts.tp + choice.counts.fp == 3
    everything = threshold.choose(scores[:3], positive[:3], Goal(recall=1.0))
    assert threshold.to_probability(everything.log_odds) == 0.0

"""Two models side by side."""

import numpy as np
import pytest

from palitune.evaluate import comparison, metrics
from palitune.evaluate.metrics import Outcomes


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    # Two-sided exact binomial; 5 and 15 is the example in many textbooks.
    [(0, 0, 1.0), (5, 15, 0.04138946533203125), (1, 1, 1.0), (0, 10, 2 / 1024), (3, 0, 0.25)],
)
def test_mcnemar(won: int, lost: int, p: float) -> None:
    assert comparison.mcnemar(won, lost) == pytest.approx(p)


def outcomes_of(answers: str, labels: str = "yyyynnnn") -> Outcomes:
    names = {"y": "yes", "n": "no"}
    return Outcomes(tuple(names[x] for x in labels), tuple(names[x] for x in answers))


def test_flips_and_who_gained() -> None:
    found = comparison.compare(outcomes_of("yynnnnny"), outcomes_of("yyynnnny"))
    assert found.flips == [comparison.Flip(2, "no", "yes", True)]
    assert (found.won, found.lost, found.warning) == (1, 0, None)


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        (
            "yynnnnnn",
            "yyyynnyy",
            "recall rose, precision fell: it learned to say yes (yes answers: 2 before, 6 after; so few can be chance)",
        ),
        (
            "yyyynnyy",
            "yynnnnnn",
            "precision rose, recall fell: it learned to say no (yes answers: 6 before, 2 after; so few can be chance)",
        ),
        ("yynnnnnn", "yyyyyyyy", "it says yes to everything"),
        ("yynnnnnn", "nnnnnnnn", "it says no to everything"),
        ("yynnnnnn", "yyyynnnn", None),
    ],
)
def test_the_warning_that_matters(before: str, after: str, warning: str | None) -> None:
    assert comparison.compare(outcomes_of(before), outcomes_of(after)).warning == warning


def test_many_answers_that_turned_are_more_than_chance() -> None:
    labels = "yyyynnnn" * 3
    found = comparison.compare(outcomes_of("yynnnnnn" * 3, labels), outcomes_of("yyyynnyy" * 3, labels))
    assert found.warning is not None
    assert found.warning.endswith("it learned to say yes (yes answers: 6 before, 18 after)")
    assert found.is_noise  # of accuracy, which hides it


def test_differences_that_are_noise_and_that_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["yes", "no"], 300).tolist()

    def model(right: float) -> Outcomes:
        said = [one if rng.random() < right else {"yes": "no", "no": "yes"}[one] for one in labels]
        return metrics.outcomes_of(labels, said, [None], ("yes", "no"))

    first, same, better = model(0.7), model(0.7), model(0.95)
    noise, gain = comparison.differences(first, [same, better], "balanced_accuracy", 300)
    assert noise.low is not None
    assert noise.high is not None
    assert noise.low < 0 < noise.high
    assert gain.low is not None
    assert gain.low > 0.1
    assert comparison.compare(first, better).p_value < 1e-6
    assert comparison.difference(first, first, "accuracy", 50) == metrics.Figure(0.0, 0.0, 0.0)


def test_words_follow_from_the_interval_and_the_interval_from_the_test() -> None:
    """Of accuracy the interval is McNemar's, so that it holds 0 exactly where the test cannot tell models apart."""
    for won in range(25):
        for lost in range(25):
            count = won + lost + 7
            labels = ("yes",) * count
            first = Outcomes(labels, ("no",) * won + ("yes",) * (count - won))
            second = Outcomes(labels, ("yes",) * won + ("no",) * lost + ("yes",) * 7)
            found = comparison.compare(first, second)
            made = comparison.change(first, second, found, "accuracy")
            assert made.value == pytest.approx((won - lost) / count)
            assert made.low is not None
            assert made.high is not None
            assert made.low <= made.value <= made.high
            assert (made.low <= 0 <= made.high) == (comparison.mcnemar(won, lost) >= 0.05)
            expected = comparison.SAME if won == lost == 0 else comparison.NOISE if found.is_noise else comparison.REAL
            assert made.significance == found.significance == expected

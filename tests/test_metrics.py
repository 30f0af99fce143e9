"""Figures against scikit-learn's, intervals against their promise."""

import warnings

import conftest
import numpy as np
import pytest
from sklearn import config_context
from sklearn import metrics as sk

from palitune.evaluate import metrics
from palitune.evaluate.metrics import Outcomes


def drawn(rng: np.random.Generator, classes: tuple[str, ...]) -> tuple[list[str], list[str], np.ndarray]:
    """Labels, answers and p_yes of a model that is as good as it happens to be; some of one class, some with ties."""
    count = int(rng.integers(1, 60))
    weights = rng.dirichlet(np.full(len(classes), rng.choice([0.1, 1, 10])))
    labels = rng.choice(classes, count, p=weights).tolist()
    if len(classes) > 2:
        said = [label if rng.random() < 0.6 else str(rng.choice([*classes, "none of them"])) for label in labels]
        return labels, said, rng.uniform(0.3, 1, count)
    p = 1 / (1 + np.exp(-rng.normal([2 * (label == classes[0]) - 1 for label in labels], 1.5)))
    p = p.round(int(rng.integers(1, 6)))
    return labels, [classes[int(one < 0.5)] for one in p], p


def close(found: float | None, expected: float | None) -> bool:
    return found == expected if None in (found, expected) else abs(found - expected) < 1e-12  # type: ignore[operator]


@config_context(skip_parameter_validation=True)  # half of scikit-learn's time
def test_figures_of_two_classes_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for number in range(conftest.CASES):
        classes = (("yes", "no"), ("OK", "NG"))[number % 2]
        labels, said, p = drawn(rng, classes)
        found = metrics.figures(metrics.outcomes_of(labels, said, p.tolist(), classes))
        truth, answers = np.array(labels) == classes[0], np.array(said) == classes[0]
        both = 0 < truth.sum() < len(truth)
        assert close(found["accuracy"], sk.accuracy_score(truth, answers))
        assert close(found["precision"], sk.precision_score(truth, answers) if answers.any() else None)
        assert close(found["recall"], sk.recall_score(truth, answers) if truth.any() else None)
        f = sk.f1_score(truth, answers) if answers.any() and truth.any() and (truth & answers).any() else None
        assert close(found["f_measure"], f)
        assert close(found["balanced_accuracy"], sk.balanced_accuracy_score(truth, answers) if both else None)
        varied = both and 0 < answers.sum() < len(answers)
        assert close(found["matthews"], sk.matthews_corrcoef(truth, answers) if varied else None)
        assert close(found["roc_auc"], sk.roc_auc_score(truth, p) if both else None)
        assert close(found["average_precision"], sk.average_precision_score(truth, p) if both else None)
        assert close(found["brier"], sk.brier_score_loss(truth, p, pos_label=True))


@config_context(skip_parameter_validation=True)  # half of scikit-learn's time
def test_figures_of_several_classes_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    classes = ("food", "drug", "toy")
    for _ in range(conftest.CASES):
        labels, said, p = drawn(rng, classes)
        found = metrics.figures(metrics.outcomes_of(labels, said, p.tolist(), classes))
        assert close(found["accuracy"], sk.accuracy_score(labels, said))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of answers that are no class
            balanced = sk.balanced_accuracy_score(labels, said)
        assert close(found["balanced_accuracy"], balanced if len(set(labels)) > 1 else None)
        varied = len(set(labels)) > 1 and len(set(said)) > 1
        assert close(found["matthews"], sk.matthews_corrcoef(labels, said) if varied else None)
        present = sorted(set(classes) & {*labels, *said})
        wanted = sk.precision_recall_fscore_support(labels, said, labels=present, average="macro", zero_division=0)
        assert all(map(close, (found["precision"], found["recall"], found["f_measure"]), wanted))


def test_calibration_error_by_hand() -> None:
    p = np.array([0.05, 0.05, 0.95, 0.95, 0.95, 1.0])
    came = np.array([False, True, True, True, False, True])
    # 2 of 6 near 0.05 came true half the time, 4 of 6 near 0.9625 in three of four.
    assert metrics.calibration_error(p, came) == pytest.approx((2 * 0.45 + 4 * (0.9625 - 0.75)) / 6)


def test_calibrated_probabilities_have_little_calibration_error() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(20_000)
    assert metrics.calibration_error(p, rng.random(20_000) < p) < 0.02
    assert metrics.calibration_error(p, rng.random(20_000) < p**3) > 0.1


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(200):
        labels = rng.choice(["yes", "no"], 60).tolist()
        said = [label if rng.random() < 0.8 else {"yes": "no", "no": "yes"}[label] for label in labels]
        found = metrics.with_intervals(metrics.outcomes_of(labels, said, [None], ("yes", "no")), 200, only="accuracy")
        low, high = found["accuracy"].low, found["accuracy"].high
        assert low is not None
        assert high is not None
        held.append(low <= 0.8 <= high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_ten_of_ten_is_not_certain() -> None:
    one = metrics.outcomes_of(["yes"] * 5 + ["no"] * 5, ["yes"] * 5 + ["no"] * 5, [0.9] * 5 + [0.1] * 5, ("yes", "no"))
    found = metrics.with_intervals(one)
    assert found["accuracy"].value == 1.0
    assert found["accuracy"].low == pytest.approx(0.722, abs=1e-3)  # Wilson's
    assert found["recall"].low == pytest.approx(0.566, abs=1e-3)
    assert found["roc_auc"] == metrics.Figure(1.0)  # no interval is better than one that says it is certain


@pytest.mark.parametrize(
    ("labels", "answers", "remark"),
    [
        ([], [], "no labelled records"),
        (["yes"] * 3, ["yes", "no", "yes"], 'every label is "yes"'),
        (["yes", "no"], ["yes", "yes"], 'every answer is "yes"'),
        (["yes", "no"], ["maybe", "no"], "1 answers are none of yes, no"),
    ],
)
def test_sets_that_tell_little_say_so(labels: list[str], answers: list[str], remark: str) -> None:
    one = metrics.outcomes_of(labels, answers, [0.5] * len(labels), ("yes", "no"))
    assert any(remark in line for line in metrics.remarks(one))
    assert set(metrics.with_intervals(one, 50)) == set(metrics.NAMES)
    metrics.classification(one)


def test_the_same_seed_gives_the_same_intervals() -> None:
    rng = np.random.default_rng(4)
    labels, said, p = drawn(rng, ("yes", "no"))
    one = metrics.outcomes_of(labels, said, p.tolist(), ("yes", "no"))
    assert metrics.with_intervals(one, 100) == metrics.with_intervals(one, 100)


def test_always_the_same() -> None:
    one = Outcomes(("yes", "no", "no"), ("no", "no", "no"))
    assert metrics.figures(metrics.always("yes", one))["accuracy"] == pytest.approx(1 / 3)
    assert metrics.figures(metrics.always("no", one))["balanced_accuracy"] == 0.5

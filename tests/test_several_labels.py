"""Figures of several labels at once, against scikit-learn called on what is known."""

import dataclasses
import json
import warnings
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn import metrics as sk

import palitune
from palitune.data import label_weights
from palitune.data.example import Content, Example, Message, Target
from palitune.data.prediction import MadeWith, Prediction, by_example
from palitune.evaluate import label_figures, label_table, several_labels
from palitune.evaluate.label_figures import SetFigures
from palitune.evaluate.label_table import LabelTable
from palitune.evaluate.metrics import Figure
from palitune.evaluate.several_labels import AREAS, SeveralResult
from palitune.labels import LABELS
from palitune.run import label_ratios

CASES, TOGETHER = 10_000, 200  # tables, and how many of them one draw of hypothesis makes
WITH_AREAS = 8  # of them, since scikit-learn takes a call for the area of each label


def drawn(rng: np.random.Generator, with_p: bool) -> LabelTable:
    """A table of few records, with rare and frequent labels, unknown ones, ties, and thresholds that nothing meets."""
    records, labels = int(rng.integers(1, 9)), int(rng.choice([1, 2, 2, 3]))
    shares = rng.choice([0.0, 0.1, 0.5, 1.0], labels)
    truth = (rng.random((records, labels)) < shares).astype(np.int8)
    truth[rng.random((records, labels)) < rng.choice([0.0, 0.0, 0.3, 1.0], labels)] = -1
    p = rng.random((records, labels)).round(int(rng.integers(1, 4)))
    thresholds = rng.choice([0.0, 0.3, 0.5, 1.01], labels)
    table = LabelTable.of_probabilities([f"label{i}" for i in range(labels)], truth, p, thresholds)
    return table if with_p else dataclasses.replace(table, p=np.full_like(p, np.nan))


def counted_by_scikit_learn(cells: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Precision, recall, F-measure and support of labels and answers of many sets, by one call.

    What is yes in each set is a class of its own, and what is no there is of the class behind it.
    """
    pairs = [(2 * i + (truth != 1), 2 * i + ~said) for i, (truth, said) in enumerate(cells)]
    truth, said = (np.concatenate(part) for part in zip(*pairs, strict=True))
    labels = np.arange(0, 2 * len(pairs), 2)
    found = np.array(sk.precision_recall_fscore_support(truth, said, labels=labels, zero_division=np.nan)).T
    found[found[:, 3] == 0, 2] = np.nan  # nothing is there to be found
    return found


def close(figure: Figure, expected: float) -> bool:
    if figure.value is None or np.isnan(expected):
        return figure.value is None and bool(np.isnan(expected))
    return abs(figure.value - expected) < 1e-12


def mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return sum(defined) / len(defined) if defined else np.nan


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of what is not defined
@config_context(skip_parameter_validation=True)
@settings(max_examples=CASES // TOGETHER, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ten_thousand_tables_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = [drawn(rng, with_p=number < WITH_AREAS) for number in range(TOGETHER)]
    found = [several_labels.evaluate(table, resamples=0) for table in tables]
    by_label = [(t.truth[k, c], t.said[k, c]) for t in tables for c, k in enumerate(t.known.T)]
    by_record = [(truth[k], said[k]) for t in tables for truth, said, k in zip(t.truth, t.said, t.known, strict=True)]
    labels, records = iter(counted_by_scikit_learn(by_label)), iter(counted_by_scikit_learn(by_record))
    for one, micro in zip(
        found, counted_by_scikit_learn((t.truth[t.known], t.said[t.known]) for t in tables), strict=True
    ):
        own = np.array([next(labels) for _ in one.table.names])
        assert [each.support for each in one.labels.values()] == own[:, 3].tolist()
        samples = np.array([next(records) for _ in one.table.truth])
        for place, name in enumerate(("precision", "recall", "f_measure")):
            for each, value in zip(one.labels.values(), own[:, place], strict=True):
                assert close(each.figures[name], value)
            assert close(one.macro[name], mean(own[:, place]))
            assert close(one.micro[name], micro[place])
            assert close(one.samples[name], mean(samples[:, place]))
    for one in found[:WITH_AREAS]:
        check_slower_figures(one, one.table)


def check_slower_figures(found: SeveralResult, table: LabelTable) -> None:
    """What takes scikit-learn a call for each label."""
    parts = [(table.truth[k, c], table.said[k, c], table.p[k, c]) for c, k in enumerate(table.known.T)]
    rows = [areas_by_scikit_learn(*part) for part in parts]
    for one, (truth, said, _), areas in zip(found.labels.values(), parts, rows, strict=True):
        assert one.records == len(truth)
        assert close(one.figures["accuracy"], sk.accuracy_score(truth, said) if len(truth) else np.nan)
        assert all(close(one.figures.get(name, Figure(None)), area) for name, area in zip(AREAS, areas, strict=True))
    assert close(found.macro["accuracy"], mean([sk.accuracy_score(t, s) for t, s, _ in parts if len(t)]))
    pooled = [np.concatenate(each) for each in zip(*parts, strict=True)]
    if len(pooled[0]):
        assert close(found.micro["accuracy"], sk.accuracy_score(pooled[0], pooled[1]))
    for place, name in enumerate(AREAS):
        assert close(found.macro[name], mean([areas[place] for areas in rows]))
        assert close(found.micro[name], areas_by_scikit_learn(*pooled)[place])
    right = [float((t == s)[k].all()) for t, s, k in zip(table.truth, table.said, table.known, strict=True) if k.any()]
    assert close(found.exact_match, mean(right))


def areas_by_scikit_learn(truth: np.ndarray, said: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    both = 0 < truth.sum() < len(truth)
    return (sk.roc_auc_score(truth, p), sk.average_precision_score(truth, p)) if both else (np.nan, np.nan)


def test_wholly_known_tables_equal_scikit_learns_own_averages() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        truth = rng.integers(0, 2, (12, 3)).astype(np.int8)
        truth[0], truth[1] = 0, 1
        said = rng.integers(0, 2, (12, 3)).astype(bool)
        said[:, 0] |= truth[:, 0] == 1
        found = several_labels.evaluate(LabelTable(("a", "b", "c"), truth, said, rng.random((12, 3)), np.zeros(3)), 0)
        for average, group in (("micro", found.micro), ("macro", found.macro)):
            assert close(group["f_measure"], sk.f1_score(truth, said, average=average))
            assert close(group["roc_auc"], sk.roc_auc_score(truth, found.table.p, average=average))
            assert close(group["average_precision"], sk.average_precision_score(truth, found.table.p, average=average))
        assert close(found.exact_match, sk.accuracy_score(truth, said))


def test_counts_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, -1], [0, 0, 0], [1, 1, 0]], np.int8)
    p = np.array([[0.9, 0.2, 0.1], [0.9, 0.1, 0.9], [0.2, 0.8, 0.1], [0.9, 0.9, 0.1]])
    found = several_labels.evaluate(LabelTable.of_probabilities("abc", truth, p, np.full(3, 0.5)))
    assert found.together.tolist() == [[3, 2, 0], [2, 2, 0], [0, 0, 0]]
    # The second record's third label is unknown, so its answer yes counts nowhere.
    assert found.said_together.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert (found.per_record, found.said_per_record, found.partly_known) == ({0: 1, 2: 2}, {1: 2, 2: 1}, 1)
    assert found.exact_match.value == 0.5
    assert [one.support for one in found.labels.values()] == [3, 2, 0]
    assert [one.records for one in found.labels.values()] == [4, 4, 3]
    never = found.labels["c"].figures
    assert never["accuracy"].value == 1
    assert all(never[name].value is None for name in ("recall", "f_measure", "roc_auc", "average_precision"))
    assert found.macro["f_measure"].value == (1 + 0.5) / 2  # of a and b


def test_what_is_there_and_never_found_has_an_f_measure_of_0() -> None:
    truth = np.array([[1], [0], [0], [1]], np.int8)
    found = several_labels.evaluate(LabelTable.of_probabilities("a", truth, np.zeros((4, 1)), np.full(1, 0.5)))
    assert found.labels["a"].figures["f_measure"].value == 0
    assert found.labels["a"].figures["precision"].value is None
    assert found.macro["f_measure"].value == 0


def test_nothing_known_is_nothing_and_no_warning() -> None:
    for records in (0, 2):
        truth = np.full((records, 2), -1, np.int8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = several_labels.evaluate(LabelTable.of_probabilities("ab", truth, np.ones((records, 2)), np.ones(2)))
        assert all(figure.value is None for figure in [*found.macro.values(), *found.micro.values(), found.exact_match])
        assert found.labels["a"].records == 0


def test_intervals_hold_their_promise() -> None:
    """Of drawn models whose true macro F-measure is known, about 95 % of the intervals contain it."""
    rng = np.random.default_rng(0)
    hits, times = 0, 60
    for _ in range(times):
        truth = (rng.random((200, 3)) < [0.5, 0.3, 0.4]).astype(np.int8)
        said = np.where(rng.random((200, 3)) < 0.8, truth, 1 - truth).astype(bool)
        found = several_labels.evaluate(LabelTable("abc", truth, said, np.full((200, 3), np.nan), np.zeros(3)), 100)
        figure = found.macro["f_measure"]
        expected = np.mean([2 * 0.8 * s / (2 * 0.8 * s + 0.2 * (1 - s) + 0.2 * s) for s in (0.5, 0.3, 0.4)])
        assert figure.low is not None
        assert figure.high is not None
        hits += figure.low <= expected <= figure.high
    assert hits / times > 0.85


def predictions(made: MadeWith | None = None) -> list[Prediction]:
    """Two texts with three labels, of which one is unknown once and missing once."""
    labels = ("yes", "no")
    found = []
    for text, answers in (("one", {"a": "yes", "b": "no", "c": None}), ("two", {"b": "yes", "c": "no"})):
        targets = tuple(Target(name, labels, answer, f"{name}?") for name, answer in answers.items())
        example = Example((Message("user", (Content(text),)),), targets, "x:1")
        found += [Prediction(example, target, "yes", 0.75, (0.75, 0.25), made) for target in targets]
    return found


def test_predictions_become_a_table_by_name() -> None:
    made = MadeWith(("yes", "no"), 0.5, thresholds=(("b", 0.7),))
    table, examples = label_table.of_predictions(by_example(predictions(made)))
    assert table.names == ("a", "b", "c")
    assert table.truth.tolist() == [[1, 0, -1], [-1, 1, 0]]
    assert table.thresholds.tolist() == [0.5, 0.7, 0.5]
    assert np.isnan(table.p[1, 0])
    assert table.p[1, 1] == 0.75
    assert [one.subject for one in examples] == ["one", "two"]
    assert label_table.are_several(predictions())
    assert not label_table.are_several([Prediction(examples[0], Target("", None, "yes"), "yes")])


def test_each_labels_answers_count_the_same_together() -> None:
    answers = [("yes", "no"), ("no", None), ("no", "no"), ("no", "yes"), (None, "no")]
    targets = [tuple(Target(name, ("yes", "no"), one) for name, one in zip("ab", row, strict=True)) for row in answers]
    weights = label_weights.label_weights(targets)
    assert weights == {"a": {"yes": 2.0, "no": 2 / 3}, "b": {"no": 2 / 3, "yes": 2.0}}
    total = {(one.name, one.answer): 0.0 for several in targets for one in several}
    for one in (one for several in targets for one in several):
        total[one.name, one.answer] += label_weights.weight_of(one, weights)
    assert total["a", "yes"] == total["a", "no"] == total["b", "yes"] == total["b", "no"] == 2
    assert total["a", None] == total["b", None] == 0


def test_a_label_of_one_answer_and_one_that_was_not_seen_count_1() -> None:
    weights = label_weights.label_weights([(Target("a", None, "no"),)])
    assert label_weights.weight_of(Target("a", None, "no"), weights) == 1
    assert label_weights.weight_of(Target("other", None, "yes"), weights) == 1


def test_ratios_during_training_are_those_of_the_table() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        truth = rng.integers(-1, 2, (15, 3)).astype(np.int8)
        said = rng.random((15, 3)) < 0.5
        table = LabelTable(("a", "b", "c"), truth, said, np.full((15, 3), np.nan), np.full(3, 0.5))
        targets = [
            Target("abc"[column], LABELS, ("no", "yes")[truth[row, column]])
            for row, column in zip(*np.nonzero(table.known), strict=True)
        ]
        right = (said == (truth == 1))[table.known].tolist()
        found, expected = label_ratios.ratios_of(targets, right), several_labels.evaluate(table, resamples=0)
        for name in ("accuracy", "precision", "recall", "f_measure"):
            assert close(expected.macro[name], np.nan if found[name] is None else found[name])
        assert found["eval_macro_f1"] == found["f_measure"]
        assert found["eval_micro_f1"] == pytest.approx(expected.micro["f_measure"].value)
        for name, one in expected.labels.items():
            assert found[f"eval_{name}_f1"] == pytest.approx(one.figures["f_measure"].value)


def answered(count: int) -> list[Prediction]:
    """Answers to three labels of drawn records, of which a third is unknown."""
    rng, found = np.random.default_rng(7), []
    for number in range(count):
        answers = [str(one) if rng.random() < 0.67 else None for one in rng.choice(LABELS, 3)]
        targets = tuple(Target(name, LABELS, answer) for name, answer in zip("abc", answers, strict=True))
        example = Example((Message("user", (Content(f"text {number}"),)),), targets)
        found += [Prediction(example, target, "yes" if (p := rng.random()) >= 0.5 else "no", p) for target in targets]
    return found


def test_the_api_tells_of_each_label() -> None:
    said = answered(40)
    table, _ = label_table.of_predictions(by_example(said))
    found, result = palitune.evaluate(said), several_labels.evaluate(table)
    assert found.several is not None
    assert found.figures["f_measure"] == result.macro["f_measure"]
    assert found.figures["exact_match"] == result.exact_match
    for name, one in result.labels.items():
        own = found.labels[name]
        assert (own.support, own.f_measure) == (one.support, one.figures["f_measure"])
        assert (own.precision, own.recall) == (one.figures["precision"].value, one.figures["recall"].value)
    assert label_figures.of_several(table).labels == found.labels
    assert found.unlabelled == int((~table.known).sum())
    assert found.confusion.tp == sum(one.counts.tp for one in result.labels.values())
    shown = repr(found)
    assert shown.startswith(f"{int(table.known.sum())} predictions of a, b, c; {found.unlabelled} without a label")
    assert all(f"\n  {title}" in shown for title in ("F-measure (macro)", "F-measure (micro)", "exact match", "a "))
    assert "<td>b</td>" in found._repr_html_()


def test_figures_that_a_run_writes_down_are_read_back() -> None:
    table, _ = label_table.of_predictions(by_example(answered(40)))
    for resamples in (0, 100):
        written = label_figures.of_several(table, resamples)
        assert SetFigures.from_json(json.loads(json.dumps(written.as_json()))) == written
    content = written.as_json()
    for wrong in ({"records": -1}, {"records": True}, {"figures": []}, {"figures": {"a": [2.0, None, None]}},
                  {"figures": {"a": [float("nan"), None, None]}}, {"labels": {"a": [1, 0.5]}},
                  {"labels": {"a": [1, "0.5", 0.5, [0.5, None, None]]}}):  # fmt: skip
        with pytest.raises(ValueError, match="no "):
            SetFigures.from_json(content | wrong)

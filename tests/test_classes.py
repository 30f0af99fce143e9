"""Labels other than yes and no: which there are, what counts as right, and every stage with three of them."""

import itertools
import json
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Once, Run

from palitune.checkpoint import manifest, operating_point
from palitune.config.answering import AnsweringSettings, Labels, LabelSettings
from palitune.config.run_config import RunConfig, TrainingConfig
from palitune.data import label_sets
from palitune.data.demo import drawing
from palitune.data.example import Example
from palitune.data.label_sets import LabelSet, of_examples, spelled, typed, with_positive
from palitune.data.prediction import MadeWith, Prediction
from palitune.data.probabilities import predicted, rejected
from palitune.errors import BadDataError, MissingInputError, UsageError
from palitune.evaluate import answer_files, answer_labels, class_threshold, metrics, per_class
from palitune.evaluate.class_counts import ClassCounts, counts_of
from palitune.evaluate.evaluation import evaluate
from palitune.evaluate.language import IN_ENGLISH
from palitune.evaluate.outcomes import outcomes_of
from palitune.evaluate.report.result_block import MOST_IN_MATRIX, counts_block

pytestmark = pytest.mark.quick_programs

CLASSES = ("fruit", "fruit tree", "🍎")
Palitune = Callable[..., "subprocess.CompletedProcess[str]"]


def of(labels: list[str]) -> list[Example]:
    return [Example.of(f"{i}", label=label, where=f"d:{i}") for i, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["b", "a", "a", "b", "a", "c", "c"], ("a", "b", "c")),  # the most frequent first, then by alphabet
        (["1", "0", "0", "0"], ("1", "0")),  # what means yes comes first
        (["x", "yes", "x", "y"], ("yes", "no")),  # the others are refused later, as ever
        (["Yes", "No"], ("yes", "no")),
        (["a", "a"], ("yes", "no")),  # nothing to tell apart
        ([f"text {i}" for i in range(40)], None),
        ([f"{i % 64}" for i in range(300)], tuple(map(str, [*range(44), *range(44, 64)]))),
        ([f"{i % 65}" for i in range(300)], None),
    ],
)
def test_labels_that_nobody_has_named(labels: list[str], found: tuple[str, ...] | None) -> None:
    known = of_examples(of(labels))
    if found is None or len(found) < 60:
        assert known == found
    else:
        assert known is not None
        assert set(known) == set(found)


def test_one_label_in_several_spellings_is_one() -> None:
    composed, decomposed = (unicodedata.normalize(form, "パパ") for form in ("NFC", "NFD"))
    examples = of([composed, composed, decomposed, "車", "車"])
    labels = of_examples(examples)
    assert labels == (composed, "車")
    assert [one.label for one in spelled(examples, labels)] == [composed] * 3 + ["車"] * 2
    with pytest.raises(ValueError, match="are the same") as caught:
        Labels().parse(f"{composed},{decomposed}")
    assert "\n" not in str(caught.value)


def test_labels_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("\ufeffspam, eggs\n\nham\n🍎\n", "utf-8")
    assert typed(LabelSettings(labels_from=str(file))) == ("spam, eggs", "ham", "🍎")
    names = [f"{'long name ' * 6}{i}" for i in range(64)]
    file.write_text("\n".join(names), "utf-8")
    assert typed(LabelSettings(labels_from=str(file))) == tuple(names)
    for content, what in ((b"one\n", "two or more"), (b"\xff\xfe\n", "UTF-8"), (b"a\na\n", "different")):
        file.write_bytes(content)
        with pytest.raises(BadDataError, match=what):
            typed(LabelSettings(labels_from=str(file)))
    with pytest.raises(MissingInputError):
        typed(LabelSettings(labels_from=str(tmp_path / "other")))
    with pytest.raises(UsageError, match="leave one out"):
        LabelSettings(labels=("a", "b"), labels_from=str(file))


def test_the_positive_label() -> None:
    assert with_positive(("a", "b"), "b") == LabelSet(("b", "a"))
    assert with_positive(("a", "b", "c"), "b") == LabelSet(("a", "b", "c"), "b")
    with pytest.raises(UsageError, match="none of the labels a, b"):
        with_positive(("a", "b"), "c")
    with pytest.raises(UsageError, match="free text"):
        with_positive(None, "c")
    with pytest.raises(UsageError, match="no effect"):
        AnsweringSettings(labels=("a", "b", "c"), threshold=0.5)
    assert AnsweringSettings(labels=("a", "b", "c"), positive="c", threshold=0.5).threshold == 0.5


def test_a_threshold_of_one_label_against_the_rest() -> None:
    example, made = Example.of("x", label="a"), MadeWith(("a", "b", "c"))
    p = np.array([0.4, 0.35, 0.25])
    assert predicted(example, example.target, p, made)[2:4] == ("a", 0.4)
    of_b = made._replace(positive="b")
    assert predicted(example, example.target, p, of_b)[2:4] == ("a", 0.35)  # without a threshold the likeliest
    assert predicted(example, example.target, p, of_b._replace(thresholds=(("", 0.3),)))[2:4] == ("b", 0.35)
    strict = made._replace(positive="a", thresholds=(("", 0.5),))
    assert predicted(example, example.target, p, strict)[2:4] == ("b", 0.4)
    said = predicted(example, example.target, p, made)
    assert rejected(said, 0.4) is said
    assert rejected(said, 0.41).text == "unsure"


def test_yes_and_no_leave_no_trace_in_a_manifest() -> None:
    """A checkpoint of yes and no is described as it was before there were other labels."""
    known = {"optimizer": "sgd", "learning_rate": 0.1, "examples": 8}
    assert not {"labels", "positive"} & set(TrainingConfig(**known).as_json())  # type: ignore[arg-type]
    other = TrainingConfig(**known, labels=CLASSES, positive="🍎").as_json()  # type: ignore[arg-type]
    assert other["labels"] == CLASSES
    assert other["positive"] == "🍎"
    assert RunConfig().labels is None


@pytest.mark.parametrize("labels", ["a", ["a"], ["a", "a"], ["a", 1], ["a", ""], [["a"], "b"], ["a\ud800", "b"]])
def test_labels_of_a_foreign_manifest(tmp_path: Path, labels: object) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, x=np.zeros(1))
    path.with_suffix(".json").write_text(json.dumps({"config": {"labels": labels}}))
    with pytest.raises(BadDataError, match="not a manifest"):
        manifest.labels(path)


def test_counts_agree_with_scikit_learn() -> None:
    from sklearn import metrics as theirs

    rng = np.random.default_rng(0)
    for size, count in itertools.product((3, 5, 9), (1, 4, 30, 200)):
        classes = tuple(f"c{i}" for i in range(size))
        true = [classes[i] for i in rng.integers(0, size, count)]
        said = [classes[i] if i < size else "nothing" for i in rng.integers(0, size + 1, count)]
        found = counts_of(true, said, classes)
        assert isinstance(found, ClassCounts)
        present = sorted({*true, *said} - {"nothing"})
        ours = found.precision, found.recall, found.f_measure
        wanted = theirs.precision_recall_fscore_support(true, said, labels=present, average="macro", zero_division=0)
        np.testing.assert_allclose(ours, wanted[:3])
        assert found.accuracy == theirs.accuracy_score(true, said)
        if found.matthews is not None:
            np.testing.assert_allclose(found.matthews, theirs.matthews_corrcoef(true, said))
        figures = metrics.figures(outcomes_of(true, said, [None] * count, classes))
        np.testing.assert_allclose([figures[name] for name in ("precision", "recall", "f_measure")], ours)
        if "nothing" not in said:
            report = theirs.classification_report(true, said, digits=4, zero_division=0)
            rows = [row for row in cells(per_class.of_counts(found)) if row[1:] != [0, 0, 0, 0]]
            assert rows == [row for row in cells(report) if row[1:] != [0, 0, 0, 0]]


def cells(report: str) -> list[list[object]]:
    """The words and numbers of each line."""
    head, *lines = [line.split() for line in report.splitlines() if line]
    return [[*head], *[[line[0], *(float(cell) for cell in line if cell[0].isdigit())] for line in lines]]


def test_a_block_of_many_classes() -> None:
    counts = counts_of(["赤", "赤", "b", "c"], ["赤", "b", "b", "?"], ("赤", "b", "c"))
    assert counts_block("x", counts, positive="赤").splitlines() == [
        "Result: x",
        "  right=2 wrong=2",
        "  accuracy:  0.5",
        "  precision: 0.5 (macro)",
        "  recall:    0.5 (macro)",
        "  F-measure: 0.4444444444444444 (macro)",
        "  赤 against the rest: precision 1.0000, recall 0.5000, F-measure 0.6667",
        "  label      1  2  3  none",
        "  1      赤  1  1  .     .",
        "  2      b   .  1  .     .",
        "  3      c   .  .  .     1",
    ]
    names = [f"n{i}" for i in range(MOST_IN_MATRIX + 1)]
    assert counts_block("x", counts_of(names, [names[0]] * len(names), names)).splitlines()[-1] == "  n10 -> n0: 1"


def test_top_k_and_ties() -> None:
    shares = np.array([[0.5, 0.3, 0.2, 0.0], [0.25, 0.25, 0.25, 0.25]])
    one = outcomes_of(["c", "a"], ["a", "a"], [0.5, 0.25], ("a", "b", "c", "d"), shares=shares)
    assert per_class.top_k(one) == {2: pytest.approx(0.25), 3: pytest.approx(0.875)}
    assert one.confidence is not None
    assert one.confidence.tolist() == [0.5, 0.25]


def test_the_api_tells_of_each_class() -> None:
    from sklearn import metrics as theirs

    rng = np.random.default_rng(3)
    true, said = ([CLASSES[i] for i in rng.integers(0, 3, 60)] for _ in range(2))
    made = MadeWith(CLASSES)
    predictions = [Prediction(one, one.target, answer, made=made) for one, answer in zip(of(true), said, strict=True)]
    found = evaluate(predictions)
    precision, recall, f, support = theirs.precision_recall_fscore_support(true, said, labels=CLASSES)
    assert [one.support for one in found.labels.values()] == support.tolist()
    ours = [(one.precision, one.recall, one.f_measure.value) for one in found.labels.values()]
    np.testing.assert_allclose(np.array(ours, float).T, (precision, recall, f))
    for one in found.labels.values():
        assert one.f_measure.low is not None
        assert one.f_measure.high is not None
        assert one.f_measure.low < (one.f_measure.value or 0) < one.f_measure.high
    assert "\n  F-measure (macro)" in repr(found)
    assert "\n  fruit tree" in repr(found)


def test_a_temperature_of_several_classes_is_the_one_that_was_wrong() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 5)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = np.array([rng.choice(5, p=row) for row in p])
    assert class_threshold.temperature(np.log(p) * 3, codes) == pytest.approx(3, rel=0.1)


def test_the_rest_of_unsure_answers() -> None:
    unsure, accuracy = metrics.unsure_curve(np.array([0.9, 0.5, 0.9, 0.4]), np.array([True, False, True, True]))
    assert unsure.tolist() == [0.5, 0.25, 0]
    assert accuracy.tolist() == [1, pytest.approx(2 / 3), 0.75]


def test_drawings_of_many_classes_have_their_names() -> None:
    from palitune.evaluate.report import canvas, curves

    rng = np.random.default_rng(2)
    names = ("赤い車", "🍎", *(f"a long name of a class {i}" for i in range(22)))
    shares = rng.dirichlet(np.ones(24), 60)
    labels = [names[i] for i in rng.integers(0, 24, 60)]
    answers = [names[i] for i in shares.argmax(axis=1)]
    one = outcomes_of(labels, answers, shares.max(axis=1).tolist(), names, shares=shares)
    matrix, rows, columns = curves._matrix(one)
    assert rows == columns == list(names)  # in the order given
    assert matrix.sum() == 60
    drawn = curves.draw(one, metrics.with_intervals(one, 20), IN_ENGLISH)
    assert set(drawn) == {"confusion", "reliability", "unsure"}
    assert all(image.startswith(b"\x89PNG") for image in drawn.values())
    canvas.reason()  # what no font here has is told once


def test_one_class_is_thinned_against_the_rest(tmp_path: Path, run: Run) -> None:
    lines = [f'{{"text": "{i}", "label": "{label}"}}\n' for i, label in enumerate(["a"] * 3 + ["b"] * 9 + ["c"] * 6)]
    (tmp_path / "data.jsonl").write_text("".join(lines))
    done = run("palitune", "thin", "data.jsonl", "--positive", "a", "--target", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = done.stdout.splitlines(keepends=True)
    assert kept[:3] == lines[:3]
    assert len(kept) == 6
    refused = run("palitune", "thin", "data.jsonl", "--positive", "d", cwd=tmp_path)
    assert refused.returncode == 65
    assert "no line says d in any column" in refused.stderr


def test_outcomes_of_lines() -> None:
    several = LabelSet(("a", "b", "c"), "b")
    pairs = itertools.product("abc", repeat=2)
    kinds = {f"{label}{answer}": answer_labels.outcome(answer, label, several) for answer, label in pairs}
    assert kinds == {
        "aa": "tn", "ba": "fn", "ca": "fn", "ab": "fp", "bb": "tp", "cb": "fp", "ac": "fn", "bc": "fn", "cc": "tn",
    }  # fmt: skip
    assert answer_labels.outcome("b", "a", LabelSet(("b", "a"))) == "fp"
    assert answer_labels.outcome("b", "a", LabelSet(("a", "b", "c"))) == "fn"


def test_what_are_no_probabilities_is_refused(tmp_path: Path) -> None:
    rows = [
        {"text": "1", "suffix": "a", "answer": "a", "p_yes": 0.5, "p": {"a": 0.5, "b": 0.3, "c": 0.2}},
        {"text": "2", "suffix": "b", "answer": "b", "p_yes": 0.5, "p": {"a": -3.5, "b": 1.5, "c": 0.2}},
    ]
    path = tmp_path / "out.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(BadDataError, match=r'jsonl:2: the probability of "a" is -3.5, and one is from 0 to 1'):
        answer_files.read(path)


@pytest.fixture(scope="module")
def palitune(run: Run, workspace: Path) -> Palitune:
    """Runs a command that has to end well."""

    def palitune(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        done = run("palitune", *arguments, cwd=workspace, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done

    return palitune


def drawn(folder: Path, name: str, count: int, seed: int) -> None:
    """Advertisements with a cross, a circle or a triangle, each with its label, as JSONL."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir()
    lines = []
    for number in range(count):
        place = int(rng.choice(3, p=(0.5, 0.3, 0.2)))
        image = drawing.draw(drawing.random_scene(rng, ("cross", "circle", "triangle")[place]), (96, 96), rng)
        image.save(folder / name / f"{number}.png")
        line = {"image": f"{name}/{number}.png", "prefix": "", "suffix": CLASSES[place]}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def learned(run: Run, workspace: Path, once: Once) -> Path:
    """A checkpoint that has learned three labels."""

    def make(folder: Path) -> None:
        shutil.copytree(workspace, folder, dirs_exist_ok=True)
        drawn(folder, "train", 120, 0)
        drawn(folder, "valid", 40, 1)
        command = ["-d", "train.jsonl", "--valid-data", "valid.jsonl", "-w", "three", "-t", "4"]
        done = run("palitune", "learn", *command, "--positive", "🍎", "--select", "f_measure", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "labels: fruit, fruit tree, 🍎" in done.stderr

    shutil.copytree(once("three", make), workspace, dirs_exist_ok=True)
    return workspace / "checkpoints" / "three.npz"


def test_every_stage_takes_three_classes(palitune: Palitune, learned: Path, workspace: Path) -> None:
    assert manifest.labels(learned) == (CLASSES, "🍎")
    rows = (workspace / "checkpoints" / "three.run" / "metrics.csv").read_text("utf-8").splitlines()
    assert "valid_f_measure" in rows[0]
    told = palitune("validate", "-m", "three", "valid.jsonl", "--min-p", "0.5").stdout
    assert "🍎 against the rest" in told
    assert "macro avg" in told
    assert "top-2 accuracy" in told
    assert "unsure below 0.5" in told
    answers = palitune("inference", "-m", "three", "-d", "valid.jsonl").stdout
    (workspace / "out.tsv").write_text(answers, "utf-8")
    counted = palitune("aggregate", "-", stdin=answers).stdout
    right = counted.splitlines()[1]
    assert right in told
    assert int(right.split()[0].removeprefix("right=")) > 30
    wrong = palitune("filter", "-", stdin=answers).stdout
    assert len(wrong.splitlines()) == int(right.split()[1].removeprefix("wrong="))
    jsonl = palitune("inference", "-m", "three", "-d", "valid.jsonl", "--jsonl").stdout
    (workspace / "out.jsonl").write_text(jsonl, "utf-8")
    assert list(json.loads(jsonl.splitlines()[0])["p"]) == list(CLASSES)
    assert right in palitune("aggregate", "out.jsonl", "--positive", "fruit").stdout
    assert "F-measure" in palitune("report", "out.jsonl", "--text").stdout
    assert palitune("compare", "out.tsv", "out.jsonl", "--flips").stdout == ""
    assert len(palitune("uncertain", "out.jsonl", "-n", "3").stdout.splitlines()) == 3


def test_a_threshold_and_a_temperature_are_stored_and_used(palitune: Palitune, learned: Path, workspace: Path) -> None:
    jsonl = palitune("inference", "-m", "three", "-d", "valid.jsonl", "--jsonl").stdout
    (workspace / "calibration.jsonl").write_text(jsonl, "utf-8")
    command = ["threshold", "calibration.jsonl", "--positive", "fruit", "--recall", "1", "--temperature", "-m", "three"]
    told = palitune(*command)
    stored = operating_point.read(learned)
    assert stored is not None
    assert stored.positive == "fruit"
    assert f"temperature: {stored.point.temperature:.6g}" in told.stdout
    done = palitune("validate", "-m", "three", "valid.jsonl")
    assert "of fruit" in done.stderr
    line = next(line for line in done.stdout.splitlines() if "against the rest" in line)
    assert line.startswith("  fruit against the rest")
    assert "recall 1.0000" in line
    operating_point.path_of(learned).unlink()


def test_what_is_wrong_is_one_line(run: Run, workspace: Path, learned: Path) -> None:
    for command, code, what in (
        (["validate", "-m", "three", "valid.jsonl", "--threshold", "0.3", "--labels", "a,b,c"], 2, "more than two"),
        (["validate", "-m", "three", "valid.jsonl", "--labels", "fruit,🍎"], 65, "none of fruit, 🍎"),
        (["validate", "-m", "three", "valid.jsonl", "--positive", "pear"], 2, "--positive pear is none"),
        (["aggregate", "valid.jsonl", "--labels-from", "nothing"], 66, "nothing: no such file"),
        (["learn", "-d", "train.jsonl", "--labels", "fruit,🍎"], 65, "none of fruit, 🍎"),
    ):
        done = run("palitune", *command, cwd=workspace)
        assert done.returncode == code, done.stderr
        assert what in done.stderr
        assert "Traceback" not in done.stderr


def test_a_label_set_knows_how_many_it_has() -> None:
    assert not label_sets.YES_NO.is_several
    assert LabelSet(None).classes == ()
    assert LabelSet(CLASSES).is_several

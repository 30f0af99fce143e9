"""Answers from scores, and what is stored with a model, from the command line."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Once, Run

from palitune.checkpoint import operating_point
from palitune.checkpoint.operating_point import OperatingPoint, Stored
from palitune.errors import BadDataError
from palitune.run import run_reading

pytestmark = pytest.mark.quick_programs

Palitune = Callable[..., "subprocess.CompletedProcess[str]"]
DATA = "dataset/data.jsonl"


@pytest.fixture(scope="module")
def palitune(run: Run, workspace: Path) -> Palitune:
    """Runs a command that has to end well."""

    def palitune(*arguments: str) -> "subprocess.CompletedProcess[str]":
        done = run("palitune", *arguments, cwd=workspace)
        assert done.returncode == 0, done.stderr
        return done

    return palitune


@pytest.fixture(scope="module")
def learned(run: Run, workspace: Path, once: Once) -> Path:
    """A checkpoint that has learned a little, with a report and the answers of `learn` in its folder."""

    def make(folder: Path) -> None:
        shutil.copytree(workspace, folder, dirs_exist_ok=True)
        done = run("palitune", "learn", "-d", "set1", "-w", "some", "--examples", "128", "--report", cwd=folder)
        assert done.returncode == 0, done.stderr

    shutil.copytree(once("some", make), workspace, dirs_exist_ok=True)
    return workspace / "checkpoints" / "some.npz"


@pytest.fixture(scope="module")
def answers(palitune: Palitune, learned: Path, workspace: Path) -> Path:
    file = workspace / "out.tsv"
    file.write_text(palitune("inference", "-m", "some", "-d", DATA).stdout)
    return file


def columns(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@pytest.mark.parametrize("model", ["tiny", "some"])
def test_scoring_agrees_with_decoding(palitune: Palitune, learned: Path, model: str) -> None:
    scored = columns(palitune("inference", "-m", model, "-d", DATA).stdout)
    written = columns(palitune("inference", "-m", model, "-d", DATA, "--decode").stdout)
    assert len(scored) == 24
    assert {row[4] for row in scored} <= {"yes", "no"}
    compared = 0
    for one, other in zip(scored, written, strict=True):
        assert one[:1] + one[2:4] == other[:1] + other[2:4]  # picture, p_yes, label
        if other[4] in ("yes", "no"):
            assert one == other
            compared += 1
    assert compared >= 20


def test_what_is_no_label_is_wrong_and_listed(palitune: Palitune) -> None:
    done = palitune("validate", "-m", "tiny", "--decode", "--prompt", "What is the product?", DATA)
    assert "accuracy:  0.0" in done.stdout
    assert "24 of 24 answers are none of yes, no and count as wrong" in done.stderr
    assert '"' in done.stderr


def test_other_labels(palitune: Palitune, learned: Path, workspace: Path) -> None:
    lines = [json.loads(line) for line in (workspace / DATA).read_text().splitlines()]
    renamed = [line | {"suffix": "appropriate" if line["suffix"] == "yes" else "inappropriate"} for line in lines]
    file = workspace / "dataset" / "other.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in renamed))
    done = palitune("validate", "-m", "tiny", "--labels", "appropriate,inappropriate", str(file))
    assert "  Tp=" in done.stdout
    done = palitune("inference", "-m", "tiny", "--labels", "appropriate,inappropriate,no", "--jsonl", "-d", str(file))
    for line in map(json.loads, done.stdout.splitlines()):
        assert list(line["p"]) == ["appropriate", "inappropriate", "no"]
        assert sum(line["p"].values()) == pytest.approx(1, abs=1e-5)
        assert line["p_yes"] == line["p"][line["answer"]] == max(line["p"].values())
    (workspace / "three.jsonl").write_text(done.stdout)
    text = palitune("report", "three.jsonl", "--text", "--most", "1").stdout
    assert "right=" in text
    assert "inappropriate" in text


def test_a_threshold_is_stored_and_used(palitune: Palitune, run: Run, answers: Path, workspace: Path) -> None:
    shares = sorted(float(row[2]) for row in columns(answers.read_text()))
    done = palitune("threshold", "out.tsv", "--recall", "1", "--temperature", "-m", "some")
    stored = json.loads((workspace / "checkpoints" / "some.threshold.json").read_text())
    assert f"threshold: {stored['threshold']:.9g}" in done.stdout
    assert f"threshold: {stored['threshold']:.9g}" in palitune("threshold", "-m", "some").stdout
    assert stored["temperature"] != 1
    again = palitune("inference", "-m", "some", "-d", DATA)
    assert "(recall 1 on out.tsv, 24 records), temperature" in again.stderr
    rows = columns(again.stdout)
    assert all((row[4] == "yes") == (float(row[2]) >= stored["threshold"]) for row in rows)
    assert all(row[4] == "yes" for row in rows if row[3] == "yes")  # what was asked for
    assert sorted(float(row[2]) for row in rows) != shares
    # The very same choice on what is written now: the temperature is known to be in it.
    (workspace / "new.tsv").write_text(again.stdout)
    other = palitune("threshold", "new.tsv", "--recall", "1", "-m", "some")
    assert abs(float(other.stdout.split()[-1]) - stored["threshold"]) < 1e-3
    # What was typed counts more, and another prompt has no threshold.
    done = palitune("validate", "-m", "some", "--threshold", "0", DATA)
    assert "Tn=0" in done.stdout
    done = palitune("validate", "-m", "some", "--prompt", "Is there a star?", DATA)
    assert "is for another prompt, and is left out" in done.stderr
    done = palitune("validate", "-m", "some", "--labels", "no,yes", DATA)
    assert "is for the labels yes,no, and is left out" in done.stderr
    palitune("threshold", "--remove", "-m", "some")
    assert sorted(float(row[2]) for row in columns(palitune("inference", "-m", "some", "-d", DATA).stdout)) == shares


def test_a_threshold_is_that_model_s_own(palitune: Palitune, answers: Path, workspace: Path) -> None:
    palitune("threshold", "out.tsv", "--cost", "fp=10,fn=1", "-m", "some")
    file = workspace / "checkpoints" / "some.threshold.json"
    content = file.read_text()
    (workspace / "checkpoints" / "other.threshold.json").write_text(content)
    palitune("learn", "-d", "set1", "-w", "other", "--examples", "16", "--seed", "3")
    done = palitune("validate", "-m", "other", DATA)
    assert "its stored threshold is for other parameters, and is left out" in done.stderr
    assert "some: threshold " in palitune("validate", "-m", "some", DATA).stderr
    palitune("threshold", "--remove", "-m", "some")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["threshold", "out.tsv"], "say what for", 2),
        (["threshold", "--f-measure"], "name a FILE", 2),
        (["threshold", "out.tsv", "--cost", "fp=10"], "is not like fp=10,fn=1", 2),
        (["threshold", "out.tsv", "--precision", "2"], "between 0 and 1", 2),
        (["threshold", DATA, "--f-measure"], "data.jsonl:1: no answer here", 65),
        (["threshold", "no.tsv", "--f-measure"], "no.tsv: no such file", 66),
        (["validate", "--labels", "a,a", DATA], "two or more different labels", 2),
        (["validate", "--threshold", "0.4", "--decode", DATA], "has no effect with --decode", 2),
        (["validate", "-m", "tiny", "--labels", "a,b", DATA], 'is none of a, b', 65),
        (["compare", "out.tsv"], "two or more files", 2),
        (["compare", "out.tsv", DATA], "no answer here", 65),
        (["report", DATA], "no answer here", 65),
        (["report", "out.tsv", "--text", "-o", "x.html"], "-o is for the page", 2),
        (["uncertain", DATA], "no answer here", 65),
        (["prompts", "no.txt", "-d", DATA], "no.txt: cannot be read", 66),
        (["baseline", "-d", DATA], "--valid-data FILE names what to evaluate on", 2),
        (["suspect", "-d", DATA, "--folds", "1"], "is not between 2 and 100", 2),
        (["suspect", "-d", DATA, "--folds", "50"], 'records are "', 65),
        (["suspect", "-d", DATA, "--examples", "5"], "are for --learn", 2),
        (["suspect", "-d", DATA, "--method", "attention"], "are for --learn", 2),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    run: Run, answers: Path, workspace: Path, arguments: list[str], message: str, code: int
) -> None:
    done = run("palitune", *arguments, cwd=workspace)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 7},
        {"threshold": 10**400},
        {"threshold": True},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"labels": "yes"},
        {"chosen": "a\nb"},
        {"files": {"x": 10**400}},
        {"files": 3},
        {"checkpoint": None},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_damaged_threshold_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    stored = Stored(OperatingPoint(0.3, 1.5), ("yes", "no"), "recall 1", {"x": 1.0}, "mark")
    checkpoint = tmp_path / "some.npz"
    operating_point.write(checkpoint, stored)
    assert operating_point.read(checkpoint) == stored
    file = operating_point.path_of(checkpoint)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BadDataError, match="not a stored threshold"):
        operating_point.read(checkpoint)


def test_uncertain_answers_come_first(palitune: Palitune, answers: Path) -> None:
    lines = answers.read_text().splitlines()
    found = palitune("uncertain", "out.tsv", "-n", "7").stdout.splitlines()
    assert found == sorted(lines, key=lambda line: abs(float(line.split("\t")[2]) - 0.5))[:7]


def test_prompts_are_sorted_by_what_they_score(palitune: Palitune, learned: Path, workspace: Path) -> None:
    asked = ["Is there a star?", "Is there a cross?\tno/yes", "# not this one", "", "Is it red?\tOK/NG"]
    (workspace / "prompts.txt").write_text("\n".join(asked))
    found = json.loads(palitune("prompts", "prompts.txt", "-d", DATA, "-m", "some", "--json").stdout)
    assert {(one["prompt"], *one["words"]) for one in found} == {
        ("Is there a star?", "yes", "no"),
        ("Is there a cross?", "no", "yes"),
        ("Is it red?", "OK", "NG"),
    }
    figures = [one["figures"]["balanced_accuracy"] for one in found]
    assert figures == sorted(figures, reverse=True)
    # What is scored here is what validation says of the same prompt.
    star = next(one for one in found if one["prompt"] == "Is there a star?")
    block = palitune("validate", "-m", "some", "--prompt", "Is there a star?", DATA).stdout
    assert f"accuracy:  {star['figures']['accuracy']}" in block
    table = palitune("prompts", "prompts.txt", "-d", DATA, "-m", "some", "--words", "yes/no,OK/NG").stdout
    assert "4 prompts, 24 records" in table
    assert "best" in table


def test_baselines(palitune: Palitune, learned: Path, workspace: Path) -> None:
    (workspace / "prompts.txt").write_text("Is there a star?\nIs there a heart?\n")
    done = palitune("baseline", "-d", "set1", "-m", "tiny", "-t", "some", "--prompts", "prompts.txt")
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert {"majority", "zero-shot", "linear probe", "fine-tuned"} <= set(rows)
    assert "always " in rows["majority"]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("fine-tuning ")
    assert "on 6 records" in last
    found = json.loads(palitune("baseline", "-d", "set1", "-m", "tiny", "--json").stdout)
    assert [one["name"] for one in found["contestants"]] == ["majority", "zero-shot", "linear probe"]
    assert found["verdict"].startswith("to beat: balanced accuracy")


def test_learning_leaves_a_report(palitune: Palitune, learned: Path) -> None:
    page = (learned.parent / "some.run" / "report.html").read_text()
    assert "before" in page
    assert "Configuration" in page
    assert (learned.parent / "some.run" / "report-confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_wrong_labels_are_found(palitune: Palitune, run: Run, workspace: Path) -> None:
    """Of drawn advertisements with 5 % flipped labels at least 70 % are in the first 10 %."""
    palitune("demo-data", "--count", "400", "--seed", "11", "-o", "flipped")
    file = workspace / "flipped" / "data.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    flipped = set()
    for record in records[7::20]:
        record["suffix"] = {"yes": "no", "no": "yes"}[record["suffix"]]
        flipped.add(record["image"])
    assert len(flipped) == 20
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = columns(palitune("suspect", "-d", str(file), "-m", "tiny").stdout)
    assert len(rows) == 400
    assert len(flipped & {row[0] for row in rows[:40]}) >= 14
    doubts = [float(row[2]) if row[3] == "no" else 1 - float(row[2]) for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    (workspace / "suspects.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    assert "Aggregate" in palitune("aggregate", "suspects.tsv").stdout


def test_wrong_labels_by_learning(palitune: Palitune, workspace: Path) -> None:
    before = set((workspace / "checkpoints").glob("*"))
    done = palitune("suspect", "-d", DATA, "-m", "tiny", "--learn", "--folds", "2", "--examples", "16", "-n", "5",
                    "--sheet", "suspects.png", "-o", "suspects.html")  # fmt: skip
    assert len(columns(done.stdout)) == 5
    assert "fold 2 of 2: learning from 12 records" in done.stderr
    assert set((workspace / "checkpoints").glob("*")) == before  # nothing is kept of these models
    assert (workspace / "suspects.png").is_file()
    assert "The most doubtful labels first" in (workspace / "suspects.html").read_text()


def test_doubts_are_what_a_run_in_folds_says(palitune: Palitune, workspace: Path) -> None:
    """The same models, in other words: each record's answer is that of `learn --folds`, by the method that is named."""
    options = ("-d", DATA, "-m", "tiny", "--folds", "2", "--examples", "16", "--method", "lora", "-b", "4", "--quiet")
    doubted = columns(palitune("suspect", "--learn", *options).stdout)
    palitune("learn", *options, "-w", "folded")
    answered = columns((workspace / "checkpoints/folded.run/valid.tsv").read_text())
    assert len(doubted) == 24
    assert sorted(doubted) == sorted(answered)
    past = run_reading.read(workspace / "checkpoints/folded.run", "folded")
    assert past.has_validation  # it is one file, and no answer is of a model that has learned from the record
    assert (past.evaluated_on, past.evaluated_on.records) == (past.trained_on, len(answered))
    assert past.evaluated_on.sha256 == hashlib.sha256((workspace / DATA).read_bytes()).hexdigest()
    attention = columns(palitune("suspect", "--learn", *options[:-5], "--quiet").stdout)
    assert sorted(attention) != sorted(doubted)

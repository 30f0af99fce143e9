"""Several labels of each text through a shell: asked, evaluated, continued, learned, and answered at thresholds."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from conftest import Run

from palitune.config.run_config import RunConfig
from palitune.evaluate.advice import Advice
from palitune.run import next_run

pytestmark = pytest.mark.quick_programs

NAMES = ("obscene", "violent", "insult", "personal")
COLUMNS = ("--label-columns", ",".join(NAMES), "--questions", "posts/questions.tsv", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    made = tmp_path_factory.mktemp("several")
    for command in (
        ["download", "--model", "tinytext"],
        ["demo-data", "--task", "toxicity", "--count", "60", "-o", "posts"],
        ["split", "-d", "posts/data.csv", "-v", "24", *COLUMNS],
        ["inference", "-l", "tinytext", "-d", "posts/set1/valid.csv", "--resume", "out.jsonl", *COLUMNS],
    ):
        done = run("palitune", *command, cwd=made)
        assert done.returncode == 0, done.stderr
    return made


def test_answers_are_continued_where_they_were_cut_off(folder: Path, run: Run) -> None:
    lines = (folder / "out.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 24
    assert list(json.loads(lines[0])["answer"]) == list(NAMES)
    cut = folder / "cut.jsonl"
    cut.write_text("".join(lines[:10]) + lines[10][:30])
    command = ("inference", "-l", "tinytext", "-d", "posts/set1/valid.csv", "--resume", "cut.jsonl", *COLUMNS)
    done = run("palitune", *command, cwd=folder)
    assert done.returncode == 0, done.stderr
    again = [json.loads(line) for line in cut.read_text().splitlines()]
    assert [one["text"] for one in again] == [json.loads(line)["text"] for line in lines]
    assert [one["answer"] for one in again] == [json.loads(line)["answer"] for line in lines]


def test_thresholds_are_stored_by_name_and_used(folder: Path, run: Run) -> None:
    chosen = run("palitune", "threshold", "out.jsonl", "--recall", "0.9", "-m", "tinytext", cwd=folder)
    assert chosen.returncode == 0, chosen.stderr
    told = dict(line.split(": ") for line in chosen.stdout.splitlines() if line.startswith("threshold of"))
    assert list(told) == [f"threshold of {name}" for name in NAMES]
    shown = run("palitune", "threshold", "-m", "tinytext", cwd=folder).stdout.splitlines()
    assert shown[:4] == [f"{name}: {value}" for name, value in told.items()]
    done = run("palitune", "validate", "-m", "tinytext", "posts/set1/valid.csv", *COLUMNS, cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    for name in NAMES:
        assert float(rows[name][-1]) == pytest.approx(float(told[f"threshold of {name}"]), rel=1e-3)
    assert run("palitune", "threshold", "--remove", "-m", "tinytext", cwd=folder).returncode == 0


def test_learning_writes_an_f_measure_of_each_label(folder: Path, run: Run) -> None:
    command = ("learn", "-d", "posts/set1", "-m", "tinytext", "-w", "posts", "-t", "2", "--report", *COLUMNS)
    done = run("palitune", *command, cwd=folder)
    assert done.returncode == 0, done.stderr
    with (folder / "checkpoints/posts.run/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["valid_loss"]]
    names = {f"eval_{name}_f1" for name in (*NAMES, "macro", "micro")}
    assert names <= set(rows[0])
    assert all(row["eval_macro_f1"] == row["valid_f_measure"] for row in rows)
    assert "macro F-measure" in (folder / "checkpoints/posts.run/report.html").read_text()


def test_commands_that_advice_comes_with_run(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    options = {"data": "posts/set1", "write": "tinytext", "model": "tinytext", "label_columns": NAMES}
    config = RunConfig.of(options | {"questions": "posts/questions.tsv"})
    asked, chosen = next_run.command_of(Advice("", "", check="threshold"), config, "palitune learn", 36).split(" | ")
    answers = run(*shlex.split(asked), cwd=folder)
    assert answers.returncode == 0, answers.stderr
    done = run(*shlex.split(chosen), cwd=folder, stdin=answers.stdout)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("threshold of obscene: ")]
    assert run("palitune", "threshold", "--remove", "-m", "tinytext", cwd=folder).returncode == 0
    checked = run(*shlex.split(next_run.command_of(Advice("", "", check="lint"), config, "", 36)), cwd=folder)
    assert checked.returncode in (0, 65), checked.stderr
    assert "unrecognized" not in checked.stderr


def test_one_of_several_labels_is_doubted_at_a_time(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text,rude,spam\nfine,0,1\nbad,1,0\n")
    done = run("palitune", "suspect", "data.csv", "--learn", "--label-columns", "rude,spam", cwd=tmp_path)
    assert done.returncode == 65
    assert "data.csv:2: labels are doubted one at a time, and this record has several" in done.stderr
    assert "--label-column rude" in done.stderr


def test_unsure_answers_of_several_labels(folder: Path, run: Run) -> None:
    asked = ("-m", "tinytext", *COLUMNS, "--min-p", "0.9")
    done = run("palitune", "inference", "-d", "posts/set1/valid.csv", *asked, cwd=folder)
    assert done.returncode == 2
    assert "--min-p is for one label of each record, and there are several" in done.stderr
    counted = run("palitune", "validate", "posts/set1/valid.csv", *asked, cwd=folder).stdout.splitlines()
    again = run("palitune", "aggregate", "out.jsonl", "--min-p", "0.9", cwd=folder).stdout.splitlines()
    assert counted[-1] == again[-1]
    assert "unsure below 0.9: " in counted[-1]

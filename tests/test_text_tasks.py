"""Every stage and command on each of the demo's four jobs on texts, as people type them."""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Run

from palitune.cli import arguments
from palitune.config.model import FolderSettings
from palitune.config.name_kinds import Names, Pairs

pytestmark = pytest.mark.quick_programs


class Task(NamedTuple):
    """A job: its data file, how it is read, and what its block of results says.

    Attributes:
      reading: options of every command that reads its records.
      block: what the result of a validation has.
      answers: the suffix of answer files.
      count: records; long ones are few, because a step of theirs takes long.
    """

    name: str
    data: str
    reading: tuple[str, ...]
    block: str
    answers: str = "jsonl"
    count: int = 200


NAMES = "obscene,violent,insult,personal"
TASKS = (
    Task("sentiment", "data.jsonl", ("--map", "1=positive", "0=normal", "-1=negative"), "F-measure"),
    Task("emoji", "data.tsv", (), "(macro)", "tsv"),
    Task(
        "toxicity", "data.csv", ("--label-columns", NAMES, "--questions", "data/questions.tsv"), "exact match", count=80
    ),
    Task("chat", "data.jsonl", (), "token accuracy", count=80),
)


@pytest.fixture(params=TASKS, ids=[one.name for one in TASKS], scope="module")
def task(request: pytest.FixtureRequest) -> Task:
    found: Task = request.param
    return found


@pytest.fixture(scope="module")
def folder(task: Task, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A folder with the data of a job, split, and a model that has seen them once."""
    folder = tmp_path_factory.mktemp(task.name)
    say(run, folder, "demo-data", "--task", task.name, "-o", "data", "--count", str(task.count))
    say(run, folder, "split", "-d", f"data/{task.data}", "-v", "20", "-n", "one", *task.reading)
    say(run, folder, "learn", "-d", "data/one", "-m", "tinytext", "-w", "one", "-t", "1", "-b", "16", *task.reading)
    return folder


@pytest.fixture(scope="module")
def answers(task: Task, folder: Path, run: Run) -> str:
    """The name of a file with the model's answers to what it was not trained on."""
    name = f"out.{task.answers}"
    lines = say(run, folder, "inference", "-m", "one", "-d", valid(folder), *task.reading)
    (folder / name).write_text(lines)
    assert len(lines.splitlines()) == 20
    return name


def say(run: Run, folder: Path, *command: str) -> str:
    """What a command prints that has to end well."""
    done = run("palitune", *command, cwd=folder)
    assert done.returncode == 0, f"palitune {' '.join(command)}\n{done.stderr}"
    return done.stdout


def valid(folder: Path) -> str:
    (found,) = (folder / "data" / "one").glob("valid.*")
    return str(found.relative_to(folder))


def test_the_stages(task: Task, folder: Path, answers: str, run: Run) -> None:
    said = say(run, folder, "validate", "-m", "one", valid(folder), *task.reading)
    assert task.block in said
    counted = say(run, folder, "aggregate", answers)
    assert counted
    if task.name != "chat":
        kept = say(run, folder, "filter", answers, "--keep", "fp,fn,tp,tn")
        assert 0 < len(kept.splitlines()) <= 20


def test_free_text_is_not_balanced(task: Task, folder: Path, run: Run) -> None:
    if task.name != "chat":
        pytest.skip("its answers are labels")
    done = run("palitune", "learn", "-d", "data/one", "-m", "tinytext", "--balance", "weights", cwd=folder)
    assert done.returncode == 2
    assert "--balance weights is for labels, and these answers are free text" in done.stderr


def test_what_answers_are_worth(task: Task, folder: Path, answers: str, run: Run) -> None:
    if task.name == "chat":
        pytest.skip("answers to chats have no classes")
    (folder / f"base.{task.answers}").write_text(
        say(run, folder, "inference", "-m", "tinytext", "-d", valid(folder), *task.reading)
    )
    say(run, folder, "report", answers, "-o", "report.html")
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert json.loads(say(run, folder, "report", answers, "--json"))
    say(run, folder, "compare", f"base.{task.answers}", answers)
    say(run, folder, "failures", answers, "-o", "failures.html")
    if task.name == "toxicity":
        say(run, folder, "threshold", answers, "--f-measure")
    else:
        say(run, folder, "uncertain", answers, "-n", "3")


def test_the_model_card_has_the_figures(task: Task, folder: Path, run: Run) -> None:
    if task.name == "chat":
        pytest.skip("answers to chats have no classes")
    say(run, folder, "export", "one", "--to", "card")
    card = (folder / "card" / "README.md").read_text()
    assert "| F-measure (macro) | 0." in card
    assert f"| {'exact match' if task.name == 'toxicity' else 'accuracy'} | 0." in card
    rows = card.split("\n| label | examples |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == {"sentiment": 3, "emoji": 25, "toxicity": 4}[task.name]
    assert "    - type: f1\n      name: F-measure (macro)\n      value: 0." in card
    assert "different texts" in card
    assert "this image" not in card


def test_what_data_are_worth(task: Task, folder: Path, run: Run) -> None:
    data = f"data/{task.data}"
    done = run("palitune", "lint", data, *task.reading, cwd=folder)
    assert done.returncode in (0, 65), done.stderr
    if task.name == "toxicity":
        assert "obscene" in say(run, folder, "stats", data, "--columns", NAMES)
        thinned = say(run, folder, "thin", data, "--target", "insult=0.3")
        assert 0 < len(thinned.splitlines()) <= task.count


@pytest.mark.parametrize(
    "pairs", [(("1", "positive"), ("0", "normal"), ("-1", "negative")), (("a=b", "-c"), ("-=", "d"))], ids=str
)
def test_pairs_are_typed_as_they_are_read(pairs: tuple[tuple[str, str], ...]) -> None:
    parser = argparse.ArgumentParser()
    arguments.add(parser, FolderSettings)
    typed = [*Pairs().typed("--map", pairs), *Names().typed("--label-columns", ("a", "b"))]
    found = arguments.read(FolderSettings, arguments.parse(parser, typed))
    assert dict(found.map) == dict(pairs)
    assert found.label_columns == ("a", "b")

"""What runs write down beside their metrics: answers, costs, and what validate finds afterwards."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run

from palitune.config.predictor_config import PredictorConfig
from palitune.data.example import Example
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import StorageError
from palitune.evaluate import answer_files
from palitune.run import cost, evaluation_log, ledger, validation_answers
from palitune.run.folder import RunFolder
from palitune.run.recorded_evaluations import Recorder
from palitune.run.validation import validate
from palitune.storage import locks

pytestmark = pytest.mark.quick_programs

NEW = "dataset/new/data.jsonl"


def test_an_evaluation_is_the_run_s_test(home: Path) -> None:
    first = ledger.of_name("first")
    (one,) = first.evaluations
    assert first.test == one
    assert (one.data.file, one.data.records, one.seen, one.asked) == (NEW, 12, 0, {})
    assert one.worth.counts is not None
    assert one.worth.records == 12
    assert time.time() - one.date < 86_400
    swept = ledger.of_name("swept")
    assert (swept.evaluations, swept.test) == ((), None)


def test_what_counts_as_a_test(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not what weights were chosen by, nor what was learned from, nor an answer to another question."""
    validate(PredictorConfig(model="swept"), ["dataset/set1/valid.jsonl", "dataset/set1/train.jsonl"])
    shown = capsys.readouterr()
    assert "dataset/set1/valid.jsonl: recorded with the run swept" in shown.err
    validate(PredictorConfig(model="swept", prompt="is there a star?"), [NEW], quiet=True)
    validate(PredictorConfig(model="swept", threshold=0.2), [NEW], quiet=True)
    swept = ledger.of_name("swept")
    assert [(one.seen, sorted(one.asked)) for one in swept.evaluations] == [
        (0, []), (18, []), (0, ["prompt"]), (0, ["threshold"]),
    ]  # fmt: skip
    assert swept.test is None
    assert swept.evaluations[0].data == swept.evaluated_on
    assert swept.evaluations[1].data == swept.trained_on
    # What the run evaluated itself comes out the same.
    assert swept.evaluations[0].worth.counts == swept.after.counts
    prompt = str(swept.settings["prompt"])
    validate(PredictorConfig(model="swept", prompt=prompt, labels=("yes", "no")), [NEW], quiet=True)
    assert ledger.of_name("swept").test is not None


def another(folder: Path) -> None:
    shutil.copy(folder / "first.npz", folder / "swept.npz")


def unfinished(folder: Path) -> None:
    path = folder / "swept.run/metrics.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def no_run(folder: Path) -> None:
    shutil.rmtree(folder / "swept.run")


def closed(folder: Path) -> None:
    (folder / "swept.run").chmod(0o500)


def linked(folder: Path) -> None:
    (folder / "swept.run/evaluations.jsonl").symlink_to(folder / "aside")


@pytest.mark.parametrize("change", [another, unfinished, no_run, closed, linked])
def test_nothing_is_recorded(home: Path, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]) -> None:
    if change is closed and not os.geteuid():
        pytest.skip("root writes everywhere")
    folder = home / "checkpoints"
    change(folder)
    validate(PredictorConfig(model="swept"), [NEW], quiet=True)
    assert "Tp=" in capsys.readouterr().out
    assert not (folder / "aside").exists()
    assert not [path for path in folder.glob("swept.run/evaluations.jsonl") if not path.is_symlink()]
    assert len(ledger.of_name("first").evaluations) == 1
    (folder / "swept.run").is_dir() and (folder / "swept.run").chmod(0o700)


def test_a_run_at_work_is_left_alone(home: Path) -> None:
    path = home / "checkpoints/swept.npz"
    assert Recorder(path, PredictorConfig(model="swept")).folder is not None
    with locks.exclusive(home / "checkpoints/swept.run/lock", "this run", keep=True):
        assert Recorder(path, PredictorConfig(model="swept")).folder is None


def test_another_process_at_the_file_is_no_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "checkpoints/swept.run/evaluations.jsonl"
    held = (
        "import sys; from pathlib import Path; from palitune.storage import append_file\n"
        "with append_file.exclusive(Path(sys.argv[1])) as file:\n    file.write(b'x'); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        validate(PredictorConfig(model="swept"), [NEW], quiet=True)
        process.stdin.write("\n")
        process.stdin.flush()
    shown = capsys.readouterr()
    assert "Tp=" in shown.out
    assert f"{NEW}: not recorded with the run: process" in shown.err


def test_the_file_grows_by_lines(home: Path) -> None:
    path = home / "checkpoints/first.run/evaluations.jsonl"
    (one,) = evaluation_log.read(path)
    for _ in range(3):
        evaluation_log.append(path, one)
    with path.open("ab") as file:
        file.write(b'{"half": \n[1]\n\xff\n')
    evaluation_log.append(path, one)
    assert evaluation_log.read(path) == (one,) * 5
    line = path.read_bytes().splitlines()[0] + b"\n"
    path.write_bytes(line * (3 * evaluation_log.LONGEST_LINE // len(line)))
    read = evaluation_log.read(path)
    assert evaluation_log.LONGEST_LINE // len(line) - 2 < len(read) <= evaluation_log.LONGEST_LINE // len(line) + 1


def test_answers_are_those_of_inference(home: Path, run: Run) -> None:
    folder = RunFolder(home / "checkpoints/first.npz")
    assert folder.answers_there == folder.path / "valid.tsv"
    content = (folder.path / "valid.tsv").read_text().splitlines()
    answers = run("palitune", "inference", "-m", "first", "-d", "dataset/set1/valid.jsonl", "--quiet", cwd=home).stdout
    assert answers.splitlines() == content
    assert len(content) == 6
    for command in (
        ["report", "checkpoints/first.run/valid.tsv", "--text"],
        ["aggregate", "checkpoints/first.run/valid.tsv"],
        ["threshold", "checkpoints/first.run/valid.tsv", "--f-measure", "-m", "first"],
    ):
        done = run("palitune", *command, cwd=home)
        assert done.returncode == 0, done.stderr
    made = json.loads((folder.path / ".valid.tsv.made.json").read_text())["made"]
    assert (made["model"], made["labels"]) == ("first", ["yes", "no"])
    # Another run of the name begins without any of it.
    folder.clear()
    assert {path.name for path in folder.path.iterdir()} == {"lock"}


def said(text: str, answer: str, labels: tuple[str, ...], prompt: str = "") -> Prediction:
    one = Example.of(text=text, prompt=prompt, label=answer)
    shares = tuple(1 / len(labels) for _ in labels)
    return Prediction(one, one.target, answer, 0.5, shares, MadeWith(labels, model="base"))


def test_what_lines_of_tsv_do_not_hold_is_json(tmp_path: Path) -> None:
    two, three = ("yes", "no"), ("a", "b", "c")
    for predictions, ending in (
        ([said("one", "yes", two), said("two\tlines\nof it", "no", two)], ".tsv"),
        ([said("one", "yes", two, "is it?")], ".jsonl"),
        ([said("one", "a", three), said("two", "c", three)], ".jsonl"),
    ):
        folder = RunFolder(tmp_path / f"{len(predictions)}{ending}.npz")
        folder.path.mkdir(exist_ok=True)
        validation_answers.write(folder, predictions)
        assert folder.answers_there is not None
        assert folder.answers_there.suffix == ending
        found = answer_files.read(folder.answers_there, quiet=True)
        assert [one.text for one in found.predictions] == [one.text for one in predictions]
        assert found.made is not None
        assert found.made.model == folder.target.stem
    folder = RunFolder(tmp_path / "free.npz")
    free = said("one", "yes", two)._replace(made=MadeWith(None))
    for nothing in ([], [free]):
        validation_answers.write(folder, nothing)
        assert folder.answers_there is None


def test_what_sessions_cost_adds_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x.npz")
    folder.path.mkdir()
    for taken in (None, 7_000, 5_000):
        began = time.monotonic() - 10
        with cost.recorded(folder, began, 3_000, lambda taken=taken: taken):
            inside = cost.read(folder.cost)
    found = cost.read(folder.cost)
    assert inside.sessions == found.sessions == 3
    assert inside.seconds == pytest.approx(20, abs=2)  # of the two before
    assert found.seconds == pytest.approx(30, abs=3)
    assert (found.planned, found.taken) == (3_000, 7_000)
    assert found.began is not None
    assert found.began == pytest.approx(time.time() - 10, abs=3)
    with pytest.raises(StorageError), cost.recorded(folder, time.monotonic(), 1, lambda: None):
        raise StorageError("the disk is full")
    assert cost.read(folder.cost).sessions == 4


def test_what_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x.npz")
    folder.path.write_text("a file in the folder's place")
    with cost.recorded(folder, time.monotonic(), 1, lambda: None):
        pass
    assert cost.read(folder.cost) == cost.Cost()
    with cost.recorded(None, time.monotonic(), 1, lambda: None):
        pass

"""Metrics sent to experiment trackers: what they get, and that one which fails costs nothing but a line."""

import contextlib
import json
import sqlite3
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from palitune.errors import ConfigurationError
from palitune.run import tracking
from palitune.run.folder import RunFolder
from palitune.run.run_log import RunLog
from palitune.run.tracking import Tracking
from palitune.train.evaluation import Evaluation
from palitune.train.loop import Row

pytestmark = pytest.mark.quick_programs

FACTS: dict[str, Any] = {
    "command": ["learn", "-d", "/home/somebody/secret"],
    "options": {"data": "/home/somebody/secret", "model": "tiny"},
    "config": {"learning_rate": 0.03, "method": "lora", "augment": ["flip"]},
    "data": {"train.jsonl": {"file": "/home/somebody/secret/train.jsonl", "sha256": "ab" * 32}},
    "base": {"name": "tiny", "file": "/home/somebody/tiny.npz", "hash": "cd" * 32},
}
# A package of the name that writes down what it gets, or fails at a call.
PACKAGE = """
import json, pathlib, sys
FAIL = {fail!r}
if FAIL == "import": raise TypeError("other versions")
class Settings:
    def __init__(self, **given): self.given = given
class Run:
    def __init__(self, given):
        self.told = {{"init": {{name: str(value) for name, value in given.items()}}, "logged": []}}
        self.told["stdin"] = sys.stdin.isatty()
    def log(self, figures, step):
        if FAIL == "log": raise RuntimeError("the network has gone")
        self.told["logged"].append([step, figures])
    def finish(self, exit_code):
        if FAIL == "finish": raise OSError(28, "No space left on device")
        self.told["exit"] = exit_code
        pathlib.Path({out!r}).write_text(json.dumps(self.told))
def init(**given):
    if FAIL == "init": raise ValueError("no key at https://me:password@wandb.example/api")
    return Run(given)
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "mine.npz")
    made.path.mkdir()
    return made


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: str = "") -> Path:
    """Puts a package of that kind in the way of a real one, and says where it writes what it got."""
    out = tmp_path / "told.json"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/wandb.py").write_text(PACKAGE.format(fail=fail, out=str(out)))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setitem(sys.modules, "wandb", None)  # so that it is what it was afterwards
    del sys.modules["wandb"]
    return out


def logged(folder: RunFolder, steps: int = 5) -> None:
    with RunLog(folder, True, False, tracking=Tracking("wandb", folder, FACTS)) as log:
        log.open_bar("1st", steps, 2, 0)
        for step in range(steps):
            found = Evaluation(0.5, 1.0, [0.5], [True], [5]) if step % 4 == 0 else None
            log.row(
                Row(step, 0.03, 0.1 * step, 1.0, found, {"accuracy": 1.0, "recall": None}, False, []),
                steps,
                {"trial": 1},
            )


def test_what_is_sent(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = package(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    logged(folder)
    told = json.loads(out.read_text())
    assert [step for step, _ in told["logged"]] == [0, 1, 2, 3, 4]
    assert told["logged"][0][1]["valid_accuracy"] == 1.0
    assert told["logged"][3][1] == {"train_loss": 0.1 * 3, "train_accuracy": 1.0, "learning_rate": 0.03}
    assert told["exit"] == 0
    assert told["stdin"] is False  # nobody can be asked for a key
    everything = json.dumps(told)
    assert "lora" in everything
    assert "abababababab" in everything
    for secret in ("somebody", "0123456789abcdef", "command"):
        assert secret not in everything
    # A session that goes on does so under the same key.
    key = json.loads(folder.tracking.read_text())["wandb"]
    logged(folder)
    assert json.loads(out.read_text())["init"]["id"] == key == told["init"]["id"]
    folder.clear()
    logged(folder)
    assert json.loads(out.read_text())["init"]["id"] != key


@pytest.mark.parametrize("fail", ["import", "init", "log", "finish"])
def test_a_tracker_that_fails_is_one_line(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fail: str
) -> None:
    package(tmp_path, monkeypatch, fail)
    logged(folder, 300)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: wandb does not work (")
    assert lines[0].endswith("; learning goes on without it")
    assert "password" not in lines[0]
    assert len(folder.metrics.read_text().splitlines()) == 300


def test_one_that_does_not_come_back_is_left(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path, monkeypatch)
    path = tmp_path / "modules/wandb.py"
    path.write_text(path.read_text().replace('self.told["exit"] = exit_code', "import time; time.sleep(600)"))
    monkeypatch.setattr(tracking, "WAIT", 0.1)
    logged(folder)
    assert "wandb has not taken everything within 0.1 seconds" in capsys.readouterr().err


def test_damaged_keys(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    for content in ("[]", "{", '{"wandb": 3}', '{"wandb": "' + "x" * 5000 + '"}'):
        folder.tracking.write_text(content)
        logged(folder, 1)
        assert len(json.loads(folder.tracking.read_text())["wandb"]) == 12


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_a_package_that_is_missing(folder: RunFolder, kind: str) -> None:
    if find_spec(kind):
        pytest.skip(f"{kind} is installed")
    with pytest.raises(ConfigurationError, match=rf"--track {kind} needs {kind}, .* pip install 'palitune\[{kind}\]'"):
        Tracking(kind, folder, FACTS)


LEARN = ("learn", "-d", "set1", "-m", "tiny", "--examples", "8", "-b", "4", "--quiet", "-w", "sent", "--track")


@pytest.mark.skipif(not find_spec("wandb"), reason="wandb is not installed")
def test_weights_and_biases_offline(home: Path, run: Run, tmp_path: Path) -> None:
    variables = {"WANDB_MODE": "offline", "WANDB_API_KEY": "", "HOME": str(tmp_path)}
    done = run("palitune", *LEARN, "wandb", cwd=home, env=variables)
    assert (done.returncode, done.stderr) == (0, "")
    key = json.loads((home / "checkpoints/sent.run/tracking.json").read_text())["wandb"]
    (path,) = (home / "checkpoints/sent.run/wandb").glob(f"offline-run-*/run-{key}.wandb")
    content = path.read_bytes()
    for name in (b"train_loss", b"valid_accuracy", b"learning_rate", b"attention"):
        assert name in content
    assert str(home).encode() not in content.replace(str(home / "checkpoints/sent.run").encode(), b"")
    without = run("palitune", *LEARN, "wandb", "--overwrite", cwd=home, env=variables | {"WANDB_MODE": "online"})
    assert without.returncode == 0
    assert "warning: wandb does not work (" in without.stderr


@pytest.mark.skipif(not find_spec("mlflow"), reason="mlflow is not installed")
def test_mlflow_with_a_file(home: Path, run: Run, tmp_path: Path) -> None:
    store = tmp_path / "mlflow.db"
    done = run("palitune", *LEARN, "mlflow", cwd=home, env={"MLFLOW_TRACKING_URI": f"sqlite:///{store}"})
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(store)) as found:
        assert found.execute("select status, name from runs").fetchall() == [("FINISHED", "sent")]
        counts = dict(found.execute("select key, count(*) from metrics group by key").fetchall())
        params = dict(found.execute("select key, value from params").fetchall())
    assert counts["train_loss"] == 2
    assert counts["learning_rate"] == 3
    assert (params["batch_size"], params["base"]) == ("4", "tiny")
    assert str(home) not in json.dumps(params)
    gone = {"MLFLOW_TRACKING_URI": "http://me:password@127.0.0.1:9"}
    without = run("palitune", *LEARN, "mlflow", "--overwrite", cwd=home, env=gone)
    assert without.returncode == 0
    assert "warning: mlflow does not work (" in without.stderr
    assert "password" not in without.stderr

"""`palitune.learn` in one process, as a notebook calls it; settings checked as typed ones; a short way to the step."""

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import palitune
from palitune.errors import UsageError

QUICK = {"data": "set1", "model": "tiny", "examples": 16, "batch_size": 4, "quiet": True}
MOST_FRAMES = 7  # stage, main, the command, learn, the trainer, the attempt, the step


@pytest.fixture
def home(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("PALITUNE_HOME", str(workspace))
    return workspace


def test_learning_in_this_process(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = palitune.learn(palitune.RunConfig(**QUICK))
    assert result.checkpoint is None
    assert (
        [path.name for path in result.after] == [path.name for path in result.before] == ["train.jsonl", "valid.jsonl"]
    )
    assert [row["step"] for row in result.metrics if "event" not in row] == [0, 1, 2, 3, 4]
    assert (len(result.trials), result.best) == (1, 0)
    assert "(1st trained)" in capsys.readouterr().out


def test_learning_that_is_saved_in_another_thread(home: Path) -> None:
    """Where Python receives no signals, none is asked for."""
    config = palitune.RunConfig(**QUICK, write="threaded")
    results = []
    thread = threading.Thread(target=lambda: results.append(palitune.learn(config)))
    thread.start()
    thread.join()
    (result,) = results
    assert result.checkpoint == home / "checkpoints/threaded.npz"
    assert result.checkpoint.is_file()
    assert (home / "checkpoints/threaded.run/metrics.csv").is_file()
    saved = palitune.learn(dataclasses.replace(config, resume=True))
    assert saved.checkpoint == result.checkpoint


def test_a_value_is_checked_as_a_typed_one() -> None:
    with pytest.raises(UsageError, match="balance: 'weihgts' is none of none, weights, sample; did you mean weights"):
        palitune.RunConfig(balance="weihgts")
    with pytest.raises(UsageError, match="batch_size: 0 is not at least 1"):
        dataclasses.replace(palitune.RunConfig(), batch_size=0)
    config = palitune.RunConfig(method="lora", batch_size=2)
    assert config.given == {"method"}
    assert dataclasses.replace(config, seed=3).given == {"method", "seed"}


def test_the_way_to_the_step_is_short(workspace: Path) -> None:
    code = """
import sys, traceback
from palitune.train.step import Step
called = Step.__call__
def call(self, *arguments):
    frames = [one for one in traceback.extract_stack()[:-1] if "contextlib" not in one.filename]
    print("frames", len(frames) + 1, [f"{one.filename.rpartition('/')[2]}:{one.name}" for one in frames])
    return called(self, *arguments)
Step.__call__ = call
from palitune.cli import main
main("learn", ["-d", "set1", "-m", "tiny", "--examples", "4", "-b", "4", "--quiet"])
"""
    environment = os.environ | {"PALITUNE_HOME": str(workspace)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("frames"))
    assert int(line.split()[1]) <= MOST_FRAMES, line

"""Trials in lockstep: they learn what they learn one after another, end to end and after every interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from palitune.checkpoint import npz
from palitune.data import batches
from palitune.data.batches import Batch

pytestmark = pytest.mark.quick_programs

QUICK = ("-d", "set1", "--examples", "32", "-b", "4", "--quiet")


def learn(run: Run, workspace: Path, name: str, *arguments: str, code: int = 0, quick: tuple[str, ...] = QUICK) -> str:
    done = run("palitune", "learn", *quick, "-w", name, *arguments, cwd=workspace)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def rows(workspace: Path, name: str) -> list[dict[str, object]]:
    text = (workspace / f"checkpoints/{name}.run/metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def assert_same(workspace: Path, one: str, other: str) -> None:
    """All steps in the same order, and numbers and parameters that differ by no more than rounding makes them."""
    steps = [[row for row in rows(workspace, name) if "step" in row and "what" not in row] for name in (one, other)]
    for row, same in zip(*steps, strict=True):
        assert row.keys() == same.keys()
        for name, value in row.items():
            if isinstance(value, float):
                assert same[name] == pytest.approx(value, abs=1e-3, rel=1e-3, nan_ok=True), name
            else:
                assert same[name] == value, name
    found, expected = (npz.Checkpoint(workspace / f"checkpoints/{name}.npz") for name in (one, other))
    assert set(found) == set(expected)
    for path in found:
        a, b = (np.asarray(each[path], np.float32) for each in (found, expected))
        assert np.abs(a - b).max() <= 2e-3 * np.abs(b).max(), path  # they are kept in 11 bits


@pytest.mark.parametrize(
    "options",
    [
        ("--repeat", "3"),
        ("--repeat", "2", "--method", "lora", "--lora-rank", "4", "--ema", "0.9"),
        ("--repeat", "2", "--accumulate", "2", "--clip-global", "1", "--augment", "flip", "--balance", "weights"),
        ("--folds", "3", "--repeat", "2"),
        ("--sweep", "lr=0.01,0.02", "--combine", "soup"),
    ],
    ids=["attention", "lora", "accumulated", "folds", "rates"],
)
def test_trials_learn_as_one_after_another(workspace: Path, run: Run, options: tuple[str, ...]) -> None:
    learn(run, workspace, "alone", "--overwrite", "--together", "1", *options)
    learn(run, workspace, "lockstep", "--overwrite", "--together", "3", *options)
    assert_same(workspace, "alone", "lockstep")
    config = json.loads((workspace / "checkpoints/lockstep.run/config.json").read_text())
    assert config["resolved"]["together"] > 1


@pytest.fixture(scope="module")
def uninterrupted(workspace: Path, run: Run) -> str:
    return learn(run, workspace, "uninterrupted", "--repeat", "3", "--together", "3")


@pytest.mark.parametrize("step", [2, 7, 12, 20])
def test_a_run_that_is_cut_short_ends_with_the_same(workspace: Path, run: Run, uninterrupted: str, step: int) -> None:
    """Amid all trials, and while the rows of a later one are told."""
    told = [number for number, line in enumerate(uninterrupted.splitlines(), 1) if line.startswith("step:")]
    assert len(told) == 24
    command = ["palitune", "learn", *QUICK, "--repeat", "3", "--together", "3", "--save-every", "1", "-w", f"cut{step}"]
    run("bash", "-c", f"{' '.join(command)} | head -{told[step]}", cwd=workspace)
    done = run("palitune", "learn", "--resume", "-w", f"cut{step}", cwd=workspace)
    assert done.returncode == 0, done.stderr
    files = [workspace / f"checkpoints/{name}.npz" for name in ("uninterrupted", f"cut{step}")]
    assert files[0].read_bytes() == files[1].read_bytes()
    whole, cut = ([row for row in rows(workspace, file.stem) if "learning_rate" in row] for file in files)
    assert str(cut) == str(whole)  # a text, in which not-a-number is itself


def test_a_trial_that_diverges_is_made_again_alone(workspace: Path, run: Run) -> None:
    options = ("--sweep", "lr=1e30,0.01", "--attempts", "2", "--combine", "best")
    for name, together in (("alone", "1"), ("lockstep", "2")):
        learn(run, workspace, name, "--overwrite", *options, "--together", together)
    assert_same(workspace, "alone", "lockstep")
    events = [(row["trial"], row["attempt"]) for row in rows(workspace, "lockstep") if row.get("event") == "diverged"]
    assert events == [(1, 1), (1, 2)]


def test_texts_of_several_lengths(run: Run, tmp_path: Path) -> None:
    for command in (
        ["download", "--model", "tinytext"],
        ["demo-data", "--task", "sentiment", "--count", "30", "-o", "sentences"],
        ["split", "-d", "sentences/data.jsonl", "-v", "6", "-n", "set1", "--quiet"],
    ):
        done = run("palitune", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    quick = ("-d", "sentences/set1", "-m", "tinytext", "--examples", "24", "-b", "2", "--quiet")
    for name, together in (("alone", "1"), ("lockstep", "3")):
        learn(run, tmp_path, name, "--folds", "3", "--combine", "ensemble", "--together", together, quick=quick)
    assert_same(tmp_path, "alone", "lockstep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--together 2 is for trials that differ in seeds, rates or folds alone"),
        (("--sweep", "batch=2,4"), "--together 2 is for trials that differ in seeds, rates or folds alone"),
        (("--repeat", "2", "--second-pass"), "--together 2 cannot go with --second-pass"),
        (("--repeat", "2", "--method", "full", "--optimizer", "adamw", "--offload", "optimizer"), "go with --offload"),
    ],
)
def test_what_cannot_be_in_lockstep(workspace: Path, run: Run, options: tuple[str, ...], message: str) -> None:
    assert message in learn(run, workspace, "nothing", "--together", "2", *options, code=2)
    assert not (workspace / "checkpoints/nothing.npz").exists()


def test_batches_are_as_long_as_the_longest_of_them() -> None:
    def batch(width: int, answer: int) -> Batch:
        texts, answers = np.ones((2, width), np.int32), np.ones((2, answer), np.int32)
        weights = np.ones((2, answer), np.float32)
        image = np.ones((2, 4, 8), np.float16)
        return Batch(image, texts, texts, texts, answers[:, :1], answers, answers, weights, None, None, None)

    found = batches.stacked([batch(16, 3), batch(32, 2)])
    assert (found.text.shape, found.weights.shape, found.image.shape) == ((2, 2, 32), (2, 2, 3), (2, 2, 4, 8))
    assert found.text[0].sum() == 2 * 16
    assert found.weights[1].sum() == 2 * 2
    assert found.order is None

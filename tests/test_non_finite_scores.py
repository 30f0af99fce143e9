"""A model whose scores are not finite says nothing: no label comes of them, in any command."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from conftest import Run

from palitune.checkpoint import npz
from palitune.data import probabilities
from palitune.data.example import Example
from palitune.errors import BadDataError
from palitune.reference import Difference

pytestmark = pytest.mark.quick_programs

BLOCKS = "img/Transformer/encoderblock"
TABLE = "llm/embedder/input_embedding"
DATA = "dataset/data.jsonl"


@pytest.fixture(scope="module")
def models(workspace: Path) -> Path:
    """Every parameter is finite: "huge" overflows wherever it is asked, "late" only in what is written freely.

    Of "wide" only the squares overflow, in the norm of the language model, and of "broad" in that of the image tower.
    """
    base = npz.Checkpoint(workspace / "cache/models/tiny/tiny.npz")
    folder = workspace / "checkpoints"
    npz.save(folder / "huge.npz", {path: np.full(base[path].shape, 3e38, np.float32) for path in base})
    late = np.array(base[TABLE], ml_dtypes.bfloat16)
    late[400:420] = ml_dtypes.bfloat16(3e38) * np.sign(late[400:420].astype(np.float32)).astype(ml_dtypes.bfloat16)
    npz.save(folder / "late.npz", {**base, TABLE: late})
    for name, path in (("wide", "llm/layers/mlp/linear"), ("broad", f"{BLOCKS}/MlpBlock_0/Dense_1/kernel")):
        npz.save(folder / f"{name}.npz", {**base, path: np.array(base[path], np.float32) * np.float32(1e30)})
    (workspace / "prompts.txt").write_text("is there a cross?\nis it allowed?\n")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("validate", "-m", "huge", DATA, "--threshold", "0.2"),
        ("inference", "-m", "late", "-d", DATA, "--decode", "-b", "4"),
        ("prompts", "prompts.txt", "-d", DATA, "-m", "huge", "--no-features"),
        ("validate", "-m", "wide", DATA),
        ("validate", "-m", "broad", DATA),
        ("learn", "-d", "set1", "-m", "huge", "--no-features", "--examples", "8"),
    ],
    ids=lambda command: " ".join(command[:1]),
)
def test_commands_name_record_and_model(command: tuple[str, ...], models: Path, workspace: Path, run: Run) -> None:
    done = run("palitune", *command, cwd=workspace)
    assert done.returncode == 65, done.stderr
    assert done.stdout == ""
    problem = done.stderr.splitlines()[-1]
    assert "not finite" in problem
    assert "dataset/" in problem
    if "--no-features" in command or "--decode" in command:
        assert f"checkpoints/{command[command.index('-m') + 1]}.npz" in problem


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_scores(wrong: float) -> None:
    scores = np.array([[1.0, 2.0], [wrong, 0.0]])
    with pytest.raises(BadDataError, match="not finite"):
        probabilities.probabilities(scores)
    with pytest.raises(BadDataError, match=r"^data:7: a score of the model m\.npz for a\.png is not finite"):
        probabilities.require_finite(scores, Example.of("a.png", label="yes", where="data:7"), Path("m.npz"))
    probabilities.require_finite(scores[:1])


def test_a_difference_that_is_no_number_is_the_worst() -> None:
    good, bad = Difference(1e-6, 1.0), Difference(float("nan"), float("nan"))
    assert not good.worst(bad).agrees
    assert not bad.worst(good).agrees

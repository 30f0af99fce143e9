"""What this machine has: shown on one screen, and never a secret."""

import json
import os
from pathlib import Path

import jax
import pytest
from conftest import Run

from palitune import __version__

SECRETS = {"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "planted", "JAX_SECRET": "planted", "XLA_TOKEN": "planted"}


@pytest.fixture
def card(tmp_path: Path) -> dict[str, str]:
    """The variables under which a driver tells of a card."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4070, 560.35.03, 12282, 11800'\n")
    (programs / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def test_one_screen(workspace: Path, run: Run) -> None:
    done = run("palitune", "doctor", cwd=workspace, env=SECRETS | {"XLA_PYTHON_CLIENT_PREALLOCATE": "true"})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= 24
    for words in (f"palitune     {__version__}", f"jax {jax.__version__}", "devices      cpu", "models       tiny"):
        assert words in done.stdout
    assert "XLA_PYTHON_CLIENT_PREALLOCATE=true" in done.stdout
    assert "credentials  Kaggle's, from KAGGLE_USERNAME and KAGGLE_KEY" in done.stdout
    assert "planted" not in done.stdout + done.stderr


def test_json(workspace: Path, run: Run, card: dict[str, str]) -> None:
    done = run("palitune", "doctor", "--json", cwd=workspace, env=SECRETS | card)
    found = json.loads(done.stdout)
    assert found["cards"] == [
        {
            "name": "NVIDIA GeForce RTX 4070",
            "driver_version": "560.35.03",
            "memory.total": "12282",
            "memory.free": "11800",
        }
    ]
    assert found["devices"][0]["platform"] == "cpu"
    assert found["models"] == {"tiny": False}
    assert found["memory"]["free"] <= found["memory"]["total"]
    assert set(found["folders"]) == {str(workspace / "cache"), str(workspace / "checkpoints")}
    # A full disk is a problem of this machine.
    (problem,) = (problem for problem in found["problems"] if "GB are free" not in problem)
    assert problem.startswith("there is a card, and JAX does not use it")
    assert "planted" not in done.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"JAX_PLATFORMS": "cuda"}, "problem      JAX does not start"),
        ({"XLA_FLAGS": "--garbage"}, "Unknown flag in XLA_FLAGS: --garbage"),
        ({"JAX_LOG_COMPILES": "banana"}, "problem      JAX does not start"),
        ({"JAX_ENABLE_X64": "banana"}, "JAX_ENABLE_X64=banana"),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9", "XLA_CLIENT_MEM_FRACTION": "0.9"}, "are both set"),
        ({}, "no Kaggle credentials"),
        ({}, "no graphics card"),
    ],
)
def test_problems(variables: dict[str, str], words: str, tmp_path: Path, run: Run) -> None:
    done = run("palitune", "doctor", cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "models       none" in done.stdout


def test_a_platform_that_is_not_there(workspace: Path, run: Run) -> None:
    done = run(
        "palitune", "validate", "-m", "tiny", "dataset/set1/valid.jsonl", cwd=workspace, env={"JAX_PLATFORMS": "tpu"}
    )
    assert done.returncode == 78
    assert "JAX has no tpu here. palitune doctor tells what there is" in done.stderr
    assert done.stderr.count("\n") == 1

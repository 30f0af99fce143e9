"""palitune beside big_vision, where that is there: in cache/big_vision, or on Python's path as in the image."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Golden, Run

from palitune import reference, trees
from palitune.reference import Comparer, Difference, Reference

FOLDER = REPOSITORY / "cache" / "big_vision"
INSTALLED = reference.find(FOLDER) is not None
needs_big_vision = pytest.mark.skipif(
    not INSTALLED, reason=f"big_vision is not installed: {reference.INSTALL} fetches it into cache/"
)


def test_differences() -> None:
    theirs = np.asarray([1.0, -50.0, 3.0])
    assert Difference.between(theirs, theirs) == (0, 50)
    assert Difference.between(theirs + 0.004, theirs).agrees
    apart = Difference.between(theirs + 0.006, theirs)
    assert not apart.agrees
    assert apart.worst(Difference.between(theirs, theirs)) == apart
    assert not Difference.between(theirs * np.nan, theirs).agrees


@pytest.mark.skipif("big_vision" in sys.modules or reference._spec() is not None, reason="big_vision is on the path")
def test_without_big_vision(workspace: Path, run: Run) -> None:
    done = run("palitune", "verify", "tiny", cwd=workspace)
    assert done.returncode == 78
    assert "bin/install-big_vision.sh fetches it into cache/" in done.stderr
    assert done.stderr.count("\n") == 1
    # The bench looks for it in the same way, before it takes any time.
    done = run("python", str(REPOSITORY / "bench" / "step.py"), "--reference", cwd=workspace)
    assert (done.returncode, done.stdout) == (78, "")
    assert "bin/install-big_vision.sh fetches it into cache/" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_transformers(workspace: Path, run: Run) -> None:
    done = run("palitune", "verify", "tiny", "--against", "transformers", cwd=workspace)
    assert done.returncode == 78
    assert "torch, which palitune is compared with, is not installed. Install it: pip install 'palitune" in done.stderr
    assert done.stderr.count("\n") == 1
    # What big_vision does not have is compared with transformers unasked, and not with big_vision.
    unasked = run("palitune", "verify", "tiny3", cwd=workspace)
    assert (unasked.returncode, unasked.stderr) == (78, done.stderr)
    asked = run("palitune", "verify", "tiny3", "--against", "big_vision", cwd=workspace)
    assert asked.returncode == 78
    assert "big_vision has no model of this family" in asked.stderr
    assert run("palitune", "verify", "tiny", "--against", "others", cwd=workspace).returncode == 2


@pytest.fixture
def with_big_vision(workspace: Path) -> Path:
    link = workspace / "cache" / "big_vision"
    if FOLDER.is_dir() and not link.exists():
        link.symlink_to(FOLDER)
    return workspace


@needs_big_vision
def test_golden_models(golden: Golden) -> None:
    compare = Comparer(golden.sizes, Reference(golden.sizes, FOLDER), eos=-1)
    v = golden.values
    length = int(v["prefix_mask_input"][0].sum())
    prompt = v["prefix_text"][0, :length].tolist()
    found = compare(golden.params, np.asarray(v["image"][0]), prompt, [7, 9])
    assert found.image_tokens.agrees, found
    assert found.logits.agrees, found
    np.testing.assert_array_equal(found.ours, found.theirs)
    # What is another model is seen to be one.
    path = "llm/layers/mlp/gating_einsum"
    other = golden.params | {path: golden.params[path] * 1.01}
    tree = trees.unflatten(other)
    text = np.asarray([prompt], np.int32)
    theirs = compare.their_logits(tree, v["image"][:1], text, np.zeros_like(text))
    ours = compare.our_logits(trees.unflatten(golden.params), v["image"][:1], text, np.zeros_like(text))
    assert not Difference.between(ours, theirs).agrees


@needs_big_vision
def test_the_command(with_big_vision: Path, run: Run, tmp_path: Path) -> None:
    done = run("palitune", "verify", "tiny", cwd=with_big_vision)
    assert done.returncode == 0, done.stderr
    assert "answers         4 of 4 the same" in done.stdout
    assert "verdict: palitune's model is big_vision's" in done.stdout
    pictures = [str(path) for path in sorted((with_big_vision / "dataset" / "images").iterdir())[:2]]
    done = run("palitune", "verify", "tiny", *pictures, "--prompt", "a cross?", "--json", cwd=with_big_vision)
    content = json.loads(done.stdout)
    assert content["agrees"]
    assert [row["image"] for row in content["answers"]] == pictures
    assert all(row["palitune"] == row["big_vision"] for row in content["answers"])
    assert content["logits"]["largest_difference"] <= 1e-4 * content["logits"]["largest_magnitude"]


@needs_big_vision
def test_mistakes(with_big_vision: Path, run: Run, tmp_path: Path) -> None:
    assert run("palitune", "verify", "no-such", cwd=with_big_vision).returncode == 66
    assert run("palitune", "verify", "tiny", "no-such.png", cwd=with_big_vision).returncode == 66
    (tmp_path / "text.png").write_text("no picture")
    assert run("palitune", "verify", "tiny", str(tmp_path / "text.png"), cwd=with_big_vision).returncode == 65
    learning = ("palitune", "learn", "-d", "set1", "--method", "lora", "-w", "adapted", "--examples", "4")
    assert run(*learning, cwd=with_big_vision).returncode == 0
    done = run("palitune", "verify", "adapted", cwd=with_big_vision)
    assert done.returncode == 78
    assert "palitune merge -m adapted" in done.stderr


# The script that fetches it.


def install(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [str(REPOSITORY / "bin" / "install-big_vision.sh"), *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_the_script_s_mistakes(tmp_path: Path) -> None:
    done = install(str(tmp_path / "there"), BIG_VISION_URL=str(tmp_path / "no-such"))
    assert done.returncode == 69
    assert "cannot be fetched. Check the network" in done.stderr
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "of").touch()
    done = install(str(tmp_path / "full"))
    assert done.returncode == 73
    assert "this folder holds something else" in done.stderr
    assert "usage" in install("--help").stdout
    assert install("-x").returncode == 2
    secret = install(str(tmp_path / "there"), BIG_VISION_URL="https://me:secret@127.0.0.1:9/x")
    assert secret.returncode == 69
    assert "install-big_vision.sh: https://127.0.0.1:9/x cannot be fetched" in secret.stderr


@pytest.mark.skipif(not (FOLDER / ".git").is_dir(), reason="no clone of big_vision to fetch from in cache/")
def test_the_script(tmp_path: Path) -> None:
    # As in a hook of another repository, which must be left alone.
    subprocess.run(["git", "init", "-q", str(tmp_path / "mine")], check=True)
    mine = {"GIT_DIR": str(tmp_path / "mine" / ".git")}
    done = install(f"{tmp_path}/a/there/", BIG_VISION_URL=str(FOLDER), **mine)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "there" / "big_vision" / "models" / "vit.py").is_file()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["there"]
    assert not (tmp_path / "mine" / ".git" / "FETCH_HEAD").exists()
    assert "already there" in install(str(tmp_path / "a" / "there"), BIG_VISION_URL="nowhere").stderr

"""A clone as Git for Windows makes it, whose scripts have to run in a container all the same."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import NO_ENGINE, REPOSITORY, Run

READ_BY_OTHERS = (
    ".sh",
    ".py",
    ".yaml",
    ".json",
    ".jsonl",
    ".toml",
    ".txt",
    ".in",
    "Dockerfile",
    ".dockerignore",
    ".md",
)


def git(*words: str, cwd: Path) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost", "-c", "core.hooksPath=/dev/null")
    alone = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", *identity, *words]
    done = subprocess.run(command, cwd=cwd, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the repository now, committed elsewhere and cloned with carriage returns asked for."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("no git, or no clone")
    folder = tmp_path_factory.mktemp("windows")
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).split("\0"):
        if name and (REPOSITORY / name).is_file():
            (folder / "origin" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / "origin" / name)
    git("init", "--quiet", "origin", cwd=folder)
    git("-c", "core.autocrlf=true", "add", "--all", cwd=folder / "origin")
    git("commit", "--quiet", "--message", "all", cwd=folder / "origin")
    git("-c", "core.autocrlf=true", "clone", "--quiet", "origin", "clone", cwd=folder)
    return folder / "clone"


def test_no_file_has_carriage_returns(windows: Path) -> None:
    files = git("ls-files", cwd=windows).splitlines()
    assert "bin/docker-entrypoint.sh" in files
    for name in files:
        if name.endswith(READ_BY_OTHERS):
            assert b"\r\n" not in (windows / name).read_bytes(), name


def test_what_is_no_text_is_untouched(windows: Path) -> None:
    for name in (
        "src/palitune/tiny/tiny.npz",
        "src/palitune/tiny/tokenizer.model",
        "src/palitune/tiny3/model.safetensors",
        "src/palitune/tinytext/model.safetensors",
        "docs/demo.png",
    ):
        assert (windows / name).read_bytes() == (REPOSITORY / name).read_bytes(), name


@pytest.mark.parametrize(
    "command",
    [
        ["./02-shuffle_data.sh", "--help"],
        ["./03-do_learn.py", "--help"],
        ["../bin/docker-run.sh", "--help"],
        ["../bin/docker-build.sh", "--dry-run"],
        ["sh", "-n", "../bin/docker-entrypoint.sh"],
    ],
)
def test_scripts_run(windows: Path, run: Run, command: list[str]) -> None:
    done = run(*command, cwd=windows / "playground", env=NO_ENGINE)
    assert (done.returncode, done.stderr) == (0, "")

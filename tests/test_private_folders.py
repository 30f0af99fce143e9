"""What is run, or believed without looking, comes out of folders that nobody but the user can write to."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run

from palitune import workspace
from palitune.errors import UsageError
from palitune.storage import private_folders

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to others")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which the tests stand; nothing has been said of it."""
    for name in ("playground", "checkpoints", "cache/compiled", "playground/dataset"):
        (tmp_path / "clone" / name).mkdir(parents=True, mode=0o755)
    monkeypatch.chdir(tmp_path / "clone" / "playground" / "dataset")
    monkeypatch.delenv("PALITUNE_HOME", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(workspace, "_noted", set())
    return tmp_path / "clone"


def test_the_usual_place_is_the_clone(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert workspace.root() == clone
    assert workspace.compiled() == clone / "cache" / "compiled"
    assert workspace.own_folder("verified") == clone / "cache" / "verified"
    assert (clone / "cache" / "verified").stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("part", [".", "cache", "cache/compiled"])
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_programs_do_not_lie_where_others_can_write(
    clone: Path, part: str, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / part).chmod(mode)
    usual = clone / "cache" / "compiled"
    own = usual.parent.parent.parent / "home" / "palitune" / "compiled"
    assert workspace.compiled() == own
    assert private_folders.is_private(own)
    said = capsys.readouterr().err
    assert f"kept in {own} and not in {usual}" in said
    workspace.compiled()
    assert capsys.readouterr().err == ""  # once


def test_a_link_is_as_private_as_what_it_leads_to(tmp_path: Path) -> None:
    for name, mode in (("mine", 0o700), ("everybody", 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
    assert private_folders.is_private(tmp_path / "to mine")
    assert not private_folders.is_private(tmp_path / "to everybody")
    (tmp_path / "everybody" / "inside").mkdir(mode=0o700)
    assert not private_folders.is_private(tmp_path / "everybody" / "inside")  # which others can rename
    (tmp_path / "everybody").chmod(0o1777)
    assert private_folders.is_private(tmp_path / "everybody" / "inside")  # as in /tmp, which they cannot
    assert not private_folders.is_private(tmp_path / "nothing")


@as_root
@pytest.mark.parametrize("part", [".", "playground", "checkpoints", "cache"])
def test_another_users_clone_is_passed_by(
    clone: Path, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(clone / part, NOBODY, NOBODY)
    assert workspace.root() == Path.cwd()
    said = capsys.readouterr().err
    assert "belongs to another user (uid 65534)" in said
    assert f"PALITUNE_HOME={clone} uses it all the same" in said
    assert workspace.root() == Path.cwd()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("SUDO_UID", str(NOBODY))  # who has asked for root's rights trusts himself
    assert workspace.root() == clone
    monkeypatch.delenv("SUDO_UID")
    monkeypatch.setenv("PALITUNE_HOME", str(clone))
    assert workspace.root() == clone
    if part in (".", "cache"):  # even then its programs are not run
        assert workspace.compiled() == clone.parent / "home" / "palitune" / "compiled"


@as_root
def test_a_stage_that_was_called_names_its_clone(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(clone / "cache", NOBODY, NOBODY)
    monkeypatch.setattr(sys, "argv", [str(clone / "playground" / "03-do_learn.py")])
    assert workspace.root() == clone


def test_a_published_name_is_not_taken(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("tiny", "checkpoints/pt-224", "3b-mix-448.npz"):
        with pytest.raises(UsageError, match="is the name of a published model"):
            workspace.check_free(workspace.checkpoint_to_write(name), overwrite=True)
    workspace.check_free(workspace.checkpoint_to_write("elsewhere/tiny"), overwrite=False)
    (clone / "checkpoints" / "tiny.npz").touch()  # as an earlier version let one
    assert workspace.checkpoint_to_read("tiny") == clone / "checkpoints" / "tiny.npz"
    assert "not the published model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["\udc83e", "a/\udcff"])
def test_a_name_that_no_file_of_utf8_can_hold_is_refused_at_once(clone: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not UTF-8"):
        workspace.checkpoint_to_write(name)


def shadows(folder: Path) -> None:
    for name in ("tqdm", "difflib", "argparse", "json", "csv", "jax"):
        (folder / f"{name}.py").write_text("import sys\nsys.exit(42)\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-m", "nothing", "data.jsonl"]])
def test_stages_run_no_module_of_the_data(arguments: list[str], run: Run, tmp_path: Path) -> None:
    shadows(tmp_path)
    for script in sorted((REPOSITORY / "playground").glob("*.py")):
        shutil.copy(script, tmp_path)
    scripts = [path for path in sorted(tmp_path.glob("[0-9]*.py")) if arguments == ["--help"] or "04" in path.name]
    for script in scripts:
        done = run(f"./{script.name}", *arguments, cwd=tmp_path)
        assert done.returncode == (0 if arguments == ["--help"] else 66), done.stderr


def test_the_module_runs_no_module_of_the_data(run: Run, tmp_path: Path) -> None:
    shadows(tmp_path)
    done = run(sys.executable, "-m", "palitune", "stats", "nothing.tsv", cwd=tmp_path)
    assert done.returncode == 66, done.stderr


def test_big_vision_that_others_can_write_to_is_not_run(tmp_path: Path) -> None:
    from palitune import reference
    from palitune.errors import ConfigurationError

    if reference._spec() is not None:
        pytest.skip("big_vision is installed")
    (tmp_path / "big_vision").mkdir()
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others can write to this folder, and it is code"):
        reference.find(tmp_path)

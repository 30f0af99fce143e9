"""Runs removed, and what keeps one from being removed."""

import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Run

from palitune.checkpoint import manifest, npz
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, UsageError
from palitune.run import removal
from palitune.storage import locks

pytestmark = pytest.mark.quick_programs


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_everything_of_a_run_goes(home: Path, run: Run) -> None:
    folder = home / "checkpoints"
    (folder / "swept.threshold.json").write_text("{}")
    (folder / "swept.run/tensorboard").mkdir()
    (folder / "swept.run/tensorboard/events").write_text("x" * 1000)
    before = everything(folder)
    gone = {name for name in before if name.startswith("swept")}
    size = sum(len(before[name] or b"") for name in gone)
    done = run("palitune", "runs", "rm", "swept", "--yes", cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (
        *(0, ""),
        f"removed swept.npz, swept.json, swept.threshold.json, swept.run: {size:,} bytes\n",
    )
    assert everything(folder) == {name: content for name, content in before.items() if name not in gone}
    again = run("palitune", "runs", "rm", "swept", "--yes", cwd=home)
    assert (again.returncode, "no run 'swept'" in again.stderr) == (66, True)
    both = run("palitune", "runs", "rm", "first", "lost.run", "first", "--yes", "--quiet", cwd=home)
    assert (both.returncode, both.stdout, both.stderr) == (0, "", "")
    assert everything(folder) == {}


def test_the_loop_of_a_run_goes_with_it(home: Path, run: Run) -> None:
    folder = home / "checkpoints"
    for name in ("first", "alone"):
        (folder / f"{name}.iterate/try-0-1.run").mkdir(parents=True)
        (folder / f"{name}.iterate/steps.jsonl").write_text("x" * 50)
    with (
        locks.held_folder(folder / "first.iterate/lock", "loop"),
        pytest.raises(OutputExistsError, match="its loop is at work"),
    ):
        removal.remove(["first"], yes=True)
    assert [one.names for one in removal.remove(["first"], yes=True)] == [
        "first.npz, first.json, first.run, first.iterate"
    ]
    done = run("palitune", "runs", "rm", "alone.iterate", "--yes", cwd=home)  # its run was lost
    assert (done.returncode, done.stderr) == (0, "removed alone.iterate: 50 bytes\n")
    assert not [name for name in everything(folder) if name.startswith(("first", "alone"))]


def test_nobody_is_asked_without_a_terminal(home: Path, run: Run) -> None:
    before = everything(home / "checkpoints")
    for stdin in ("", "y\n"):
        done = run("palitune", "runs", "rm", "swept", cwd=home, stdin=stdin)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--yes removes without asking" in done.stderr
    assert everything(home / "checkpoints") == before


@pytest.mark.parametrize(("said", "is_removed"), [("y\n", True), ("n\n", False), ("\n", False), ("yet\n", False)])
def test_somebody_is_asked_at_a_terminal(home: Path, environment: dict[str, str], said: str, is_removed: bool) -> None:
    main, side = pty.openpty()
    command = ["palitune", "runs", "rm", "swept"]
    with subprocess.Popen(
        command, cwd=home, env=environment | {"PALITUNE_HOME": str(home)}, stdin=side, stdout=side, stderr=side
    ) as process:
        os.close(side)
        shown = b""
        while b"remove this run? y/N" not in shown:
            assert select.select([main], [], [], 60)[0]
            shown += os.read(main, 1000)
        os.write(main, said.encode())
        assert process.wait(60) == 0
    os.close(main)
    assert b"swept: swept.npz, swept.json, swept.run (" in shown
    assert (home / "checkpoints/swept.npz").exists() != is_removed
    assert (home / "checkpoints/swept.run").exists() != is_removed


def test_links_are_not_followed(home: Path) -> None:
    folder, aside = home / "checkpoints", home / "aside"
    aside.mkdir()
    before = everything(folder)
    for name in ("swept.npz", "swept.json", "swept.run"):
        (folder / name).rename(aside / name)
        (folder / name).symlink_to(aside / name)
        with pytest.raises(UsageError, match="is a link, and nothing is removed through links"):
            removal.remove(["swept"], yes=True)
        (folder / name).unlink()
        (aside / name).rename(folder / name)
    assert everything(folder) == before
    # A link inside of the folder is removed, and not what it leads to.
    (aside / "precious").write_text("precious")
    (folder / "swept.run/link").symlink_to(aside / "precious")
    (folder / "swept.run/more").symlink_to(aside)
    removal.remove(["swept"], yes=True)
    assert (aside / "precious").read_text() == "precious"


def test_a_run_at_work_stays(home: Path) -> None:
    before = everything(home / "checkpoints")
    with (
        locks.exclusive(home / "checkpoints/swept.run/lock", "this run", keep=True),
        pytest.raises(OutputExistsError, match="this run is at work: process"),
    ):
        removal.remove(["first", "swept"], yes=True)
    assert everything(home / "checkpoints") == before


def test_a_base_stays(home: Path) -> None:
    folder = home / "checkpoints"
    for name, base in (("first", {"name": "tiny", "file": "/nowhere/tiny.npz", "hash": "x"}),):
        assert (manifest.read(folder / f"{name}.npz")["base"] or {})["name"] == base["name"]
    arrays = dict(npz.Checkpoint(folder / "first.npz"))
    for number in range(7):
        path = folder / f"heir-{number}.npz"
        file = str(folder / "swept.npz") if number else "/moved/swept.npz"
        base = {"name": "swept", "file": file, "hash": "x"}
        text = manifest.text(base=base, dtypes={}, config={}, data="x")
        npz.save(path, arrays, texts={manifest.MEMBER: text})
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04")
    before = everything(folder)
    with pytest.raises(UsageError) as error:
        removal.remove(["first", "swept"], yes=True)
    assert "swept is the base that others are made from: heir-0, heir-1, heir-2, heir-3, heir-4, and 2 more" in str(
        error.value
    )
    assert everything(folder) == before
    for path in folder.glob("heir-*"):
        path.unlink()
    assert sum(one.size for one in removal.remove(["first", "swept"], yes=True)) > 0


def test_what_is_no_run_stays(home: Path) -> None:
    (home / "checkpoints/notes.run").mkdir()
    (home / "checkpoints/notes.run/mine.txt").write_text("x")
    with pytest.raises(BadDataError, match="this is no run"):
        removal.remove(["notes"], yes=True)
    (home / "checkpoints/first.json").unlink()
    (home / "checkpoints/first.json").mkdir()
    with pytest.raises(UsageError, match=r"first.json is no file"):
        removal.remove(["first"], yes=True)
    for name in ("gone", "..", "/"):
        with pytest.raises(MissingInputError):
            removal.remove([name], yes=True)


def test_a_second_name_frees_nothing(home: Path) -> None:
    folder = home / "checkpoints"
    os.link(folder / "swept.npz", home / "kept.npz")
    size = (home / "kept.npz").stat().st_size
    whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "swept" in str(path))
    (removed,) = removal.remove(["swept"], yes=True)
    assert removed.size == whole - size
    assert (home / "kept.npz").stat().st_size == size


def test_a_run_elsewhere(home: Path) -> None:
    shutil.copytree(home / "checkpoints", home / "elsewhere")
    removal.remove(["elsewhere/swept"], yes=True)
    assert not list((home / "elsewhere").glob("swept*"))
    assert (home / "checkpoints/swept.npz").exists()
    json.loads((home / "elsewhere/first.json").read_text())

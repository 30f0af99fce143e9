"""A split's folder is one split or the other, whenever its process is killed, and what else is in it stays."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palitune.data.split import atomic_folder
from palitune.data.split.splitter import Amount, SplitOptions, split
from palitune.errors import OutputExistsError
from palitune.storage import new_folder

WISH = SplitOptions(validation=Amount(4), near="ignore")
FOLDS = SplitOptions(folds=2, near="ignore")
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "open", "ctypes.dlsym")
PARTS = ("train.tsv", "valid.tsv")
# JAX has threads where other tests of this process have imported it; a split has no use for them.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork:RuntimeWarning")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "data.tsv"
    path.write_text("".join(f"{number}.jpg\t{'yes' if number % 2 else 'no'}\n" for number in range(12)))
    return path


def made(source: Path, seed: int, wish: SplitOptions = WISH, overwrite: bool = True) -> dict[str, bytes]:
    split(source, source.parent / "set1", wish, seed, overwrite)
    return content(source.parent / "set1")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def killed(action: Callable[[], object], number: int) -> bool:
    """Whether a child process was killed at so many changes of files, before its end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if event in EVENTS:
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def no_exchange(made: Path, folder: Path, aside: Path) -> Path:
    """The exchange on volumes that have none."""
    folder.rename(aside)
    made.rename(folder)
    return aside


@pytest.mark.slow
@pytest.mark.parametrize("has_exchange", [True, False])
@pytest.mark.parametrize("wish", [WISH, FOLDS])
def test_killed_at_every_step(
    source: Path, wish: SplitOptions, has_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_exchange:
        monkeypatch.setattr(new_folder, "exchange", no_exchange)
    folder = source.parent / "set1"
    new, old = made(source, 7, wish), made(source, 1)
    assert new != old
    (folder / "notes.txt").write_text("mine")
    (folder / "images").mkdir()
    (folder / "images/a.jpg").write_text("mine too")
    mine = {"notes.txt": b"mine", "images/a.jpg": b"mine too"}
    number, seen = 1, set()
    while killed(lambda: split(source, folder, wish, 7, True), number):
        now = content(folder) if folder.is_dir() else {}
        found = {name: text for name, text in now.items() if name not in mine}
        assert found in ((old, new) if has_exchange or found else ({},)), number
        seen.add("new" if found == new else "old")
        assert made(source, 1) == old | mine  # the next one puts everything right
        assert left_over(source.parent) == []
        number += 1
    assert number > 20
    assert seen == {"old", "new"}
    assert content(folder) == new | mine


def test_a_killed_first_split_leaves_nothing_for_good(source: Path) -> None:
    assert killed(lambda: split(source, source.parent / "set1", WISH, 1), 12)
    assert len(left_over(source.parent)) == 1
    made(source, 1)
    assert left_over(source.parent) == []


def test_one_process_at_a_time_makes_a_split(source: Path) -> None:
    folder = source.parent / "set1"
    with atomic_folder.fresh(folder):
        with pytest.raises(OutputExistsError, match=f"process {os.getpid()} makes a split of this name"):
            made(source, 1)
        split(source, source.parent / "set2", WISH, 1)
    made(source, 1)
    assert sorted(os.listdir(source.parent)) == ["data.tsv", "set1", "set2"]


def test_without_locks_a_living_process_counts(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palitune.storage.locks.try_lock", lambda descriptor: None)
    dead = source.parent / ".set1.999999999-0123abcd"
    dead.mkdir()
    (dead / "train.tsv").write_text("a\tyes\n")
    with atomic_folder.fresh(source.parent / "set1"):
        assert not dead.exists()
        with pytest.raises(OutputExistsError, match="makes a split"):
            made(source, 1)


def test_a_link_to_a_folder_stays_one(source: Path) -> None:
    real = source.parent / "real"
    real.mkdir()
    (source.parent / "set1").symlink_to(real)
    first, second = made(source, 1), made(source, 2)
    assert first != second
    assert (source.parent / "set1").is_symlink()
    assert sorted(os.listdir(real)) == ["shuffle.tsv", "train.tsv", "valid.tsv"]

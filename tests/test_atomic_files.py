"""Files on volumes that refuse what others do, in folders that somebody else has made, and under several processes."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palitune.errors import OutputExistsError, StorageError
from palitune.run.folder import RunFolder
from palitune.run.metrics_log import MetricsLog
from palitune.storage import atomic_files, files, locks

PRECIOUS = b"three years of work\n"
REFUSED = ("EINVAL", "EPERM", "EACCES", "ENOTSUP", "ENOSYS")


@contextlib.contextmanager
def refusing(monkeypatch: pytest.MonkeyPatch, call: str, code: str, folders: bool = False) -> Iterator[list[Any]]:
    """A volume that answers a system call so; `folders` alone with fsync. Yields what it was called with."""
    number, seen, real = getattr(errno, code), [], getattr(os, call)

    def refuse(first: Any, *rest: Any, **more: Any) -> Any:
        if folders and not stat.S_ISDIR(os.fstat(first).st_mode):
            return real(first, *rest, **more)
        seen.append(first)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        yield seen


@pytest.mark.parametrize("code", REFUSED)
@pytest.mark.parametrize(("call", "folders"), [("fsync", True), ("fsync", False), ("chmod", False), ("utime", False)])
def test_what_a_network_folder_refuses_is_done_without(
    call: str, folders: bool, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with refusing(monkeypatch, call, code, folders) as seen:
        atomic_files.write(path, b"new")
        with contextlib.closing(MetricsLog(RunFolder(tmp_path / "a.npz"))) as metrics:
            metrics.add({"step": 1})
            assert metrics.sync() == len(b'{"step": 1}\n')
    assert bool(seen) == (call == "fsync")
    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith(".")] == []


def test_a_broken_disk_after_the_rename_is_not_said_to_have_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with refusing(monkeypatch, "fsync", "EIO", folders=True), pytest.raises(StorageError) as caught:
        atomic_files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert "Nothing there was changed" not in str(caught.value)
    assert os.strerror(errno.EIO) in str(caught.value)


@pytest.mark.parametrize("code", ["EEXIST", "EPERM", "EACCES"])
def test_a_folder_that_renames_to_free_names_only(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, number = os.replace, getattr(errno, code)

    def replace(source: Any, target: Any) -> None:
        if os.path.exists(target):
            raise OSError(number, os.strerror(number))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    atomic_files.write(tmp_path / "out", b"old")
    atomic_files.write(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(PRECIOUS)
    (tmp_path / "out").symlink_to("precious")
    atomic_files.write(tmp_path / "out", b"new")
    assert (tmp_path / "precious").read_bytes() == PRECIOUS
    assert (tmp_path / "out").read_bytes() == b"new"


HOLDER = """
import sys
from pathlib import Path
from palitune.storage import atomic_files, files, locks
with {what}:
    print("inside", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(what: str) -> Iterator["subprocess.Popen[str]"]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER.format(what=what)], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "inside\n"
        yield process
        process.kill()


def test_one_process_at_a_time_writes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with another_process(f"atomic_files.replacing(Path({str(path)!r}))") as process:
        with pytest.raises(OutputExistsError, match="another process is writing this file"):
            atomic_files.write(path, b"mine")
        atomic_files.write(path, b"mine", shared=True)
        process.kill()
        process.wait()
        assert len(atomic_files.leftovers(path)) == 1  # what the kill left,
        atomic_files.write(path, b"mine too")
    assert os.listdir(tmp_path) == ["out"]  # and the next one to write has removed
    assert path.read_bytes() == b"mine too"


def test_a_lock_has_one_holder_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("process 1 on nowhere since yesterday\n")  # left over
    with another_process(f"locks.exclusive(Path({str(path)!r}), 'it')") as process:
        held = rf"another process is at work on it: process {process.pid} on .*\. Wait for it"
        with pytest.raises(OutputExistsError, match=held), locks.exclusive(path, "it"):
            pass
        process.kill()
        process.wait()
        with locks.exclusive(path, "it"):
            assert f"process {os.getpid()} " in path.read_text()
    assert not path.exists()


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "folder"])
def test_a_lock_in_whose_place_is_something_else(kind: str, tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "run" / "lock"
    precious.write_bytes(PRECIOUS)
    path.parent.mkdir()
    {
        "link": lambda: path.symlink_to(precious),
        "dangling": lambda: path.symlink_to(tmp_path / "nothing"),
        "hard link": lambda: path.hardlink_to(precious),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
    }[kind]()
    with pytest.raises(StorageError, match="cannot write"), locks.exclusive(path, "it"):
        pass
    with pytest.raises(StorageError, match="cannot write"):
        files.open_to_append(path)
    assert precious.read_bytes() == PRECIOUS
    assert not (tmp_path / "nothing").exists()


def test_where_there_are_no_locks_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.exclusive(tmp_path / "lock", "it"):
        atomic_files.write(tmp_path / "out", b"new")
    assert "there are no locks here" in capsys.readouterr().err


@pytest.mark.parametrize("link", [False, True])
def test_metrics_never_reach_what_shares_their_name(link: bool, tmp_path: Path) -> None:
    folder, copy = RunFolder(tmp_path / "a.npz"), tmp_path / "copy"
    folder.path.mkdir()
    line = b'{"step": 1}\n'
    copy.write_bytes(line * 2)
    if link:
        folder.metrics.symlink_to(copy)
    else:
        folder.metrics.hardlink_to(copy)
    with contextlib.closing(MetricsLog(folder, len(line))) as metrics:
        metrics.add({"step": 2})
    assert copy.read_bytes() == line * 2
    assert folder.metrics.read_bytes() == line + b'{"step": 2}\n'


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
def test_only_regular_files_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        files.read(path, 100)


def test_a_file_behind_a_link_is_read_as_far_as_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("x")
    assert files.read(tmp_path / "link", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        files.read(tmp_path / "link", 4)


def test_whether_a_file_can_be_written_is_found_beside_another_process_that_cleans_up(tmp_path: Path) -> None:
    """Two runs of one name: what one tries, the other may take for a leftover."""
    path, over = tmp_path / "model.npz", threading.Event()

    def clean() -> None:
        while not over.is_set():
            for leftover in atomic_files.leftovers(path):
                leftover.unlink(missing_ok=True)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(500):
            atomic_files.check_writable(path)
    finally:
        over.set()
        cleaner.join()
    assert not list(tmp_path.iterdir())

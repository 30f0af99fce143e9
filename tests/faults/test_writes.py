"""Every write, fsync and rename of a save fails in turn, as on a full or a broken disk: what was there stays whole."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from palitune.checkpoint import manifest, npz, run_state
from palitune.errors import StorageError
from palitune.run.folder import RunFolder
from palitune.run.metrics_log import MetricsLog
from palitune.storage import atomic_files

OLD: dict[str, npt.NDArray[Any]] = {"a": np.arange(30_000, dtype=np.float32), "b": np.ones((3, 4), np.float16)}
NEW = {path: array + 1 for path, array in OLD.items()}
MOST = 500  # calls of any save here; more would mean that the counting is wrong


class Disk:
    """Fails at the call of a given number, of those that write, sync, rename, or cut off."""

    def __init__(self, fails_at: int, code: int) -> None:
        self.fails_at, self.code, self.calls = fails_at, code, 0

    def tick(self) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise OSError(self.code, os.strerror(self.code))


@contextlib.contextmanager
def failing(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            disk.tick()
            return super().write(content)

    def opened(descriptor: int, mode: str, buffering: int = -1) -> Any:
        raw = Raw(descriptor, mode.replace("b", ""))
        return raw if buffering == 0 else io.BufferedRandom(raw)

    def ticking(function: Any) -> Any:
        def call(*arguments: Any, **rest: Any) -> Any:
            disk.tick()
            return function(*arguments, **rest)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", opened)
        for name in ("fsync", "replace", "rename", "ftruncate"):
            patch.setattr(os, name, ticking(getattr(os, name)))
        yield


def checkpoint(folder: RunFolder, arrays: dict[str, Any], text: str) -> None:
    content = manifest.text(base=None, dtypes={p: a.dtype for p, a in arrays.items()}, config={"prompt": text}, data="")
    npz.save(folder.target, arrays, texts={manifest.MEMBER: content})
    manifest.write(folder.target, content)


def state(folder: RunFolder, arrays: dict[str, Any], text: str) -> None:
    run_state.save(folder.state, {"trainable": arrays}, {"text": text})


def configuration(folder: RunFolder, arrays: dict[str, Any], text: str) -> None:
    folder.write_config({"text": text * 5_000})


def metrics(folder: RunFolder, arrays: dict[str, Any], text: str) -> None:
    with contextlib.closing(MetricsLog(folder)) as book:
        book.add({"step": 1, "text": text})
        book.sync()
        book.write_table()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("save", [checkpoint, state, configuration, metrics])
def test_a_save_that_fails_leaves_what_was_there(
    save: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "mine.npz")
    folder.path.mkdir()
    for number in range(1, MOST):
        save(folder, OLD, "old")
        before = {path: path.read_bytes() for path in folder.outputs() if path.exists()}
        disk = Disk(number, code)
        with failing(disk, monkeypatch):
            failed = message_of(save, folder)
        if failed is None:
            break
        assert os.strerror(code) in failed
        assert str(tmp_path) in failed
        for path in (folder.target, folder.state):
            if path in before:
                whole(path, before[path])
        for path in folder.outputs():
            assert atomic_files.leftovers(path) == []
    assert disk.calls < number
    assert number > 3
    print(f"{save.__name__}, {errno.errorcode[code]}: each of {number - 1} calls failed in turn, nothing was lost")
    after = {path: path.read_bytes() for path in folder.outputs() if path.exists()}
    assert after != before or save is metrics


def message_of(save: Any, folder: RunFolder) -> str | None:
    """What a save that fails says."""
    try:
        save(folder, NEW, "new")
    except StorageError as error:
        return str(error)
    return None


def whole(path: Path, before: bytes) -> None:
    """The old file, byte for byte, or after its rename the new one; never anything between."""
    if path.read_bytes() == before:
        return
    assert npz.damaged(path) is None
    opened = npz.Checkpoint(path)
    for name in opened:
        wanted = NEW[name.removeprefix("trainable/")]
        assert np.array_equal(opened[name], wanted)


def test_the_message_says_how_much_room_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(Disk(3, errno.ENOSPC), monkeypatch), pytest.raises(StorageError) as caught:
        npz.save(tmp_path / "a.npz", NEW)
    assert "No space left on device (120,024 bytes are needed)" in str(caught.value)


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a.npz")
    folder.path.mkdir()
    with pytest.raises(StorageError, match=r"this run takes 1,000,000,000,000,000,000 bytes and [\d,]+ are free"):
        folder.check_space(10**18)

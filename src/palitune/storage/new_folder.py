"""A folder that appears whole or not at all: it is filled beside its place, and moved there at the end.

While it is filled it is hidden, `.NAME.xxxxxxxx.new`, and locked, so that the folder of a running process can be told
from one that a killed process left behind, which the next one removes.
"""

import contextlib
import ctypes
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from palitune.errors import OutputExistsError, PalituneError, StorageError, listed
from palitune.storage import atomic_files, files, locks

EXCHANGE = 2  # renameat2's flag
HERE = -100  # AT_FDCWD: paths are relative to the current folder
HINT = "Name another folder"


def check(folder: Path, overwrite: bool, is_ours: Callable[[str], bool]) -> None:
    """Raises unless a new folder may take this place: nothing is there, an empty folder, or one to replace.

    Args:
      overwrite: whether a folder may be replaced.
      is_ours: whether a file of this name can be in a folder of the same kind; others are not removed.

    Raises:
      OutputExistsError: something is there that is not to be replaced.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise OutputExistsError("something other than a folder has this name", where=str(folder), hint=HINT)
    there = sorted(folder.iterdir())
    if there and not overwrite:
        raise OutputExistsError("this folder exists", where=str(folder), hint=f"{HINT}, or --overwrite")
    if others := [path.name for path in there if path.is_dir() or not is_ours(path.name)]:
        what = f"it also has {listed(others)}, which would be lost"
        raise OutputExistsError(what, where=str(folder), hint=f"{HINT}, or move that elsewhere")


@contextlib.contextmanager
def replacing(folder: Path, overwrite: bool, is_ours: Callable[[str], bool]) -> Iterator[Path]:
    """Makes an empty folder that takes the place of `folder` when the block ends without an exception.

    Raises:
      OutputExistsError: as `check`, at the beginning and at the end; or another process writes this folder.
      StorageError: the folder cannot be made or moved.
    """
    check(folder, overwrite, is_ours)
    made, lock = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.new"), None
    try:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _clean_up(folder)
            made.mkdir()
            lock = os.open(made, os.O_RDONLY)
            locks.try_lock(lock)
        except OSError as error:
            raise _unwritable(error, folder) from None
        try:
            yield made
        except PalituneError as error:  # the hidden folder is gone when this is read
            error.where = error.where and error.where.replace(str(made), str(folder))
            raise
        check(folder, overwrite, is_ours)
        try:
            _install(made, folder)
        except OSError as error:
            raise _unwritable(error, folder) from None
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(made, ignore_errors=True)


def exchange(made: Path, folder: Path, aside: Path) -> Path:
    """Puts the folder `made` in the place of `folder`, in one step where the volume can.

    Where it cannot, there is no folder for a moment; a process that is killed then leaves the old one at `aside`.

    Returns:
      Where the old one is then.
    """
    with contextlib.suppress(AttributeError, OSError):  # the C library or the volume does not have this call
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        if rename(HERE, os.fsencode(made), HERE, os.fsencode(folder), EXCHANGE) == 0:
            return made
    folder.rename(aside)
    try:
        made.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    return aside


def _install(made: Path, folder: Path) -> None:
    atomic_files.sync_folder(made)
    if not folder.is_dir():
        made.rename(folder)
    else:
        old = exchange(made, folder, made.with_suffix(".old"))
        atomic_files.sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    atomic_files.sync_folder(folder.parent)


def _clean_up(folder: Path) -> None:
    """Removes what killed processes left behind. Raises OutputExistsError where a process is still at work."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}\.(new|old)")
    for path in sorted(folder.parent.iterdir()):
        found = name.fullmatch(path.name)
        if found is None or path.is_symlink() or not path.is_dir():
            continue
        if found[1] == "old" and not os.path.lexists(folder):
            path.rename(folder)
        elif found[1] == "new" and _is_locked(path):
            what = "another process is writing this folder"
            raise OutputExistsError(what, where=str(folder), hint="Wait for it, or name another folder")
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | files.NO_LINK)
    try:
        return locks.try_lock(descriptor) is False
    finally:
        os.close(descriptor)


def _unwritable(error: OSError, folder: Path) -> StorageError:
    hint = "Name another place, or make this one writable"
    return StorageError(f"cannot write: {error.strerror or error}", where=str(folder), hint=hint)

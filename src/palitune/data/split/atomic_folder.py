"""The folder of a split, which is replaced by another one in a single step.

A new split is written into a hidden folder beside it, `.NAME.process-xxxxxxxx`, which stays locked as long as its
process runs. The next process cleans up what a killed one left behind.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from palitune.data.formats.lines import KINDS
from palitune.errors import OutputExistsError, StorageError
from palitune.storage import atomic_files, files, locks, new_folder

FILES = rf"(?:shuffle|train|valid|test)\.(?:{'|'.join(KINDS)})"
WRITTEN = re.compile(FILES)
FOLD = re.compile(r"fold\d+")
HALF_WRITTEN = re.compile(rf"\.{FILES}\.[a-z0-9_]{{8}}")
ASIDE = "aside"
ATTEMPTS = 100  # to lock the parent folder
PAUSE = 0.05  # seconds between two attempts


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Creates a new folder beside `folder`, and removes it at the end unless it has been installed.

    Raises:
      OutputExistsError: another process is writing a split of this name.
      StorageError: the folder cannot be written.
    """
    made = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
    lock = None
    try:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked_briefly(folder.parent):
                _clean_up(folder)
                made.mkdir()
                lock = os.open(made, os.O_RDONLY)
                locks.try_lock(lock)
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", where=str(folder)) from None
        yield made
    finally:
        with contextlib.suppress(OSError):
            _remove(made)  # only a split's own files: after a swap, the user's files may be in it
        if lock is not None:
            os.close(lock)


def install(made: Path, folder: Path, overwrite: bool) -> None:
    """Replaces `folder` by the finished folder `made`, in one step; if both are the same split, nothing changes.

    Other files in the old folder are moved to the new one.

    Raises:
      OutputExistsError: `folder` is another split, and `overwrite` is false; or it is a file.
    """
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise OutputExistsError("a file has this name", where=str(folder), hint="Use another name with -n")
        made.rename(folder)
        atomic_files.sync_folder(folder.parent)
        return
    new, old = contents(made), contents(folder)
    if new == old and all(_same(made / name, folder / name) for name in new):
        return
    if old and not overwrite:
        hint = "Use another name with -n, or --overwrite"
        raise OutputExistsError("another split is there already", where=str(folder), hint=hint)
    with files.optional():
        made.chmod(folder.stat().st_mode & 0o7777)
    for part in (*(made / name for name in sorted(new) if "/" in name), made):
        atomic_files.sync_folder(part if part.is_dir() else part.parent)
    aside = made.with_name(f".{folder.name}.{ASIDE}-{secrets.token_hex(4)}")
    before = new_folder.exchange(made, folder, aside)  # what a killed process leaves aside, the next one puts back
    atomic_files.sync_folder(folder.parent)
    _carry(before, folder)
    _remove(before)


def contents(folder: Path) -> set[str]:
    """Returns the names of the files in a folder that belong to a split."""
    names = os.listdir(folder)
    found = {name for name in names if WRITTEN.fullmatch(name)}
    for fold in filter(FOLD.fullmatch, names):
        if (folder / fold).is_dir():
            found |= {f"{fold}/{name}" for name in os.listdir(folder / fold) if WRITTEN.fullmatch(name)}
    return {name for name in found if (folder / name).is_file()}


def _clean_up(folder: Path) -> None:
    """Finishes what killed processes began. Raises OutputExistsError if one of them is still running."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.(?:(\d+|{ASIDE})-)?[a-z0-9_]{{8}}")
    with os.scandir(folder.parent) as entries:
        left = [(name.fullmatch(entry.name), folder.with_name(entry.name)) for entry in entries if _is_folder(entry)]
    for found, path in sorted(((found, path) for found, path in left if found), key=lambda pair: pair[1]):
        owner = found[1] or ""
        if _is_alive(path, int(owner) if owner.isdigit() else None):
            what = f"process {owner} makes a split of this name" if owner.isdigit() else "another process is at work"
            raise OutputExistsError(what, where=str(folder), hint="Wait for it, stop it, or use another name with -n")
        if owner == ASIDE and not os.path.lexists(folder):
            path.rename(folder)
            continue
        if folder.is_dir():
            _carry(path, folder)
        _remove(path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _carry(before: Path, folder: Path) -> None:
    """Moves files that do not belong to a split, except those whose names exist in `folder`."""
    for path in list(before.iterdir()):
        if WRITTEN.fullmatch(path.name) or HALF_WRITTEN.fullmatch(path.name):
            continue
        target = folder / path.name
        if FOLD.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            if any(not WRITTEN.fullmatch(one.name) and not HALF_WRITTEN.fullmatch(one.name) for one in path.iterdir()):
                target.mkdir(exist_ok=True)
                _carry(path, target)
        elif not os.path.lexists(target):
            path.rename(target)


def _remove(before: Path) -> None:
    """Removes the files of a split, and the folder if nothing else is in it."""
    for path in [*before.iterdir(), *(one for fold in before.glob("fold*") for one in fold.iterdir())]:
        if (WRITTEN.fullmatch(path.name) or HALF_WRITTEN.fullmatch(path.name)) and not path.is_dir():
            path.unlink(missing_ok=True)
    for path in (*before.glob("fold*"), before):
        with contextlib.suppress(OSError):  # there are other files in it
            path.rmdir()


def _is_alive(path: Path, process: int | None) -> bool:
    """Returns whether the process of a hidden folder is running: it holds a lock, or, without locks, it exists."""
    descriptor = os.open(path, os.O_RDONLY | files.NO_LINK)
    try:
        if (free := locks.try_lock(descriptor)) is not None:
            return not free
    finally:
        os.close(descriptor)
    return process is not None and locks.is_running(process)


@contextlib.contextmanager
def _locked_briefly(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder for a moment, where there are locks; it does not wait long for another process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(ATTEMPTS):
            if locks.try_lock(descriptor) is not False:
                break
            time.sleep(PAUSE)
        yield
    finally:
        os.close(descriptor)


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
    return True

"""Files that appear whole or not at all: a new file is written beside the old one, synced, and renamed over it.

A lock on the new file tells a writer that is at work from what a killed one left behind.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune import files
from palitune.errors import OutputExistsError, StorageError
from palitune.locks import try_lock

UNTOUCHED = "Nothing there was changed"


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the volume can do that to folders.

    Raises:
      StorageError: the disk is broken.
    """
    try:
        with files.optional():  # Windows opens no folders
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        what = f"what was written may not outlast a power cut: {error.strerror or error}"
        raise StorageError(what, where=str(folder), hint="Check the disk") from error


def leftovers(path: Path) -> list[Path]:
    """What `replacing` left of writing `path` when it was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    try:
        with os.scandir(path.parent) as entries:
            return [path.parent / entry.name for entry in entries if name.fullmatch(entry.name)]
    except OSError:
        return []


def check_space(folder: Path, size: int, what: str) -> None:
    """Raises StorageError unless the volume of `folder` has `size` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < size:
        hint = "Make room, or name another place"
        raise StorageError(f"{what} takes {size:,} bytes and {free:,} are free", where=str(folder), hint=hint)


@contextlib.contextmanager
def replacing(path: Path, size: int | None = None, shared: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place, in one rename, when the block ends without an exception.

    What an earlier process left half-written there when it was killed is removed. A link at `path` is replaced, and
    what it leads to is left alone.

    Args:
      size: bytes that are going to be written, for the message when they do not fit.
      shared: several processes may write the same content at once, as into a cache.

    Raises:
      OutputExistsError: another process is writing `path`.
      StorageError: the disk is full, read-only or otherwise unwilling; what was at `path` is untouched.
    """
    temporary: Path | None = None
    try:
        with _blamed(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not shared:
                _remove_stale(path)
            descriptor, temporary = _beside(path)
        with _blamed(path, size), os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            with files.optional():
                os.fsync(file.fileno())
            _put(temporary, path)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def _blamed(path: Path, size: int | None) -> Iterator[None]:
    """What goes wrong before `path` is replaced, as StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC and size is not None:
            reason += f" ({size:,} bytes are needed)"
        raise StorageError(f"cannot write: {reason}", where=str(path), hint=UNTOUCHED) from error


def _beside(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, open, and locked for as long as it is: what nobody has locked was left by a kill."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:  # with the mode that the person's umask gives, so that none has to be set
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | files.NO_LINK | files.BINARY, 0o666)
        except FileExistsError:
            continue
        try_lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # somebody who cleans up was quicker


def _remove_stale(path: Path) -> None:
    """Removes what killed processes left of writing `path`; raises OutputExistsError if one is still at work."""
    for temporary in leftovers(path):
        try:
            descriptor = os.open(temporary, os.O_RDWR | files.NO_LINK)
        except OSError:
            continue
        try:
            taken = try_lock(descriptor)
            if taken is False:
                what = "another process is writing this file"
                raise OutputExistsError(what, where=str(path), hint="Wait for it, or name another file")
            if taken and stat.S_ISREG(os.fstat(descriptor).st_mode):
                temporary.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _put(temporary: Path, path: Path) -> None:
    """Renames over what is there; where a network folder only renames to what is not, the old one goes aside first."""
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in files.REFUSED | {errno.EEXIST} or not path.is_file() or path.is_symlink():
            raise
        old = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        with contextlib.suppress(OSError):
            old.unlink()


def check_writable(path: Path) -> None:
    """Raises StorageError if no file can be made at `path`: before the work whose result is to go there."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):  # a name as long as it will be
            pass
    except OSError as error:
        hint = "Name another place, or make this one writable"
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from None


def write(path: Path, content: bytes, shared: bool = False) -> None:
    """`content` at `path`, whole or not at all. Raises as `replacing`."""
    with replacing(path, shared=shared) as file:
        file.write(content)

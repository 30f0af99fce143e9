"""Files that appear whole or not at all: a new file is written beside the old one, synced, and renamed over it.

The new file is locked while it is written, so that the file of a running process can be told from one that a killed
process left behind.
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

from palitune.errors import OutputExistsError, StorageError
from palitune.storage import files
from palitune.storage.locks import try_lock

UNTOUCHED = "Nothing there was changed"


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, if the volume supports that for folders.

    Raises:
      StorageError: the disk is defective.
    """
    try:
        with files.optional():  # Windows cannot open folders
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        what = f"what was written may not survive a power cut: {error.strerror or error}"
        raise StorageError(what, where=str(folder), hint="Check the disk") from error


def leftovers(path: Path) -> list[Path]:
    """Returns the half-written files that killed processes left beside `path`."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    try:
        with os.scandir(path.parent) as entries:
            return [path.parent / entry.name for entry in entries if name.fullmatch(entry.name)]
    except OSError:
        return []


def check_space(folder: Path, size: int, what: str) -> None:
    """Raises StorageError unless the volume of `folder` has `size` free bytes; `what` needs them."""
    free = shutil.disk_usage(folder).free
    if free < size:
        hint = "Make room, or name another place"
        raise StorageError(f"{what} takes {size:,} bytes and {free:,} are free", where=str(folder), hint=hint)


@contextlib.contextmanager
def replacing(path: Path, size: int | None = None, shared: bool = False) -> Iterator[IO[bytes]]:
    """Opens a new binary file that replaces `path`, in one rename, when the block ends without an exception.

    Half-written files of killed processes are removed first. A link at `path` is itself replaced; the file that it
    leads to is not touched.

    Args:
      size: the number of bytes that will be written, for the message when they do not fit.
      shared: several processes may write the same content at the same time, as into a cache.

    Raises:
      OutputExistsError: another process is writing `path`.
      StorageError: the file cannot be written, because the disk is full or read-only, for example; the old file at
        `path` is unchanged.
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
    """Raises an OSError from before `path` is replaced as StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC and size is not None:
            reason += f" ({size:,} bytes are needed)"
        raise StorageError(f"cannot write: {reason}", where=str(path), hint=UNTOUCHED) from error


def _beside(path: Path) -> tuple[int, Path]:
    """Opens and locks a new file beside `path`; a file like it that nobody has locked was left by a killed process."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:  # the file gets its mode from the user's umask
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | files.NO_LINK | files.BINARY, 0o666)
        except FileExistsError:
            continue
        try_lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # another process has already removed it as a leftover


def _remove_stale(path: Path) -> None:
    """Removes what killed processes left beside `path`. Raises OutputExistsError if a process is still writing."""
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
    """Renames `temporary` to `path`. Some network folders do not rename over a file: there the old one moves first."""
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
    """Raises StorageError if no file can be created at `path`, so that this is known before the work begins."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # as long as the name will be
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)  # another process may have removed it as a leftover
    except OSError as error:
        hint = "Name another place, or make this one writable"
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from None


def write(path: Path, content: bytes, shared: bool = False) -> None:
    """Writes `content` to `path`, whole or not at all. Raises as `replacing`."""
    with replacing(path, shared=shared) as file:
        file.write(content)

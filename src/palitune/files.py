"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.errors import OutputExistsError, StorageError


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the system can do that to folders."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporaries(path: Path) -> list[Path]:
    """What `whole` left of writing `path` when it was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    return [other for other in path.parent.glob(".*") if name.fullmatch(other.name)] if path.parent.is_dir() else []


def check_space(folder: Path, size: int, what: str) -> None:
    """Raises StorageError unless the volume of `folder` has `size` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < size:
        hint = "Make room, or name another place"
        raise StorageError(f"{what} takes {size:,} bytes and {free:,} are free", where=str(folder), hint=hint)


@contextlib.contextmanager
def whole(path: Path, size: int | None = None) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place, in one rename, when the block ends without an exception.

    Args:
      size: bytes that are going to be written, for the message when they do not fit.

    Raises:
      StorageError: the disk is full, read-only or otherwise unwilling; what was at `path` is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        # NamedTemporaryFile is for its owner's eyes alone; what people keep follows their umask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC and size is not None:
            reason += f" ({size:,} bytes are needed)"
        raise StorageError(f"cannot write: {reason}", where=str(path), hint="Nothing there was changed") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Nobody else is inside for this `path`, an empty file; the lock ends with the process, however that ends.

    Where there are no locks (some network volumes, Windows without a container) everybody is let in.

    Raises:
      OutputExistsError: somebody is inside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"another process is at work on {what}"
            raise OutputExistsError(problem, where=str(path), hint="Wait for it") from None
        except (ImportError, OSError):
            pass
        yield


def member(archive: Path, name: str) -> str | None:
    """A text inside a zip archive; None if there is none, or no archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(name).decode() if name in opened.namelist() else None
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):  # damage can look like an unknown kind of archive
        return None


def write(path: Path, content: bytes) -> None:
    """`content` at `path`, whole or not at all."""
    with whole(path) as file:
        file.write(content)

"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.errors import StorageError


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the system can do that to folders."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place, in one rename, when the block ends without an exception.

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
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        hint = "Name another place, or make this one writable"
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from None


def write(path: Path, content: bytes) -> None:
    """`content` at `path`, whole or not at all."""
    with whole(path) as file:
        file.write(content)

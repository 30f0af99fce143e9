"""Opening files safely: in a folder that somebody else has made, a name may be a link, a pipe or a device.

What is written never goes through a link, and what is read is a regular file. Some volumes (network folders, those of
Windows) refuse system calls that a program can do without, such as syncing a folder or taking a lock: `optional`.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.errors import BadDataError, MissingInputError, PalituneError, StorageError, UsageError, printable

# What a volume answers to a system call that it does not know, or does not do for everybody.
REFUSED = frozenset(
    {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF}
)
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})  # of a place that is only to be read
# Windows has neither of the first two.
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def optional() -> Iterator[None]:
    """For a system call that things are as right without, which a volume may refuse; a broken disk's word is raised."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise


def reason_of(error: OSError) -> str:
    """Why a file could not be opened, for a message."""
    return "a link is there, and none is followed" if error.errno == errno.ELOOP else error.strerror or str(error)


def check_ours(descriptor: int, path: Path) -> None:
    """Raises StorageError for what is no regular file, or has another name elsewhere."""
    found = os.fstat(descriptor)
    wrong = None if stat.S_ISREG(found.st_mode) else "it is no regular file"
    wrong = wrong or ("it has another name elsewhere (a hard link)" if found.st_nlink > 1 else None)
    if wrong:
        raise StorageError(f"cannot write: {wrong}", where=str(path), hint="Remove it, or use another name")


def open_to_append(path: Path) -> IO[bytes]:
    """A file, made if need be, to whose end unbuffered bytes go: never through a link, nor into another name's file.

    Raises:
      StorageError: something else is there, or the disk is unwilling.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK | BINARY, 0o666)
        file = os.fdopen(descriptor, "ab", buffering=0)
    except OSError as error:
        raise StorageError(f"cannot write: {reason_of(error)}", where=str(path)) from error
    try:
        check_ours(file.fileno(), path)
    except StorageError:
        file.close()
        raise
    return file


def open_to_read(path: Path) -> IO[bytes]:
    """A regular file, or what a link to one leads to.

    Raises:
      OSError: there is none, or a pipe, a device or a folder, which is not opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise _irregular(path)
    descriptor = os.open(path, os.O_RDONLY | BINARY | NO_LINK & ~getattr(os, "O_NOFOLLOW", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(path)
    return os.fdopen(descriptor, "rb")


def _irregular(path: Path) -> OSError:
    if path.is_dir():
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return OSError(errno.EINVAL, "it is no regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """The content of a regular file. Raises OSError as `open_to_read`, and ValueError beyond `most` bytes."""
    with open_to_read(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def unreadable(error: OSError, path: Path, what: str) -> PalituneError:
    """What to tell of a file that cannot be opened or read: that it is damaged only if it is."""
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"no such {what}", where=str(path))
    if isinstance(error, PermissionError):
        hint = "Check whose it is, and chmod u+r"
        return MissingInputError(f"this {what} cannot be read: {reason}", where=str(path), hint=hint)
    if _is_there(path) and not path.is_file():
        return BadDataError(f"this is no {what}: {reason}", where=str(path))
    if isinstance(error, NotADirectoryError) or not _is_there(path):
        return MissingInputError(f"no such {what} ({reason})", where=str(path))
    return StorageError(f"this {what} cannot be read: {reason}", where=str(path), hint="Check the disk")


def _is_there(path: Path) -> bool:
    try:
        return stat.S_IFMT(path.stat().st_mode) != 0
    except (OSError, ValueError):
        return False


def require_text(name: str) -> None:
    """Raises UsageError for a name that no file of UTF-8 can hold, and a run writes down what it learned from."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        hint = "Rename it (convmv -f CP932 -t UTF-8 --notest NAME, where it comes from Japanese Windows)"
        raise UsageError(f"the name {shown} is not UTF-8", hint=hint) from None

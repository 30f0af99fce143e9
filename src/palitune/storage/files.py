"""Files opened safely: in a folder that somebody else has made, a name may be a link, a pipe or a device.

palitune never writes through a link, and reads regular files only. Some volumes (network folders, Windows folders in a
container) refuse system calls that a program can do without, such as syncing a folder; `optional` ignores that.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.errors import BadDataError, MissingInputError, PalituneError, StorageError, UsageError, printable

# Error numbers of a volume that does not support a system call, or does not permit it.
REFUSED = frozenset(
    {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF}
)
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})  # error numbers of a place that cannot be written to
# Flags of os.open that refuse links and do not wait for the other end of a pipe; Windows has none of the three.
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def optional() -> Iterator[None]:
    """Ignores that a volume refuses the system calls inside; every other OSError, as of a defective disk, is raised."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise


def reason_of(error: OSError) -> str:
    """Returns why a file could not be opened, as part of a message."""
    if error.errno == errno.ELOOP:
        return "this is a symbolic link, and links are not followed"
    return error.strerror or str(error)


def check_ours(descriptor: int, path: Path) -> None:
    """Raises StorageError if an open file is not a regular file, or has a second name (a hard link)."""
    found = os.fstat(descriptor)
    wrong = None if stat.S_ISREG(found.st_mode) else "this is not a regular file"
    wrong = wrong or ("this file has another name elsewhere (a hard link)" if found.st_nlink > 1 else None)
    if wrong:
        raise StorageError(f"cannot write: {wrong}", where=str(path), hint="Remove it, or use another name")


def open_to_append(path: Path) -> IO[bytes]:
    """Opens a file to append unbuffered bytes, and creates it if necessary; links and hard links are refused.

    Raises:
      StorageError: something other than a regular file has this name, or the file cannot be written.
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
    """Opens a regular file, or the one that a link leads to, to read bytes.

    Raises:
      OSError: there is no such file, or it is a pipe, a device or a folder.
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
    return OSError(errno.EINVAL, "this is not a regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """Returns the content of a regular file. Raises OSError as `open_to_read`, and ValueError above `most` bytes."""
    with open_to_read(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def unreadable(error: OSError, path: Path, what: str) -> PalituneError:
    """Returns the error to raise for a file that cannot be opened or read; `what` is the kind of file, in one word."""
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"no such {what}", where=str(path))
    if isinstance(error, PermissionError):
        hint = "Check who owns it, and make it readable (chmod u+r)"
        return MissingInputError(f"this {what} cannot be read: {reason}", where=str(path), hint=hint)
    if _is_there(path) and not path.is_file():
        return BadDataError(f"this is not a {what}: {reason}", where=str(path))
    if isinstance(error, NotADirectoryError) or not _is_there(path):
        return MissingInputError(f"no such {what} ({reason})", where=str(path))
    return StorageError(f"this {what} cannot be read: {reason}", where=str(path), hint="Check the disk")


def _is_there(path: Path) -> bool:
    try:
        return stat.S_IFMT(path.stat().st_mode) != 0
    except (OSError, ValueError):
        return False


def require_text(name: str) -> None:
    """Raises UsageError for a name that is not UTF-8: a run could not write it into its configuration."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        hint = "Rename it (convmv -f CP932 -t UTF-8 --notest NAME, where it comes from Japanese Windows)"
        raise UsageError(f"the name {shown} is not UTF-8", hint=hint) from None

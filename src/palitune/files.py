"""Files that appear whole or not at all, that one process at a time writes, and that are what they seem to be.

Some volumes (network folders, those of Windows) refuse what a system can do without: to sync a folder, to lock. That is
not an error. In a folder that somebody else has made a name may be a link, a pipe or a device: what is written never
goes through one, and what is read is a regular file.
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

from palitune.errors import (
    BadDataError,
    MissingInputError,
    OutputExistsError,
    PalituneError,
    StorageError,
    UsageError,
    printable,
)

# What a volume answers to a system call that it does not know, or does not do for everybody.
REFUSED = frozenset(
    {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF}
)
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})  # of a place that is only to be read
UNTOUCHED = "Nothing there was changed"
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


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the volume can do that to folders.

    Raises:
      StorageError: the disk is broken.
    """
    try:
        with optional():  # Windows opens no folders
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        what = f"what was written may not outlast a power cut: {error.strerror or error}"
        raise StorageError(what, where=str(folder), hint="Check the disk") from error


def temporaries(path: Path) -> list[Path]:
    """What `whole` left of writing `path` when it was killed."""
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
def whole(path: Path, size: int | None = None, shared: bool = False) -> Iterator[IO[bytes]]:
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
            with optional():
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
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK | BINARY, 0o666)
        except FileExistsError:
            continue
        try_lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # somebody who cleans up was quicker


def _remove_stale(path: Path) -> None:
    """Removes what killed processes left of writing `path`; raises OutputExistsError if one is still at work."""
    for temporary in temporaries(path):
        try:
            descriptor = os.open(temporary, os.O_RDWR | NO_LINK)
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
        if error.errno not in REFUSED | {errno.EEXIST} or not path.is_file() or path.is_symlink():
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


def try_lock(descriptor: int) -> bool | None:
    """Whether the lock of an open file or folder is now this process's; None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


# What is at a name ----------------------------------------------------------------------------------------------------


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


def read(path: Path, most: int) -> bytes:
    """The content of a regular file. Raises OSError as `open_to_read`, and ValueError beyond `most` bytes."""
    with open_to_read(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def write(path: Path, content: bytes, shared: bool = False) -> None:
    """`content` at `path`, whole or not at all. Raises as `whole`."""
    with whole(path, shared=shared) as file:
        file.write(content)


def require_text(name: str) -> None:
    """Raises UsageError for a name that no file of UTF-8 can hold, and a run writes down what it learned from."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        hint = "Rename it (convmv -f CP932 -t UTF-8 --notest NAME, where it comes from Japanese Windows)"
        raise UsageError(f"the name {shown} is not UTF-8", hint=hint) from None

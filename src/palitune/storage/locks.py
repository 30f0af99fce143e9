"""Locks: work that only one process at a time may do."""

import contextlib
import errno
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from palitune.errors import OutputExistsError, StorageError
from palitune.storage import files

TRIALS = 1000  # attempts to get a lock file that other processes keep removing
LONGEST = 1000  # bytes of what its holder writes into a lock file
OWNER = re.compile(r"process (\d{1,9}) on (\S+)")


def try_lock(descriptor: int) -> bool | None:
    """Tries to lock an open file or folder (flock). Returns whether this process has the lock now.

    Returns None where there are no locks.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


@contextlib.contextmanager
def exclusive(
    path: Path, what: str, hint: str = "Wait for it", busy: str | None = None, keep: bool = False
) -> Iterator[None]:
    """Holds the lock file `path` while the block runs, so that no other process is inside at the same time.

    The lock file says which process holds it. The operating system releases the lock when that process ends, however it
    ends, so that no lock is ever left over. Where there are no locks (some network volumes, Windows without a
    container) the block runs without one, and a line on stderr says so. In a folder that cannot be written to, nothing
    needs a lock.

    Args:
      what: what the block works on, for the message to a process that finds the lock taken.
      hint: what the user of that process should do.
      busy: the whole message instead.
      keep: the lock file stays, empty, after the block.

    Raises:
      OutputExistsError: another process holds the lock; the message says which.
      StorageError: the lock file is a link or not a regular file, or the folder cannot be created.
    """
    descriptor = _lock(path, busy or f"another process is at work on {what}", hint)
    if descriptor is None:
        yield
        return
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # the file of another user, which can only be read
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody has removed the folder
            os.ftruncate(descriptor, 0)
            if not keep:
                path.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def held_folder(lock: Path, what: str) -> Iterator[None]:
    """Makes the folder that a lock file is in, and keeps other processes out of it while the block runs.

    The folder is removed again where nothing but the lock has come of it.

    Args:
      what: what the folder is of, for messages: "run".

    Raises:
      OutputExistsError: another process holds it; it is named.
      StorageError: the folder cannot be made.
    """
    hint = "Wait for it, stop it, or use another name with -w"
    with exclusive(lock, f"this {what}", hint, busy=f"this {what} is at work", keep=True):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody has removed the folder
                if [path.name for path in lock.parent.iterdir()] == [lock.name]:
                    lock.unlink()
                    lock.parent.rmdir()


def _lock(path: Path, busy: str, hint: str) -> int | None:
    """Returns the descriptor of the locked file; None in a folder that cannot be written to."""
    for _ in range(TRIALS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open_lock(path)
        except FileNotFoundError:
            continue  # its last holder has just removed the folder
        except OSError as error:
            if error.errno in files.READ_ONLY and path.parent.is_dir():
                return None
            where = str(path.parent if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO) else path)
            what = f"cannot write: {files.reason_of(error)}"
            raise StorageError(what, where=where, hint="Name another place, or make this one writable") from None
        try:
            files.check_ours(descriptor, path)
            taken = try_lock(descriptor)
            if taken is False:
                raise OutputExistsError(f"{busy}: {_holder(descriptor)}", where=str(path.parent), hint=hint)
            if taken is None:
                text = "there are no locks here; do not start another process on this folder"
                print(f"{path.parent}: {text}", file=sys.stderr)
            if os.path.lexists(path) and os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        except FileNotFoundError:
            pass  # its last holder has removed it, so that the lock is on a file without a name
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise StorageError("this folder cannot be locked", where=str(path.parent), hint="Remove it, or use another name")


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | files.NO_LINK, 0o666)
    except OSError as error:
        if error.errno not in files.READ_ONLY:
            raise
    try:
        return os.open(path, os.O_RDONLY | files.NO_LINK)
    except FileNotFoundError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _holder(descriptor: int) -> str:
    """Returns the process that holds a lock, as it has written it into the file; that can take a moment."""
    for _ in range(40):
        if name := os.pread(descriptor, LONGEST, 0).decode(errors="replace").strip():
            return name
        time.sleep(0.025)
    return "another process"


def holder(path: Path) -> str | None:
    """The process that holds a lock file which `exclusive` keeps, without taking the lock; None where nobody holds it.

    What it has written into the file is believed unless it has certainly ended: where there are no locks, nothing else
    tells. A lock is tried only where something is written, and as one of many, so that hardly anybody finds it taken.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | files.NO_LINK)
    except OSError:
        return None
    try:
        written = os.read(descriptor, LONGEST).decode(errors="replace").strip()
        if not written or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        found = OWNER.match(written)
        if found and found[2] == socket.gethostname() and not is_running(int(found[1])):
            return None
        return None if _is_free(descriptor) else written
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock of an open file. The lock itself is given back when the file is closed."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (ImportError, OSError):  # held, or there are no locks here
        return False
    return True


def is_running(process: int) -> bool:
    """Returns whether a process with this number runs on this machine; True also where that cannot be found out."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True

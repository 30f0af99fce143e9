"""Work on which one process at a time may be."""

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from palitune import files
from palitune.errors import OutputExistsError, StorageError

TRIALS = 1000  # at a lock that its last holders remove again and again


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


@contextlib.contextmanager
def exclusive(
    path: Path, what: str, hint: str = "Wait for it", busy: str | None = None, keep: bool = False
) -> Iterator[None]:
    """Nobody else is inside for this `path`, a file that is there while somebody is, and says who.

    The operating system gives the lock back when the process ends, however it ends: none is left over. Where there are
    no locks (some network volumes, Windows without a container) everybody is let in, and a line on stderr says so.
    Where nothing can be written there is nothing to guard.

    Args:
      what: what is worked on inside, for whoever has to wait (`busy` is the whole sentence), and has the `hint` to do.
      keep: the file stays, empty, when its holder has left.

    Raises:
      OutputExistsError: somebody is inside; it is said who.
      StorageError: a link, or something else that is no file of ours, is in its place; or the folder cannot be made.
    """
    descriptor = _lock(path, busy or f"another process is at work on {what}", hint)
    if descriptor is None:
        yield
        return
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # of another user, who lets others read it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody has removed the folder
            os.ftruncate(descriptor, 0)
            if not keep:
                path.unlink()
        os.close(descriptor)


def _lock(path: Path, busy: str, hint: str) -> int | None:
    """Descriptor of a lock that is this process's; None in a folder in which nothing can be written."""
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
                print(f"{path.parent}: no locks here; start no other process on it", file=sys.stderr)
            if os.path.lexists(path) and os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        except FileNotFoundError:
            pass  # removed by its last holder: what is locked is nothing any more
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
    """Who holds a lock; a holder needs a moment to write its name."""
    for _ in range(40):
        if name := os.pread(descriptor, 1000, 0).decode(errors="replace").strip():
            return name
        time.sleep(0.025)
    return "another process"


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine; of one that may not be asked about it is believed."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True

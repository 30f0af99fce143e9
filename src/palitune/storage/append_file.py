"""A file that one process at a time appends lines to."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.errors import OutputExistsError, StorageError
from palitune.storage import files, locks

TRIALS = 1000  # attempts to open a file that other processes keep removing
HINT = "Wait for it, stop it, or name another file"


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file to append unbuffered bytes, creates it if necessary, and locks it for this process.

    The file itself is locked, so that no lock file is needed. A process that was stopped (Ctrl-Z) keeps the lock, and
    the operating system releases it when the process ends, however it ends. On a volume without locks a file
    `.NAME.lock` takes its place; one that a killed process left behind is ignored. A file that is still empty at the
    end is removed.

    Raises:
      OutputExistsError: another process is writing the file.
      StorageError: the file cannot be written.
    """
    path = path.resolve()  # the user named a link, so that the file that it leads to is meant
    with contextlib.suppress(OSError):  # opening the file gives the better message
        path.parent.mkdir(parents=True, exist_ok=True)
    file, has_lock = _locked(path)
    with file, contextlib.nullcontext() if has_lock else _lock_file(path):
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):
                if os.fstat(file.fileno()).st_size == 0:
                    path.unlink()


def _locked(path: Path) -> tuple[IO[bytes], bool]:
    """Returns the open file and whether it is locked; on some volumes there are no locks."""
    for _ in range(TRIALS):
        file = files.open_to_append(path)
        try:
            has_lock = locks.try_lock(file.fileno())
            if has_lock is False:
                raise _taken(path, _owner(os.fstat(file.fileno())))
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, bool(has_lock)
        except BaseException:
            file.close()
            raise
        file.close()  # another process has removed it
    raise StorageError("this file cannot be locked", where=str(path), hint="Name another file")


def _taken(path: Path, owner: str) -> OutputExistsError:
    return OutputExistsError(f"{owner} is writing this file", where=str(path), hint=HINT)


def _owner(found: os.stat_result) -> str:
    """Returns the process that has locked a file, where Linux tells (/proc/locks)."""
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5] == device and int(words[4]) > 0:
                return f"process {words[4]}"
    return "another process"


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    for _ in range(2):
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | files.NO_LINK, 0o666)
            break
        except FileExistsError:
            if (owner := _living_owner(lock)) is not None:
                raise _taken(path, owner) from None
            lock.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", where=str(lock)) from None
    else:
        raise _taken(path, "another process")
    with os.fdopen(descriptor, "w") as file:
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _living_owner(lock: Path) -> str | None:
    """Returns the process that wrote a lock file; None if it has certainly ended."""
    try:
        text = lock.read_text()[:200].strip()
    except (OSError, ValueError):
        return "another process"
    found = re.fullmatch(r"process (\d+) on (.+)", text)
    if found is None or found[2] != socket.gethostname() or sys.platform == "win32":
        return f"{text or 'another process'} (remove {lock} if it has ended)"
    return f"process {found[1]}" if locks.is_running(int(found[1])) else None

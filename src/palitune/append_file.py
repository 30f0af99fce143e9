"""A file to whose end one process at a time adds lines."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune import files, locks
from palitune.errors import OutputExistsError, StorageError

TRIALS = 1000  # at a file that its last owners remove again and again
HINT = "Wait for it, stop it, or name another file"


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """The file, made if need be, open to append unbuffered bytes; it belongs to this process alone.

    The file itself is what is locked, so that nothing lies beside it; a process that was stopped still owns it, and the
    system gives it back when its owner ends, however that ends. Where a volume has no locks a file `.NAME.lock` does
    the same: what a killed owner left of it counts no more. A file that nothing was added to is not left behind.

    Raises:
      OutputExistsError: another process owns it.
      StorageError: it cannot be written.
    """
    path = path.resolve()  # where a link leads, which the person has named
    with contextlib.suppress(OSError):  # said better when it is opened
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
    """The open file, and whether it is locked: there may be no locks."""
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
        file.close()  # its last owner has removed it
    raise StorageError("this file cannot be locked", where=str(path), hint="Name another file")


def _taken(path: Path, owner: str) -> OutputExistsError:
    return OutputExistsError(f"{owner} is writing this file", where=str(path), hint=HINT)


def _owner(found: os.stat_result) -> str:
    """Who has a file locked, where the system tells."""
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
    """Who wrote a lock file; None if that process is known to have ended."""
    try:
        text = lock.read_text()[:200].strip()
    except (OSError, ValueError):
        return "another process"
    found = re.fullmatch(r"process (\d+) on (.+)", text)
    if found is None or found[2] != socket.gethostname() or sys.platform == "win32":
        return f"{text or 'another process'} (remove {lock} if it has ended)"
    return f"process {found[1]}" if locks.is_running(int(found[1])) else None

"""What a run has cost: the seconds it took, and the memory that its step was planned with and has taken.

`cost.json` in the run's folder has it, and not its metrics: those are the same, byte for byte, of a run that was
interrupted and of one that was not.
"""

import contextlib
import datetime
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.errors import PalituneError
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files, files

MOST = 64 << 10  # bytes of the file


class Cost(NamedTuple):
    """What a run has cost so far; None is what is not known.

    Attributes:
      began: seconds since 1970.
      seconds: in all its sessions together, start and evaluations included. A session that was killed is not in them.
      sessions: how often it was started: one more than it was resumed.
      planned: bytes of its device's memory, as its step was compiled.
      taken: the most bytes of a device's memory that it had, where the device tells.
    """

    began: float | None = None
    seconds: float | None = None
    sessions: int = 0
    planned: int | None = None
    taken: int | None = None


def read(path: Path) -> Cost:
    """What the file of a run says; nothing where it is not there or is something else."""
    try:
        content = json.loads(files.read(path, MOST))
        began = datetime.datetime.fromisoformat(content["began"]).timestamp()
        memory = content["memory"]
        found = Cost(began, content["seconds"], content["sessions"], memory["planned"], memory["taken"])
        if type(found.sessions) is not int or not all(map(_is_amount, found[1:])):
            return Cost()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return Cost()
    return found


def _is_amount(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and 0 <= value < math.inf)


def write(path: Path, cost: Cost) -> None:
    """Writes the file of a run. Raises StorageError."""
    began = None if cost.began is None else datetime.datetime.fromtimestamp(cost.began, datetime.UTC)
    content = {
        "began": None if began is None else began.isoformat(timespec="seconds"),
        "seconds": cost.seconds,
        "sessions": cost.sessions,
        "memory": {"planned": cost.planned, "taken": cost.taken},
    }
    atomic_files.write(path, (json.dumps(content, indent=2) + "\n").encode())


@contextlib.contextmanager
def recorded(folder: RunFolder | None, began: float, planned: int, taken: Callable[[], int | None]) -> Iterator[None]:
    """Writes down what a session of a run costs, however it ends; without a folder nothing.

    No run ends because this cannot be written.

    Args:
      began: when the session did, of `time.monotonic`.
      planned: bytes that its step was compiled with.
      taken: the most bytes of a device's memory so far.
    """
    if folder is None:
        yield
        return
    earlier = read(folder.cost)
    now = time.time() - (time.monotonic() - began)
    first = now if earlier.began is None else earlier.began
    cost = Cost(first, earlier.seconds, earlier.sessions + 1, planned, earlier.taken)
    with contextlib.suppress(PalituneError, OSError):
        write(folder.cost, cost)
    try:
        yield
    finally:
        seconds = round((earlier.seconds or 0.0) + time.monotonic() - began, 1)
        most = max((size for size in (earlier.taken, taken()) if size is not None), default=None)
        with contextlib.suppress(PalituneError, OSError):
            write(folder.cost, cost._replace(seconds=seconds, taken=most))

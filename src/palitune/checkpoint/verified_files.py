"""Which files have been read through and found sound, so that the next start need not read gigabytes again.

A file is known by device, inode, size and the times of its last changes: what has been written to is another file. The
memory is a small file for each in a folder that only the user can write to, or for this process alone.
"""

import atexit
import contextlib
import hashlib
import json
import os
from pathlib import Path

from palitune.errors import PalituneError
from palitune.storage import atomic_files, files

MOST = 8 << 20  # bytes of what is remembered of one file
MOST_FILES = 1000  # that are remembered
folder: Path | None = None  # where it is remembered; None forgets with the process
_known: dict[str, dict[str, str]] = {}
_changed: set[str] = set()


def _key(found: os.stat_result) -> str:
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def recall(found: os.stat_result) -> dict[str, str]:
    """What is remembered of a file, by name."""
    key = _key(found)
    if key not in _known:
        _known[key] = {}
        if folder is not None:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                content = json.loads(files.read(folder / f"{key}.json", MOST))
                if isinstance(content, dict) and all(isinstance(value, str) for value in content.values()):
                    _known[key] = content
    return _known[key]


def remember(found: os.stat_result, name: str, fact: str) -> None:
    """Remembers something about a file; on disk with `flush`, or at the end."""
    known = recall(found)
    if known.get(name) != fact:
        if not _changed:
            atexit.register(flush)
        known[name] = fact
        _changed.add(_key(found))


def flush() -> None:
    """Writes what is new. Where nothing can be written, the next start takes its time again."""
    atexit.unregister(flush)
    changed = [(key, _known[key]) for key in _changed]
    _changed.clear()
    if folder is None:
        return
    with contextlib.suppress(PalituneError, OSError):
        for key, facts in changed:
            atomic_files.write(folder / f"{key}.json", json.dumps(facts).encode(), shared=True)
        # What is remembered of files that are gone would stay for ever: the oldest go.
        by_age = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[MOST_FILES:]:
            path.unlink(missing_ok=True)

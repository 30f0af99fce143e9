"""Runs removed: a checkpoint with everything that belongs to it, its loop too, unless something else needs it."""

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import home
from palitune.checkpoint import beside, manifest
from palitune.errors import (
    BadDataError,
    MissingInputError,
    OutputExistsError,
    PalituneError,
    StorageError,
    UsageError,
    listed,
    printable,
)
from palitune.evaluate.report.runs_table import size
from palitune.run import ledger
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files, files, locks


class Doomed(NamedTuple):
    """A run that is to be removed.

    Attributes:
      files: the checkpoint and what lies beside it, as far as it is there.
      folders: that of the loop which made it, and that of the run, as far as they are there.
      size: bytes of all of it.
    """

    name: str
    folder: RunFolder
    files: list[Path]
    folders: list[Path]
    size: int

    @property
    def names(self) -> str:
        """Everything that goes, for a person."""
        return ", ".join(path.name for path in (*self.files, *reversed(self.folders)))


def remove(names: Sequence[str], *, yes: bool = False) -> list[Doomed]:
    """Removes runs, once somebody has said so on the terminal, and returns those that were removed.

    Args:
      yes: do not ask.

    Raises:
      MissingInputError: there is no such run; nothing is removed then, as with the next two.
      UsageError: a run may not be removed, or nobody can be asked.
      BadDataError: a folder is no run's.
      OutputExistsError: a run is at work.
      StorageError: something cannot be removed.
    """
    doomed = [find(name) for name in dict.fromkeys(names)]
    _require_unused(doomed)
    if not yes and not _agreed(doomed):
        return []
    for one in doomed:
        _remove(one)
    return doomed


def find(name: str) -> Doomed:
    """What belongs to a run. Raises as `remove`."""
    path = _folder_of(name)
    folder = RunFolder(path.with_suffix(".npz"))
    belongs = [folder.target, beside.manifest_of(folder.target), beside.threshold_of(folder.target)]
    there = [one for one in belongs if os.path.lexists(one)]
    folders = [one for one in (beside.loop_of(folder.target), path) if os.path.lexists(one)]
    for one in (*folders, *there):
        if one.is_symlink():
            raise UsageError(f"{one} is a link, and nothing is removed through links", hint="Remove it by hand (rm)")
    for one in there:
        if not stat.S_ISREG(one.lstat().st_mode):
            raise UsageError(f"{one} is no file", hint="Remove it by hand")
    if path in folders and not folder.config.is_file():
        what = "this is no run: it has no config.json"
        raise BadDataError(what, where=str(path), hint="Remove it by hand if it is yours")
    for one in folders:
        if holder := locks.holder(one / folder.lock.name):
            what = "this run is at work" if one == path else "its loop is at work"
            raise OutputExistsError(f"{what}: {holder}", where=str(one), hint="Wait for it, or stop it")
    inside = (Path(parent) / one for top in folders for parent, _, names in os.walk(top) for one in names)
    return Doomed(ledger.name_of(path), folder, there, folders, sum(map(_freed, [*there, *inside])))


def _folder_of(name: str) -> Path:
    """The folder of the run of a name, or where it was if only its loop is left. Raises MissingInputError."""
    stem = name.rstrip("/").removesuffix(beside.LOOP)
    try:
        return ledger.folder_of(stem)
    except MissingInputError:
        for place in ledger.places_of(stem):
            if beside.loop_of(place).is_dir():
                return place
        raise


def _freed(path: Path) -> int:
    """The bytes that are free when a name is removed: none of a file that has another one."""
    found = path.lstat()
    return found.st_size if found.st_nlink == 1 else 0


def _require_unused(doomed: Sequence[Doomed]) -> None:
    """Raises UsageError if a checkpoint is the base that others, which stay, are a change of."""
    targets = {os.path.abspath(one.folder.target): one.name for one in doomed}
    folders = {os.path.dirname(path) for path in targets} | {os.path.abspath(home.checkpoints())}
    users: dict[str, list[str]] = {}
    for checkpoint in sorted(path for folder in folders for path in Path(folder).glob("*.npz")):
        if os.path.abspath(checkpoint) in targets:
            continue
        try:
            base = manifest.read(checkpoint).get("base")
        except (PalituneError, OSError):
            continue
        if base is None:
            continue
        for path, name in targets.items():
            # Where it was when the other was made; or it has been moved, and is found by its name.
            moved = base["name"] == name and not os.path.exists(base["file"])
            if moved or os.path.realpath(base["file"]) == os.path.realpath(path):
                users.setdefault(name, []).append(checkpoint.stem)
    for name, others in users.items():
        what = f"{name} is the base that others are made from: {listed(others)}"
        raise UsageError(what, hint="Remove those first, or merge each with it (palitune merge)")


def _agreed(doomed: Sequence[Doomed]) -> bool:
    """Whether somebody on the terminal says yes. Raises UsageError where there is nobody."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nothing is removed unasked, and this is no terminal", hint="--yes removes without asking")
    for one in doomed:
        print(printable(f"{one.name}: {one.names} ({size(one.size)})"), file=sys.stderr)
    runs = "this run" if len(doomed) == 1 else f"these {len(doomed)} runs"
    print(f"remove {runs}? y/N ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(one: Doomed) -> None:
    """Removes a run while nobody else can be at work on it. Raises OutputExistsError, StorageError."""
    folder = one.folder
    with folder.held():
        try:
            for path in one.files:
                path.unlink(missing_ok=True)
            for path in one.folders:  # that of the run, by whose name all is found, goes last
                shutil.rmtree(path)
        except OSError as error:
            what = f"cannot be removed: {files.reason_of(error)}"
            raise StorageError(what, where=str(error.filename or folder.path)) from None
    atomic_files.sync_folder(folder.path.parent)

"""The folder that `checkpoints/` and `cache/` are in. Imports nothing heavy: what only lists files needs no more."""

import os
import re
import sys
from pathlib import Path

from palitune.storage import private_folders


def root() -> Path:
    """The folder that has `checkpoints/` and `cache/`.

    `PALITUNE_HOME` if it is set; else the nearest folder, from here upwards, with both `playground` and `checkpoints`
    (a clone of the repository); else the clone whose numbered stage was called; else the current folder. What is found
    by this search, and belongs to another user, is ignored with a note.
    """
    if home := os.environ.get("PALITUNE_HOME"):
        return Path(home)
    here, called = Path.cwd(), Path(sys.argv[0]).resolve().parent
    stage = [called.parent] if called.name == "playground" else []
    for folder in (here, *here.parents):
        if _is_clone(folder) and (folder in stage or _is_ours(folder)):
            return folder
    return next(filter(_is_clone, stage), here)


def _is_clone(folder: Path) -> bool:
    return (folder / "playground").is_dir() and (folder / "checkpoints").is_dir()


def _is_ours(folder: Path) -> bool:
    """Whether a clone and its folders are the user's, or root's; behind sudo also those of who has called it."""
    own, caller = private_folders.user(), os.environ.get("SUDO_UID", "")
    trusted = {own, 0} | ({int(caller)} if own == 0 and re.fullmatch(r"\d{1,10}", caller) else set())
    parts = [folder, *(folder / name for name in ("playground", "checkpoints", "cache"))]
    others = [part for part in parts if part.exists() and part.stat().st_uid not in trusted]
    if own is None or not others:
        return True
    if folder not in _noted:
        _noted.add(folder)
        use = f"PALITUNE_HOME={folder} uses it all the same"
        print(
            f"note: {others[0]} belongs to another user (uid {others[0].stat().st_uid}) and is ignored; {use}",
            file=sys.stderr,
        )
    return False


_noted: set[Path] = set()  # what has been said of folders


def cache() -> Path:
    """Returns the folder of downloads and of what can be computed again."""
    return root() / "cache"


def checkpoints() -> Path:
    """Returns the folder of trained models."""
    return root() / "checkpoints"


def candidates(name: str) -> list[Path]:
    """Files a person may mean by what they typed, the likeliest first."""
    path = Path(name)
    paths = [checkpoints() / name] if path.name == name else [path]
    if path.parts[:1] == ("checkpoints",):  # Path has taken a leading ./ away
        paths.append(checkpoints() / Path(*path.parts[1:]))
    if path.name == name:
        paths.append(path)
    return [p if p.suffix == ".npz" else p.with_name(f"{p.name}.npz") for p in paths]

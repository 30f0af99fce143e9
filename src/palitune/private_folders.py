"""Folders that nobody but the user can write to: only what is in one is run, or believed without looking.

As with ssh's keys, that takes the folder and everything above it: who can rename a folder can put another in its place.
Root, and folders like /tmp in which people cannot rename what is others', are trusted on the way there.
"""

import os
import stat
from pathlib import Path

EVERYBODY, GROUP = stat.S_IWOTH, stat.S_IWGRP


def user() -> int | None:
    """Whose process this is; None on systems that do not tell owners apart so."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_private(folder: Path) -> bool:
    """Whether a folder is there, is the user's, and nobody else can write to it or put another in its place."""
    own = user()
    if own is None:
        return folder.is_dir()
    try:
        real = Path(os.path.realpath(folder))
        above = {*Path(os.path.abspath(folder)).parents, *real.parents}
        found = real.stat()
        guarded = all(_is_guarded(one.stat(), {own, 0}, sticky=True) for one in above)
        return stat.S_ISDIR(found.st_mode) and guarded and _is_guarded(found, {own}, sticky=False)
    except (OSError, ValueError):
        return False


def _is_guarded(found: os.stat_result, owners: set[int], sticky: bool) -> bool:
    if found.st_uid not in owners:
        return False
    if sticky and found.st_mode & stat.S_ISVTX:
        return True
    return not found.st_mode & EVERYBODY and (not found.st_mode & GROUP or _is_own_group(found.st_gid))


def _is_own_group(number: int) -> bool:
    """Whether a group is the user's alone, as many systems make one for each: then the usual umask lets it write."""
    import grp
    import pwd

    try:
        group, person = grp.getgrgid(number), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == person.pw_name and set(group.gr_mem) <= {person.pw_name}


def made(folder: Path) -> bool:
    """Whether there is such a private folder that can be written to, made now if need be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return is_private(folder) and os.access(folder, os.W_OK)


def home() -> Path:
    """Where a person's programs keep what can be made again: XDG's folder for caches."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(place) if os.path.isabs(place) else Path(os.path.expanduser("~")) / ".cache") / "palitune"

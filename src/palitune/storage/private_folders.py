"""Private folders: nobody but the user can write to them, so that compiled programs and checks in them can be trusted.

As with the keys of ssh, this depends on the folder and on every folder above it, because whoever can rename a folder
can put another one in its place. Folders of root, and sticky ones such as /tmp, are trusted above the folder itself.
"""

import os
import stat
from pathlib import Path

EVERYBODY, GROUP = stat.S_IWOTH, stat.S_IWGRP


def user() -> int | None:
    """Returns the number of the user who runs this process; None on systems without such numbers."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_private(folder: Path) -> bool:
    """Returns whether a folder exists, is the user's own, and nobody else can write to it or replace it."""
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
    """Returns whether the user is the only member of a group; many systems give every user such a group."""
    import grp
    import pwd

    try:
        group, person = grp.getgrgid(number), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == person.pw_name and set(group.gr_mem) <= {person.pw_name}


def create(folder: Path) -> bool:
    """Creates a private folder if it does not exist. Returns whether it is private and can be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return is_private(folder) and os.access(folder, os.W_OK)


def cache_folder() -> Path:
    """Returns the cache folder of palitune by XDG's base directory specification, usually ~/.cache/palitune."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(place) if os.path.isabs(place) else Path(os.path.expanduser("~")) / ".cache") / "palitune"

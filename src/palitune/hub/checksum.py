"""SHA-256 of what was downloaded, in a file beside it that `sha256sum -c` understands too."""

import hashlib
import os
import re
from pathlib import Path

from tqdm import tqdm

from palitune.checkpoint import verified_files
from palitune.errors import BadDataError, StorageError
from palitune.storage import atomic_files, files

SLICE = 8 << 20  # bytes
LONGEST = 10_000  # bytes of the file of a checksum
WHOLE = "sha256"  # what is remembered of a file as a whole (`verified`)
LONG = 1 << 30  # bytes from which on reading takes long enough for a progress bar


def path_of(file: Path) -> Path:
    """Returns where the checksum of a file is kept."""
    return file.with_name(f"{file.name}.sha256")


def sha256(file: Path, silent: bool = True) -> str:
    """The checksum in hexadecimal; reads the whole file. `silent` shows no progress bar."""
    digest, size = hashlib.sha256(), file.stat().st_size
    silent = silent or size < LONG
    with (
        file.open("rb") as opened,
        tqdm(desc=f"checking {file.name}", total=size, unit="B", unit_scale=True, leave=False, disable=silent) as bar,
    ):
        while piece := opened.read(SLICE):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def record(file: Path, silent: bool = True) -> str:
    """Writes down what a file's checksum is, and returns it."""
    found = sha256(file, silent)
    atomic_files.write(path_of(file), _line(found, file))
    verified_files.remember(file.stat(), WHOLE, found)
    return found


def keep(file: Path, silent: bool = True) -> None:
    """`record` of a file that is there; in a folder that is only to be read it is not written down."""
    try:
        record(file, silent)
    except StorageError:
        if os.access(file.parent, os.W_OK):
            raise


def replacing(arrived: Path, file: Path, silent: bool = True, known: str | None = None) -> str:
    """Writes down, beside what `file` is, what it is about to be: at every moment the one or the other is right.

    Args:
      known: the SHA-256 of what has arrived, where it was found a moment ago.
    """
    found, old = known or sha256(arrived, silent), recorded(file) if file.is_file() else set()
    atomic_files.write(path_of(file), b"".join(_line(one, file) for one in [found, *sorted(old - {found})]))
    return found


def replaced(file: Path, found: str) -> None:
    """Writes down that `replacing` has come to its end."""
    atomic_files.write(path_of(file), _line(found, file))
    verified_files.remember(file.stat(), WHOLE, found)


def _line(found: str, file: Path) -> bytes:
    return f"{found}  {file.name}\n".encode()


def recorded(file: Path) -> set[str]:
    """What was written down: none if nothing was, or nothing that is a checksum; two while a file is replaced."""
    try:
        text = files.read(path_of(file), LONGEST).decode("ascii")
    except (OSError, ValueError):
        return set()
    return set(re.findall(r"^[0-9a-f]{64}\b", text, re.MULTILINE))


def verify(file: Path, silent: bool = True, known: set[str] | None = None) -> None:
    """Raises BadDataError if a file is no longer what it was when its checksum was written down.

    A file that has been read through, and has not changed since, is not read again.

    Args:
      known: the checksums to compare with instead of what was written down beside the file.
    """
    known = recorded(file) if known is None else known
    if not known:
        return
    try:
        stat = file.stat()
        found = verified_files.recall(stat).get(WHOLE) or sha256(file, silent)
    except OSError as error:
        raise files.unreadable(error, file, "file") from None
    if found in known:
        verified_files.remember(stat, WHOLE, found)
    else:
        what = f"its content has changed since it was downloaded (SHA-256 {found[:12]}…, not {min(known)[:12]}…)"
        raise BadDataError(what, where=str(file), hint="palitune download --overwrite fetches it again")

"""SHA-256 of what was downloaded, in a file beside it that `sha256sum -c` understands too."""

import hashlib
import re
from pathlib import Path

from tqdm import tqdm

from palitune import files
from palitune.errors import BadDataError

SLICE = 8 << 20  # bytes
LONG = 1 << 30  # bytes from which on reading takes long enough for a progress bar


def path_of(file: Path) -> Path:
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
    files.write(path_of(file), f"{found}  {file.name}\n".encode())
    return found


def recorded(file: Path) -> str | None:
    """What was written down, or None if nothing was, or nothing that is a checksum."""
    try:
        text = path_of(file).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.match(r"[0-9a-f]{64}\b", text)
    return found.group() if found else None


def verify(file: Path, silent: bool = True) -> None:
    """Raises BadDataError if a file is no longer what it was when its checksum was written down."""
    known = recorded(file)
    if known is not None and (found := sha256(file, silent)) != known:
        what = f"its content has changed since it was downloaded (SHA-256 {found[:12]}…, not {known[:12]}…)"
        raise BadDataError(what, where=str(file), hint="palitune download --overwrite fetches it again")

"""Downloads one file over HTTP and resumes where the connection was cut."""

import base64
import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tqdm import tqdm

from palitune.errors import BadDataError, CredentialsError, MissingInputError, NetworkError, PalituneError, StorageError
from palitune.hub import checksum
from palitune.storage import atomic_files, files

if TYPE_CHECKING:
    from requests import RequestException, Response

TIMEOUTS = (10, 30)  # seconds to connect, seconds without a byte
SLICE = 1 << 20  # bytes
LONGEST_VERSION = 10_000  # bytes of what a server calls a version
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 60.0
Problem = Callable[[Path], str | None]  # what is wrong with a whole file, or None
BUSY = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be another in a while


class Patience:
    """How often to try again: as long as something comes, and a few times when nothing does."""

    def __init__(self) -> None:
        self.failures = 0

    def again(self, progress: bool, wait: str | None = None) -> bool:
        """Waits before the next attempt; False if it is not worth one.

        Args:
          progress: the last attempt brought something.
          wait: seconds that the server asks for (the header Retry-After).
        """
        self.failures = 0 if progress else self.failures + 1
        if self.failures >= ATTEMPTS:
            return False
        asked = float(wait) if wait and re.fullmatch(r"\d{1,6}", wait) else 0.0
        if asked > LONGEST_PAUSE:
            return False
        time.sleep(max(PAUSE * 2 ** max(self.failures - 1, 0), asked))
        return True


def partial_of(target: Path) -> Path:
    """Where what has arrived of a file waits for the rest."""
    return target.with_name(f".{target.name}.part")


def name_of(partial: Path) -> str:
    return partial.name.removeprefix(".").removesuffix(".part")


def size(path: Path) -> int:
    """Bytes of a file; 0 if there is none or it is a link, to which nothing is appended."""
    return path.stat().st_size if path.is_file() and not path.is_symlink() else 0


def refused(status: int, what: str, url: str) -> PalituneError:
    """What to tell of an HTTP status that is not a success."""
    said = f"the server answers HTTP {status} for {what}"
    if status in (401, 403, 407):
        return CredentialsError(said, where=url, hint="It wants to know who asks; fetch the file by hand and name it")
    if status in (404, 410):
        return MissingInputError(said, where=url, hint="Check the address")
    return NetworkError(said, where=url, hint="Try again later: what has arrived is kept")


def is_offline(error: "RequestException") -> bool:
    """Whether no connection could be made at all, so that waiting does not help."""
    import urllib3.exceptions
    from requests.exceptions import ProxyError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    nobody = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return isinstance(error, ProxyError) or isinstance(reason, nobody)


def unwritable(error: OSError, path: Path) -> StorageError:
    """What to tell of a disk that does not take a download."""
    hint = "Make room and run it again: what has arrived is kept" if error.errno == errno.ENOSPC else None
    return StorageError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint)


def shown(url: str) -> str:
    """A URL without what may be secret in it: user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "that address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch(url: str, target: Path, problem: Problem, silent: bool = False, most: int | None = None) -> None:
    """The file at `url`, whole at `target` or not at all.

    What has arrived is kept beside it with what the server calls this version of the file (ETag or Last-Modified), and
    asked for only while the server still has that one (If-Range, RFC 9110, 13.1.5). A file that is damaged is fetched
    once more from its beginning.

    Args:
      problem: says of the whole file what is wrong with it, or None.
      most: bytes that a file may have.

    Raises:
      NetworkError, CredentialsError, MissingInputError: the server cannot be reached, or will not give it.
      BadDataError: it gives a damaged file, or one that is too large.
      StorageError: the disk is full, or the folder cannot be written.
    """
    partial, where = partial_of(target), shown(url)
    for attempt in (1, 2):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            wrong = _arrive(url, where, partial, silent, most) or problem(partial)
        except OSError as error:
            raise unwritable(error, target) from None
        if wrong is None:
            settle(partial, target, silent)
            _version_of(partial).unlink(missing_ok=True)
            return
        partial.unlink(missing_ok=True)
        if attempt == 2:
            raise BadDataError(f"what the server sends is damaged ({wrong})", where=where, hint="Try again later")


def settle(partial: Path, target: Path, silent: bool = True, known: str | None = None) -> None:
    """Puts a whole file in its place, for good, and its SHA-256 beside it. Both are on one volume.

    Args:
      known: its SHA-256, where it was found a moment ago.
    """
    with partial.open("rb+") as file, files.optional():
        os.fsync(file.fileno())
    found = checksum.replacing(partial, target, silent, known)
    partial.replace(target)
    atomic_files.sync_folder(target.parent)
    checksum.replaced(target, found)


def _version_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _arrive(url: str, where: str, partial: Path, silent: bool, most: int | None) -> str | None:
    """Fills `partial`; what the response itself says is wrong with it, or None."""
    import requests
    from requests.exceptions import RequestException

    patience = Patience()
    while True:
        before, wait = size(partial), None
        failure: PalituneError
        try:
            with requests.get(url, headers=_wanted(partial), stream=True, timeout=TIMEOUTS) as answer:
                if answer.status_code in (200, 206):
                    return _receive(answer, partial, silent, most)
                failure = refused(answer.status_code, name_of(partial), where)
                worthwhile, wait = answer.status_code in BUSY, answer.headers.get("Retry-After")
                if answer.status_code == 416:  # what we have is not a beginning of what there is
                    partial.unlink(missing_ok=True)
                    worthwhile = True
        except RequestException as error:
            if isinstance(error, ValueError):  # an address, or one that it leads to, which is none
                raise _no_address(where) from None
            hint = "Check the network and run it again" + (": what has arrived is kept" if size(partial) else "")
            failure = NetworkError(f"cannot be fetched ({type(error).__name__})", where=where, hint=hint)
            worthwhile = bool(size(partial) or patience.failures) or not is_offline(error)
        except ValueError:  # of urllib3's, which requests lets through
            raise _no_address(where) from None
        if not worthwhile or not patience.again(size(partial) > before, wait):
            raise failure


def _no_address(where: str) -> MissingInputError:
    return MissingInputError("no address that could be fetched", where=where, hint="It begins with http:// or https://")


def _wanted(partial: Path) -> dict[str, str]:
    """Request headers: the rest, if the version of what we have is known."""
    headers = {"Accept-Encoding": "identity"}
    version = _version_of(partial)
    try:
        known = files.read(version, LONGEST_VERSION).decode("latin-1")
    except (OSError, ValueError):
        known = ""
    if size(partial) and known.isprintable() and known.strip():
        headers |= {"Range": f"bytes={size(partial)}-", "If-Range": known}
    return headers


def _receive(answer: "Response", partial: Path, silent: bool, most: int | None = None) -> str | None:
    start = size(partial) if answer.status_code == 206 else 0
    if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return "another part than the one asked for"
    if not start:
        _remember(answer.headers, partial)
    length = answer.headers.get("Content-Length", "")
    rest = int(length) if length.isdecimal() else 0
    if rest:
        atomic_files.check_space(partial.parent, rest, name_of(partial))
    bar = tqdm(
        desc=name_of(partial),
        total=(start + rest) or None,
        initial=start,
        unit="B",
        unit_scale=True,
        disable=silent,
    )
    with files.open_to_append(partial) as file, bar:
        file.truncate(start)
        for piece in answer.iter_content(SLICE):
            file.write(piece)
            bar.update(len(piece))
            if most is not None and file.tell() > most:
                file.truncate(0)
                raise BadDataError(f"larger than {most:,} bytes", where=shown(answer.url))
    known = re.search(r"md5=([\w+/=]+)", answer.headers.get("X-Goog-Hash", ""))
    if known and base64.b64encode(_md5(partial)).decode() != known.group(1):
        return "its MD5 is not the one that the server names"
    return None


def _remember(headers: Mapping[str, str], partial: Path) -> None:
    """Stores what the server calls this version, but not a weak ETag, which range requests may not use."""
    version = headers.get("ETag", "")
    version = headers.get("Last-Modified", "") if version.startswith("W/") or not version else version
    if version:
        atomic_files.write(_version_of(partial), version.encode("latin-1", "replace"))
    else:
        _version_of(partial).unlink(missing_ok=True)


def _md5(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").digest()

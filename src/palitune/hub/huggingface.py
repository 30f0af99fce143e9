"""Files of repositories on Hugging Face: their listing and their content, through huggingface_hub.

huggingface_hub knows addresses, proxies, tokens and what the server's refusals mean. It keeps nothing of a file that
was cut off in an earlier call, so the bytes are received here: what has arrived is kept, and the rest is asked for.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from tqdm import tqdm

from palitune import __version__
from palitune.errors import (
    BadDataError,
    ConfigurationError,
    CredentialsError,
    MissingInputError,
    NetworkError,
    PalituneError,
)
from palitune.hub import checksum, published_models, transfer
from palitune.storage import files

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

SITE = "https://huggingface.co"
WAYS = f"Make a token at {SITE}/settings/tokens and put it into HF_TOKEN, or run hf auth login"
TIMEOUT = 30.0  # seconds without a byte
SLICE = 1 << 20  # bytes
TRUE = ("1", "ON", "YES", "TRUE")
Result = TypeVar("Result")


class Account(NamedTuple):
    """A token, and where it comes from; both None where there is none, which is enough for some models."""

    token: str | None
    source: str | None


class Entry(NamedTuple):
    """A file as a repository lists it: small ones are git's, large ones have a SHA-256 instead of git's checksum."""

    size: int  # bytes
    blob: str  # git's SHA-1, in hexadecimal
    sha256: str | None = None

    def problem(self, path: Path, silent: bool = True) -> str | None:
        """What is wrong with the whole file at `path`, or None."""
        size = path.stat().st_size
        if size != self.size:
            return f"{size:,} bytes, where the repository lists {self.size:,}"
        if self.sha256 is not None:
            found = checksum.sha256(path, silent)
            return None if found == self.sha256 else "its SHA-256 is not the one that the repository lists"
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while piece := file.read(SLICE):
                digest.update(piece)
        return None if digest.hexdigest() == self.blob else "its SHA-1 is not the one that the repository lists"


class Listing(NamedTuple):
    """The files of a repository at one commit."""

    name: str
    commit: str
    entries: dict[str, Entry]


def credentials() -> str | None:
    """Where Hugging Face's token would come from, in huggingface_hub's order; None if there is none. Never its content.

    The secrets of a notebook in Google Colab, which huggingface_hub reads too, are not asked for.
    """
    if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    for name in ("HF_OIDC_RESOURCE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    path = os.path.expandvars(os.path.expanduser(os.environ.get("HF_TOKEN_PATH") or f"{home}/token"))
    return path if os.path.isfile(path) else None


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").upper() in TRUE


@contextmanager
def opened() -> Iterator[Account]:
    """huggingface_hub made ready, with the user's token; its connections are closed at the end.

    What the user has set of huggingface_hub's variables stays. Where nothing is set, it sends no telemetry.

    Raises:
      CredentialsError: there is a token, but nothing that a server could be sent.
      ConfigurationError: a variable has a value that huggingface_hub cannot read.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")  # what it would log, an error tells
    if not os.environ.get("HF_ENDPOINT", SITE).strip():
        del os.environ["HF_ENDPOINT"]  # which huggingface_hub would take for an address
    try:
        from huggingface_hub import close_session
    except ValueError:
        what = "one of Hugging Face's variables (HF_...) has a value that huggingface_hub cannot read"
        raise ConfigurationError(what, hint="env | grep ^HF_ lists them") from None
    try:
        yield _account()
    finally:
        close_session()


def _account() -> Account:
    import httpx2
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    source = credentials()
    if _is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return Account(None, None)
    try:
        token = get_token()
    except (OSError, ValueError, OIDCError, httpx2.HTTPError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise CredentialsError(f"Hugging Face's token cannot be read ({reason})", where=source, hint=WAYS) from None
    if token and not re.fullmatch(r"[!-~]{1,4096}", token):
        what = "Hugging Face's token has blanks, line breaks or characters that no token has"
        raise CredentialsError(what, where=source, hint=WAYS)
    return Account(token or None, source if token else None)


def _endpoint() -> str | None:
    """The address of Hugging Face, or of what stands for it; None is huggingface_hub's own."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def not_cached(name: str) -> NetworkError:
    """What to tell of a model that would have to be fetched, which the user does not want."""
    what = f"HF_HUB_OFFLINE is set, and {name} is not in huggingface_hub's cache, whole and with its checksums"
    return NetworkError(what, hint="Unset HF_HUB_OFFLINE and run it again")


def is_offline() -> bool:
    """Whether the user wants no request to be sent (HF_HUB_OFFLINE)."""
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def listing(name: str, revision: str | None, account: Account) -> Listing:
    """What a repository holds at a revision (a branch, a tag or a commit), which is resolved to a commit here.

    Raises:
      CredentialsError: the token is not accepted, or the licence was not.
      MissingInputError: there is no such repository or revision, or none that this account may see.
      NetworkError: no network, or the server failed.
    """
    from huggingface_hub import HfApi

    api = HfApi(
        endpoint=_endpoint(), token=account.token or False, library_name="palitune", library_version=__version__
    )

    def ask() -> Listing:
        found = api.model_info(name, revision=revision, timeout=TIMEOUT, files_metadata=True)
        entries = {}
        for file in found.siblings or ():
            sha256 = file.lfs.sha256 if file.lfs else None
            size = file.lfs.size if file.lfs else file.size
            if type(size) is int and isinstance(file.blob_id, str):
                entries[file.rfilename] = Entry(size, file.blob_id, sha256)
        if not re.fullmatch("[0-9a-f]{40}", str(found.sha)):
            raise ValueError("no commit")
        return Listing(name, str(found.sha), entries)

    return _insist(ask, name, revision, account)


def fetch(found: Listing, file: str, partial: Path, account: Account, bar: "tqdm[NoReturn]") -> None:
    """Fills `partial` with a file's content, from where it ends; raises as `listing`, and OSError of the disk."""
    from huggingface_hub import hf_hub_url

    url, size = hf_hub_url(found.name, file, revision=found.commit, endpoint=_endpoint()), found.entries[file].size
    _insist(
        lambda: _receive(url, size, partial, account, bar),
        found.name,
        found.commit,
        account,
        lambda: transfer.size(partial),
    )


def _receive(url: str, size: int, partial: Path, account: Account, bar: "tqdm[NoReturn]") -> None:
    import httpx2
    from huggingface_hub import get_session, hf_raise_for_status

    start = transfer.size(partial)
    if start >= size and partial.exists():
        return  # what is longer is found to be so, and then fetched once more
    headers = {"Accept-Encoding": "identity", "User-Agent": f"palitune/{__version__}"}
    if account.token:
        headers["Authorization"] = f"Bearer {account.token}"
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as answer:
        part = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status_code == 416 or (answer.status_code == 206 and not part):
            bar.update(-start)
            partial.unlink(missing_ok=True)
            raise httpx2.RemoteProtocolError("another part than the one asked for")
        hf_raise_for_status(answer)
        with files.open_to_append(partial) as file:
            if answer.status_code != 206:
                bar.update(-start)
                start = 0
                file.truncate(0)
            for piece in answer.iter_bytes(SLICE):
                file.write(piece)
                bar.update(len(piece))
                start += len(piece)
                if start > size:
                    return  # which is then found to be too long


def _insist(
    ask: Callable[[], Result],
    name: str,
    revision: str | None,
    account: Account,
    arrived: Callable[[], int] = lambda: 0,
) -> Result:
    """The result of a request that is made as often as that is worth it; what huggingface_hub raises is told here."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    patience = transfer.Patience()
    while True:
        before, wait = arrived(), None
        failure: PalituneError
        try:
            return ask()
        except HfHubHTTPError as error:
            status, wait = error.response.status_code, error.response.headers.get("Retry-After")
            failure, worthwhile = _refused(error, name, revision, account), status in transfer.BUSY
        except httpx2.HTTPError as error:
            kept = ": what has arrived is kept" if arrived() else ""
            hint = f"Check the network, HTTPS_PROXY and HF_ENDPOINT, and run it again{kept}"
            what = f"cannot reach Hugging Face for {name} ({type(error).__name__})"
            failure, worthwhile = NetworkError(what, hint=hint), bool(arrived()) or not _is_nobody(error)
        except OfflineModeIsEnabled:
            raise not_cached(name) from None
        except httpx2.InvalidURL:
            hint = "It begins with http:// or https://"
            raise MissingInputError("no address that could be fetched", where="HF_ENDPOINT", hint=hint) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            what = f"what answers for {name} is not Hugging Face"
            raise NetworkError(what, hint="Check HF_ENDPOINT, and whether the network wants a sign-in") from None
        if not worthwhile or not patience.again(arrived() > before, wait):
            raise failure


def _is_nobody(error: Exception) -> bool:
    """Whether no connection could be made at all, so that waiting does not help."""
    import httpx2

    nobody = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
    return isinstance(error, nobody)


def _refused(error: "HfHubHTTPError", name: str, revision: str | None, account: Account) -> PalituneError:
    from huggingface_hub import errors

    status, page = error.response.status_code, f"{SITE}/{name}"
    if isinstance(error, errors.GatedRepoError):
        return _gated(status, name, account)
    if isinstance(error, errors.RevisionNotFoundError):
        hint = f"{page}/tree/main lists its branches"
        return MissingInputError(f"the repository has no revision {revision} (HTTP {status})", where=name, hint=hint)
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return MissingInputError(f"the repository lacks a file that it lists (HTTP {status})", where=name, hint=page)
    if isinstance(error, errors.RepositoryNotFoundError):
        what = f"Hugging Face has no such model, or none that {_seen_by(account)} may see (HTTP {status})"
        near = [] if name in published_models.HUGGING_FACE else published_models.similar(name)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"If it is private: {WAYS}"
        return MissingInputError(what, where=name, hint=hint)
    if status == 401 and not account.token:
        return CredentialsError(f"{name} needs a token (HTTP 401)", hint=WAYS)
    if status == 401:
        what = f"Hugging Face does not accept the token from {account.source} (HTTP 401)"
        return CredentialsError(what, hint=WAYS)
    if status == 403:
        return CredentialsError(f"Hugging Face refuses {name} (HTTP 403)", hint=f"Its page is {page}; {WAYS}")
    if status == 429:
        what = f"Hugging Face has had too many requests of {_seen_by(account)} (HTTP 429) for {name}"
        return NetworkError(what, hint="Wait an hour and run it again: what has arrived is kept")
    return NetworkError(f"Hugging Face answers HTTP {status} for {name}", hint="Run it again later")


def _seen_by(account: Account) -> str:
    return f"the account of the token from {account.source}" if account.token else "people without a token"


def _gated(status: int, name: str, account: Account) -> CredentialsError:
    if not account.token:
        what = f"{name} is for people who have accepted its licence, and there is no token (HTTP {status})"
        return CredentialsError(what, hint=f"Accept it at {SITE}/{name}. {WAYS}")
    why = "the account has not accepted the licence, or the token may not read gated repositories"
    hint = f"Accept it at {SITE}/{name} with the account of the token from {account.source}"
    return CredentialsError(f"Hugging Face refuses {name} (HTTP {status}): {why}", hint=hint)


def damaged(found: Listing, file: str, wrong: str) -> BadDataError:
    """What to tell of a file that was fetched twice and is not the one that is listed."""
    return BadDataError(f"what arrives for {file} is damaged ({wrong})", where=found.name, hint="Try again later")

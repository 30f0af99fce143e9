"""Files of published models from Kaggle, through kagglehub.

kagglehub resumes what was cut, and checks little: a file that has its full length is taken for whole, and whatever a
server answers to a request for the rest is appended. So every file is verified before it is used.
"""

import contextlib
import os
import re
import sys
from pathlib import Path

from palitune.errors import BadDataError, CredentialsError, MissingInputError, NetworkError, PalituneError
from palitune.hub import transfer

SETTINGS = "https://www.kaggle.com/settings"
WAYS = (
    f"Make a token at {SETTINGS} and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token (docs/troubleshooting.md "
    "has the other ways)"
)
VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")


def credentials() -> str | None:
    """Where Kaggle's credentials would come from, in kagglehub's order; None if there are none. Never their content.

    Beside kagglehub's ways, `access_token` is also looked for in KAGGLE_CONFIG_DIR.
    """
    usual = Path(os.path.expanduser("~")) / ".kaggle"
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or usual)
    if _value("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    for place in dict.fromkeys((folder, usual)):
        for name in ("access_token", "access_token.txt"):
            if os.path.isfile(place / name):  # which a folder that cannot be entered does not make an error
                return str(place / name)
    if _value("KAGGLE_USERNAME") and _value("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    return str(folder / "kaggle.json") if os.path.isfile(folder / "kaggle.json") else None


def _value(name: str) -> str:
    return os.environ.get(name, "").strip()


def sign_in(name: str) -> str:
    """Makes what a person has set ready for kagglehub; returns where it comes from.

    Raises:
      CredentialsError: there is nothing, or nothing that can be read.
    """
    source = credentials()
    if source is None:
        raise CredentialsError(f"downloading {name} needs a Kaggle account", hint=WAYS)
    for variable in VARIABLES:
        if variable in os.environ:
            os.environ[variable] = _value(variable)  # `$(cat token)` of a file from Windows leaves a carriage return
    if Path(source).name.startswith("access_token"):
        os.environ["KAGGLE_API_TOKEN"] = source
    # kagglehub's notes go where stdout leads when it is imported.
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import kagglehub.config

        found = kagglehub.config.get_kaggle_credentials()
    except (ValueError, TypeError, RecursionError, RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not what Kaggle's kaggle.json holds"
        raise CredentialsError(f"Kaggle's credentials cannot be read ({reason})", where=source, hint=WAYS) from None
    if found is None:
        raise CredentialsError("Kaggle's credentials are empty", where=source, hint=WAYS)
    for value in (found.username, found.key, found.api_key):
        if value is not None and not (isinstance(value, str) and re.fullmatch(r"[!-~]{1,4096}", value)):
            what = "Kaggle's credentials have blanks, line breaks or characters that no token has"
            raise CredentialsError(what, where=source, hint=WAYS)
    return source


def fetch(
    handle: str,
    file: str,
    target: Path,
    folder: Path,
    source: str,
    problem: transfer.Problem,
    silent: bool = False,
) -> None:
    """A file of a model's pinned version, whole at `target` or not at all.

    What has arrived is kept in `folder`, on the same volume, and the next attempt or call goes on from there.

    Args:
      handle: `owner/model/framework/variation/version`.
      source: what `sign_in` has returned.
      problem: says of the whole file what is wrong with it, or None.

    Raises:
      CredentialsError: the credentials are wrong, or the licence was not accepted.
      NetworkError: no network, or the server failed.
      MissingInputError: Kaggle has no such file.
      BadDataError: what it sends is damaged.
      StorageError: the disk is full, or the folder cannot be written.
    """
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    arriving = partial(handle, file, folder)
    damages = 0
    while True:
        found = _arrive(handle, file, arriving, source, silent)
        try:
            wrong = problem(found) if found else "its MD5 is not the one that Kaggle names"
            if found and not wrong:
                target.parent.mkdir(parents=True, exist_ok=True)
                transfer.settle(found, target, silent)
                return
            arriving.unlink(missing_ok=True)
        except OSError as error:
            raise transfer.unwritable(error, target) from None
        damages += 1
        if damages == 2:
            hint = "Try again later"
            raise BadDataError(f"what Kaggle sends for {file} is damaged ({wrong})", where=handle, hint=hint)


def partial(handle: str, file: str, folder: Path) -> Path:
    """Where kagglehub keeps what has arrived of a file, in its cache at `folder`."""
    return folder / "models" / handle / file


def _arrive(handle: str, file: str, arriving: Path, source: str, silent: bool) -> Path | None:
    """What Kaggle has sent, as often as that takes; None if it is not what Kaggle says it is."""
    import kagglehub
    import requests
    from kagglehub import exceptions

    patience = transfer.Patience()
    while True:
        before, wait = transfer.size(arriving), None
        failure: PalituneError
        try:
            with contextlib.ExitStack() as streams:
                notes = streams.enter_context(open(os.devnull, "w")) if silent else sys.stderr
                streams.enter_context(contextlib.redirect_stdout(notes))
                streams.enter_context(contextlib.redirect_stderr(notes))
                return Path(kagglehub.model_download(handle, file))
        except exceptions.DataCorruptionError:
            return None
        except (exceptions.CredentialError, exceptions.UnauthenticatedError):
            raise CredentialsError("Kaggle does not accept the credentials", where=source, hint=WAYS) from None
        except exceptions.KaggleApiHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            wait = error.response.headers.get("Retry-After") if error.response is not None else None
            failure = _refused(status, handle, file, source)
            worthwhile = status in transfer.BUSY
        except requests.RequestException as error:
            arrived = transfer.size(arriving)
            kept = f": {arrived:,} bytes have arrived and are kept" if arrived else ""
            hint = f"Check the network and run it again{kept}"
            failure = NetworkError(f"cannot reach Kaggle for {file} ({type(error).__name__})", hint=hint)
            worthwhile = bool(arrived or patience.failures) or not transfer.is_offline(error)
        except OSError as error:
            raise transfer.unwritable(error, arriving) from None
        if not worthwhile or not patience.again(transfer.size(arriving) > before, wait):
            raise failure


def _refused(status: int, handle: str, file: str, source: str) -> PalituneError:
    page = f"https://www.kaggle.com/models/{'/'.join(handle.split('/')[:2])}"
    if status == 401:
        what = f"Kaggle does not know the credentials from {source} (HTTP 401)"
        return CredentialsError(what, hint=f"Make a new token at {SETTINGS}; the model's page is {page}")
    if status == 403:
        what = f"Kaggle refuses {file} (HTTP 403): the account has not accepted the licence"
        return CredentialsError(what, hint=f"Accept it at {page} with the account whose credentials are in {source}")
    if status == 404:
        hint = f"Look for it at {page}, fetch it with the browser and name the file with --from"
        return MissingInputError(f"Kaggle has no {file} (HTTP 404)", where=handle, hint=hint)
    if status == 429:
        what = f"Kaggle has had too many requests of this account (HTTP 429) for {file}"
        return NetworkError(what, hint="Wait an hour and run it again: what has arrived is kept")
    hint = "Run it again later: what has arrived is kept"
    return NetworkError(f"Kaggle answers HTTP {status} for {file}", hint=hint)

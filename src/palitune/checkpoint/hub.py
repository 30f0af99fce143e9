"""Published weights by their names, and the tiny model that ships with palitune.

Weights come from Kaggle through kagglehub, into `cache/models/<name>/`; the tokenizer, which all published models
share, from big_vision's public bucket.
"""

import importlib.resources
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from palitune import files
from palitune.errors import BadDataError, CredentialsError, MissingInputError, NetworkError, StorageError
from palitune.models.variants import VOCAB_SIZE

TINY = "tiny"
TINY_VOCAB_SIZE = 512
TOKENIZER_URL = "https://storage.googleapis.com/big_vision/paligemma_tokenizer.model"
TIMEOUT = 30  # seconds without a byte


class Published(NamedTuple):
    """Where Kaggle has a model: `owner/model/framework/variation/version`, and the file in it."""

    handle: str
    file: str

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/models/{'/'.join(self.handle.split('/')[:2])}"


def _catalogue() -> dict[str, Published]:
    # Handles and file names: big_vision's configs/proj/paligemma/README.md and Kaggle's model pages.
    models = {}
    for name in ("pt-224", "pt-448", "pt-896", "mix-224", "mix-448"):
        variation = f"paligemma-3b-{name}"
        models[name] = Published(f"google/paligemma/jax/{variation}/1", f"{variation}.f16.npz")
    for size in ("3b", "10b", "28b"):
        for name in ("pt-224", "pt-448", "pt-896", "mix-224", "mix-448"):
            variation = f"paligemma2-{size}-{name}"
            models[f"{size}-{name}"] = Published(f"google/paligemma-2/jax/{variation}/1", f"{variation}.b16.npz")
    return models


PUBLISHED = _catalogue()
NAMES = (TINY, *PUBLISHED)


def folder(cache: Path) -> Path:
    return cache / "models"


def checkpoint_path(name: str, cache: Path) -> Path:
    """Where the checkpoint of a name is, or will be, once downloaded."""
    file = "tiny.npz" if name == TINY else PUBLISHED[name].file
    return folder(cache) / name / file


def tokenizer_path(vocab_size: int, cache: Path) -> Path | None:
    """The tokenizer of a checkpoint with this vocabulary, if it is one of ours."""
    if vocab_size == VOCAB_SIZE:
        return folder(cache) / "paligemma_tokenizer.model"
    return folder(cache) / TINY / "tokenizer.model" if vocab_size == TINY_VOCAB_SIZE else None


def downloaded(cache: Path) -> list[str]:
    """Names of the models in the cache, the latest first, the tiny one always last."""
    present = [name for name in NAMES if checkpoint_path(name, cache).is_file()]
    present.sort(key=lambda name: checkpoint_path(name, cache).stat().st_mtime, reverse=True)
    return sorted(present, key=lambda name: name == TINY)


def download(name: str, cache: Path) -> Path:
    """Fetches a model and its tokenizer unless they are there; returns the checkpoint's path.

    Raises:
      CredentialsError: Kaggle's credentials are missing, wrong, or the licence was not accepted.
      NetworkError: no network, or the server failed.
      MissingInputError: Kaggle has no such file.
      StorageError: the cache cannot be written.
    """
    if name == TINY:
        _copy_tiny(cache)
    else:
        if not checkpoint_path(name, cache).is_file():
            _download_weights(name, cache)
        tokenizer = tokenizer_path(VOCAB_SIZE, cache)
        if tokenizer is not None and not tokenizer.is_file():
            _download_tokenizer(tokenizer)
    return checkpoint_path(name, cache)


def _copy_tiny(cache: Path) -> None:
    source = importlib.resources.files("palitune") / "tiny"
    for file in ("tiny.npz", "tokenizer.model"):
        target, content = folder(cache) / TINY / file, (source / file).read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            files.write(target, content)


def _download_weights(name: str, cache: Path) -> None:
    # The downloads are big: nothing else of kagglehub's work should land in the home folder.
    os.environ.setdefault("KAGGLEHUB_CACHE", str(cache / "kagglehub"))
    import kagglehub
    import kagglehub.config
    import kagglehub.exceptions
    import requests

    model = PUBLISHED[name]
    ways = "Put KAGGLE_API_TOKEN in the environment or kaggle.json into ~/.kaggle (https://www.kaggle.com/settings)"
    try:
        credentials = kagglehub.config.get_kaggle_credentials()
    except ValueError as error:
        raise CredentialsError(f"Kaggle's credentials cannot be read ({error})", hint=ways) from None
    if credentials is None:
        raise CredentialsError(f"downloading {name} needs a Kaggle account", hint=ways)
    target = checkpoint_path(name, cache)
    try:
        fetched = Path(kagglehub.model_download(model.handle, model.file, output_dir=str(target.parent)))
        if fetched != target:
            shutil.move(fetched, target)
    except (kagglehub.exceptions.CredentialError, kagglehub.exceptions.UnauthenticatedError) as error:
        raise CredentialsError(f"Kaggle does not accept the credentials ({error})", hint=ways) from None
    except kagglehub.exceptions.KaggleApiHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            hint = f"Check the credentials, and accept the licence at {model.page}"
            raise CredentialsError(f"Kaggle refuses {name} (HTTP {status})", hint=hint) from None
        if status == 404:
            raise MissingInputError(f"Kaggle has no {model.file} (HTTP 404)", where=model.handle) from None
        raise NetworkError(f"Kaggle answers HTTP {status} for {name}", hint="Try again later") from None
    except requests.RequestException as error:
        hint = "Check the network and try again"
        raise NetworkError(f"cannot reach Kaggle for {name} ({type(error).__name__})", hint=hint) from None
    except kagglehub.exceptions.DataCorruptionError as error:
        raise BadDataError(f"the download of {name} is damaged ({error})", hint="Try again") from None
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(target)) from None


def _download_tokenizer(target: Path) -> None:
    try:
        with urllib.request.urlopen(TOKENIZER_URL, timeout=TIMEOUT) as answer:
            content = answer.read()
    except urllib.error.HTTPError as error:
        raise NetworkError(f"the tokenizer's server answers HTTP {error.code}", where=TOKENIZER_URL) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        hint = "Check the network and try again"
        raise NetworkError(f"cannot fetch the tokenizer ({reason})", where=TOKENIZER_URL, hint=hint) from None
    files.write(target, content)

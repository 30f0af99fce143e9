"""Published weights by their names, and the tiny models that ship with palitune.

PaliGemmas come from Kaggle into `cache/models/<name>/`; the tokenizer, which all of them share, from big_vision's
public bucket. `owner/name` is a repository on Hugging Face, whose files come into `cache/models/<owner>--<name>/`. What
has arrived whole has its SHA-256 beside it, and is held to that at each use.
"""

import contextlib
import importlib.resources
import math
import re
from pathlib import Path

from tqdm import tqdm

from palitune.checkpoint import npz
from palitune.errors import BadDataError, MissingInputError, OutputExistsError
from palitune.hub import checksum, kaggle, published_models, snapshot, snapshot_download, transfer
from palitune.models import families, spec
from palitune.models.families import PALIGEMMA_VOCABULARY
from palitune.models.spec import ModelSpec
from palitune.storage import atomic_files, files, locks

TINY, TINY3, TINYTEXT = "tiny", "tiny3", "tinytext"
TOKENIZER = "tokenizer.model"
# The models that ship with palitune, with their files, weights last: a PaliGemma, and two Gemma 3 as Hugging Face has
# them, with images and without.
FOLDER = ("config.json", "generation_config.json", TOKENIZER, "model.safetensors")
PACKAGED = {TINY: (TOKENIZER, "tiny.npz"), TINY3: FOLDER, TINYTEXT: FOLDER}
TOKENIZER_URL = "https://storage.googleapis.com/big_vision/paligemma_tokenizer.model"
ADDRESS = re.compile(r"[a-z]+://", re.IGNORECASE)
SLICE = 32 << 20  # bytes
PUBLISHED = published_models.KAGGLE
NAMES = (*PACKAGED, *PUBLISHED)


def short(name: str) -> str:
    """A published model's name here, of the one that Kaggle has for it: `paligemma2-3b-pt-224` is `3b-pt-224`."""
    return name.removeprefix("paligemma-3b-").removeprefix("paligemma2-")


def folder(cache: Path) -> Path:
    """The folder of downloaded models."""
    return cache / "models"


def is_known(name: str) -> bool:
    """Whether a name is that of a published model: in `NAMES`, or on Hugging Face with or without `@revision`."""
    return name in NAMES or name.partition("@")[0] in published_models.HUGGING_FACE


def checkpoint_path(name: str, cache: Path) -> Path:
    """Where the checkpoint of a name is, or will be, once downloaded: a file, or the folder of a repository."""
    if repository := snapshot.parse(name):
        return snapshot.folder_of(repository[0], folder(cache))
    weights = _weights(name, folder(cache))
    return weights.parent if PACKAGED.get(name) == FOLDER else weights


def packaged(name: str) -> Path:
    """The checkpoint of one of `PACKAGED` inside the installed package, where nothing is written."""
    weights = _weights(name, _package())
    return weights.parent if PACKAGED.get(name) == FOLDER else weights


def _package() -> Path:
    return Path(str(importlib.resources.files("palitune")))


def _weights(name: str, place: Path) -> Path:
    """The weights of one of `NAMES` in a place that has a folder for each model."""
    return place / name / (PACKAGED[name][-1] if name in PACKAGED else PUBLISHED[name].file)


def present(name: str, cache: Path) -> Path | None:
    """The checkpoint of a name that can be read now: downloaded, or a tiny one in the package, or None."""
    if repository := snapshot.parse(name):
        path = checkpoint_path(name, cache)
        found = snapshot.read(path)
        return path if found is not None and found.is_at(repository[1]) else None
    if name not in NAMES:
        return None
    if _weights(name, folder(cache)).is_file():
        return checkpoint_path(name, cache)
    return packaged(name) if name in PACKAGED else None


def tokenizer_path(vocab_size: int, cache: Path) -> Path | None:
    """The tokenizer for a vocabulary of this size, or None if no published model has one.

    The published models' tokenizer may not have been downloaded; a tiny model's is always there.
    """
    name = families.tokenizer_of(vocab_size)
    if name is None:
        return None
    if name not in PACKAGED:
        return folder(cache) / f"{name}_tokenizer.model"
    copied = folder(cache) / name / TOKENIZER
    return copied if copied.is_file() else _package() / name / TOKENIZER


def downloaded(cache: Path) -> list[str]:
    """Names of the models in the cache, the latest first, the tiny ones always last, and `tiny` behind the others."""
    files = {name: path for name in NAMES if (path := _weights(name, folder(cache))).is_file()}
    files |= {name: path / snapshot.SOURCE for name, path in snapshot.present(folder(cache)).items()}
    latest = sorted(files, key=lambda name: files[name].stat().st_mtime, reverse=True)
    return sorted(latest, key=lambda name: (name in PACKAGED, name == TINY))


def has_checksum(name: str, cache: Path) -> bool:
    """Whether it is written down what a downloaded model was when it came."""
    return snapshot.parse(name) is not None or bool(checksum.recorded(checkpoint_path(name, cache)))


def download(
    name: str,
    cache: Path,
    source: str | None = None,
    tokenizer_source: str | None = None,
    overwrite: bool = False,
    silent: bool = False,
) -> Path:
    """Fetches a model and its tokenizer unless they are there; returns the checkpoint's path.

    Args:
      name: one of `NAMES`, or `owner/name` or `owner/name@revision` on Hugging Face.
      source: a file or a URL to have the weights from instead of Kaggle.
      tokenizer_source: the same for the tokenizer.
      overwrite: download again what is already there.
      silent: no progress bars.

    Raises:
      CredentialsError: the credentials are missing, wrong, or the licence was not accepted.
      NetworkError: no network, or the server failed.
      MissingInputError: there is no such file, or no such repository.
      BadDataError: what came is damaged or another model, or what was there has changed since.
      OutputExistsError: a `source` is given for what is there, or another revision is, without `overwrite`; or another
        process downloads.
      StorageError: the cache cannot be written, or has no room.
    """
    target = checkpoint_path(name, cache)
    if name in PACKAGED:
        _copy(name, cache)
        return target
    if repository := snapshot.parse(name):
        with _alone(cache):
            return snapshot_download.download(*repository, folder(cache), overwrite, silent)
    tokenizer = folder(cache) / "paligemma_tokenizer.model"
    for path, other in ((target, source), (tokenizer, tokenizer_source)):
        if path.exists() and other is not None and not overwrite:
            raise OutputExistsError("this file exists", where=str(path), hint="--overwrite replaces it")
    with _alone(cache):
        if target.is_file() and not overwrite:
            _verify(target, silent)
        else:
            _fetch_weights(name, target, cache, source, silent)
        if not tokenizer.is_file() or overwrite:
            _fetch(tokenizer_source or TOKENIZER_URL, tokenizer, _tokenizer_problem, silent)
    return target


def _alone(cache: Path) -> contextlib.AbstractContextManager[None]:
    return locks.exclusive(folder(cache) / ".lock", "downloads into this cache")


def _verify(target: Path, silent: bool) -> None:
    """What is already there: what it was when it came, or whole if nobody has written down what it was."""
    if checksum.recorded(target):
        checksum.verify(target, silent)
        return
    if wrong := npz.problem(target):
        hint = "palitune download --overwrite fetches it again"
        raise BadDataError(f"damaged ({wrong})", where=str(target), hint=hint)
    checksum.keep(target, silent)


def is_address(source: str) -> bool:
    """Whether a source is a URL and not a file's name."""
    return ADDRESS.match(source) is not None


def _copy(name: str, cache: Path) -> None:
    """Copies a model of the package into the cache, weights last: where they are, all is."""
    for file in PACKAGED[name]:
        target, content = folder(cache) / name / file, (_package() / name / file).read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            atomic_files.write(target, content, shared=True)


def _fetch_weights(name: str, target: Path, cache: Path, source: str | None, silent: bool) -> None:
    model = PUBLISHED[name]

    def problem(path: Path) -> str | None:
        return npz.problem(path) or _other_model(path, model.sizes, name)

    if source is not None:
        _fetch(source, target, problem, silent)
        return
    signed_in = kaggle.sign_in(model.file)
    parts = cache / "kagglehub"
    needed = 2 * sum(math.prod(part.shape) for part in spec.expected(model.sizes).values())  # bytes, in 16 bit
    parts.mkdir(parents=True, exist_ok=True)
    atomic_files.check_space(parts, needed - transfer.size(kaggle.partial(model.handle, model.file, parts)), name)
    kaggle.fetch(model.handle, model.file, target, parts, signed_in, npz.problem, silent)


def _other_model(path: Path, sizes: ModelSpec, name: str) -> str | None:
    """What tells a file that a person named from the model that they said it is."""
    found = families.read(npz.Checkpoint(path), str(path))
    if found == sizes:
        return None
    return f"not {name}: {found.image_encoder.image_size} pixels, {found.llm.depth} layers of width {found.llm.width}"


def _tokenizer_problem(path: Path) -> str | None:
    import sentencepiece

    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path)).vocab_size()
    except (RuntimeError, OSError):
        return "not a SentencePiece model"
    return None if pieces <= PALIGEMMA_VOCABULARY else f"{pieces} pieces, not PaliGemma's {PALIGEMMA_VOCABULARY}"


def _fetch(source: str, target: Path, problem: transfer.Problem, silent: bool) -> None:
    """A file from a URL or from this machine."""
    if is_address(source):
        transfer.fetch(source, target, problem, silent)
        return
    path = Path(source)
    if not path.is_file():
        what = "no such file" if not path.exists() else "not a file"
        raise MissingInputError(what, where=source or "''", hint="--from takes a file or an http(s) address")
    if wrong := problem(path):
        raise BadDataError(wrong, where=source, hint="Nothing was copied")
    if target.exists() and path.samefile(target):
        checksum.keep(target, silent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.check_space(target.parent, path.stat().st_size, source)
    size = path.stat().st_size
    bar = tqdm(desc=path.name, total=size, unit="B", unit_scale=True, disable=silent)
    found = checksum.replacing(path, target, silent)
    with atomic_files.replacing(target, size) as file, files.open_to_read(path) as opened, bar:
        while piece := opened.read(SLICE):
            file.write(piece)
            bar.update(len(piece))
    checksum.replaced(target, found)

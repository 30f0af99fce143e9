"""Where things are: the repository's `checkpoints/`, `cache/` and the stages' `dataset/`."""

import difflib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from palitune.checkpoint import manifest, peft_config, tensor_files, transformers_checkpoint, verified_files
from palitune.console import command
from palitune.errors import MissingInputError, OutputExistsError, UsageError
from palitune.home import cache as cache
from palitune.home import candidates
from palitune.home import checkpoints as checkpoints
from palitune.home import root as root
from palitune.hub import catalogue, published_models, snapshot
from palitune.storage import files, private_folders

_noted: set[Path] = set()  # what has been said of folders


def own_folder(name: str) -> Path | None:
    """A folder that only the user can write to: in `cache/`, else in the user's own cache; None where there is none."""
    return next(filter(private_folders.create, (cache() / name, private_folders.cache_folder() / name)), None)


def remember_verified() -> None:
    """What is found sound from here on is remembered for the next start."""
    verified_files.folder = own_folder("verified")


def compiled() -> Path | None:
    """Where compiled programs are kept, which are run as they are. Says so where that is not `cache/`."""
    usual, found = cache() / "compiled", own_folder("compiled")
    if found != usual and os.access(cache(), os.W_OK) and usual not in _noted:
        _noted.add(usual)
        instead = f"are kept in {found}" if found else "are not kept"
        why = "others than you can write to it, or to a folder above it"
        print(f"note: compiled programs {instead} and not in {usual}: {why}", file=sys.stderr)
    return found


def _folders(name: str) -> list[Path]:
    """What may be meant that is no `.npz`: the folder of a model or an adapter, or its safetensors file."""
    path = Path(name)
    return [checkpoints() / name, path] if path.name == name else [path]


def checkpoint_to_read(name: str | None) -> Path:
    """A checkpoint: a path, a bare name in `checkpoints/`, the name of a downloaded model, or of one that ships.

    It is a file, or the folder of a model from Hugging Face or of an adapter in PEFT's form. Without a name it is the
    latest downloaded model.

    Raises:
      MissingInputError: there is none, with the names there are.
    """
    if name is None:
        return catalogue.checkpoint_path(latest_model(), cache())
    if not Path(name).name:
        raise MissingInputError(f"-m {name!r} names no checkpoint", hint="It is a path or a name")
    files_there = [path for path in candidates(name) if path.is_file()]
    folders = [
        path for path in _folders(name) if transformers_checkpoint.is_model(path) or peft_config.is_adapter(path)
    ]
    for path in (*files_there, *folders):
        if catalogue.is_known(name) and path not in _noted:
            _noted.add(path)
            print(f"note: -m {name} is {path} here, not the published model of that name", file=sys.stderr)
        return path
    present = catalogue.present(name, cache())
    if present is not None:
        return present
    if catalogue.is_known(name):
        hint = f"Run {command('download')} --model {name}"
        raise MissingInputError(f"the model {name} has not been downloaded", hint=hint)
    own = [path.stem for path in sorted(checkpoints().glob("*.npz"))]
    own += sorted({path.parent.name for path in checkpoints().glob(f"*/{tensor_files.WHOLE}*")})
    known = list(dict.fromkeys([*own, *catalogue.downloaded(cache()), *catalogue.PACKAGED]))
    near = difflib.get_close_matches(Path(name).stem, known, 1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
    if (published := published_models.named(name)) and published not in known:
        hint += f". For the published model, run {command('download')} --model {published}"
    elif snapshot.parse(name) and not Path(name).parent.is_dir():
        hint += f". If Hugging Face has it, run {command('download')} --model {name}"
    raise MissingInputError(f"no checkpoint {name} (looked for {candidates(name)[0]})", hint=hint)


def name_of(checkpoint: Path) -> str:
    """A name by which `checkpoint_to_read` finds a checkpoint again, wherever it has been moved to."""
    if checkpoint.is_dir():
        downloaded = snapshot.read(checkpoint)
        return downloaded.name if downloaded else checkpoint.resolve().name
    if checkpoint.name in (tensor_files.WHOLE, tensor_files.INDEX, peft_config.WEIGHTS):
        return checkpoint.resolve().parent.name
    return checkpoint.stem if checkpoint.suffix == ".npz" else checkpoint.name


def checkpoint_to_annotate(name: str) -> Path:
    """As `checkpoint_to_read`, for what is then written beside the checkpoint.

    A model that ships with the package is copied into the cache first: the package's own folder stays as it is.
    """
    path = checkpoint_to_read(name)
    packaged = next((one for one in catalogue.PACKAGED if path == catalogue.packaged(one)), None)
    return catalogue.download(packaged, cache()) if packaged else path


def latest_model() -> str:
    """Name of the latest downloaded model. Raises MissingInputError if there is none."""
    present = catalogue.downloaded(cache())
    if not present:
        hint = f"Run {command('download')} first, or name a model with -m (-m {catalogue.TINY} needs no download)"
        raise MissingInputError("no model has been downloaded", hint=hint)
    return present[0]


def checkpoint_to_write(name: str) -> Path:
    """Where a checkpoint of this name goes: bare names and `checkpoints/...` into the repository's `checkpoints/`."""
    if name.replace(os.sep, "/").rpartition("/")[2] in ("", ".", ".."):
        raise UsageError(f"-w {name!r} names no file")
    files.require_text(name)
    found = candidates(name)
    return found[-1] if Path(name).parts[0] == "checkpoints" else found[0]


def check_free(target: Path, overwrite: bool) -> None:
    """Raises OutputExistsError if a checkpoint, or anything in its manifest's place, would be replaced unasked.

    Raises UsageError for the name of a published model: -m of that name would mean this one from then on.
    """
    if target.stem in catalogue.NAMES and target.parent.resolve() == checkpoints().resolve():
        what = f"{target.stem} is the name of a published model, which -m {target.stem} could then no longer mean"
        raise UsageError(what, hint="Use another name with -w")
    for path in (target, manifest.path_of(target)):
        if path.exists() and not overwrite:
            hint = "Use another name with -w, or --overwrite"
            raise OutputExistsError("this file exists", where=str(path), hint=hint)


def file_to_write(name: str, overwrite: bool, inputs: Iterable[str] = ()) -> Path:
    """Where an output goes: behind a link to where it leads.

    Raises:
      UsageError: a folder or a device is there, one of the inputs, or nothing that names a file.
      OutputExistsError: a file is there, and `overwrite` is false.
    """
    path = Path(name)
    if path.exists() and not path.is_file():
        hint = "It is a folder: name a file in it" if path.is_dir() else None
        raise UsageError(f"{name} is not a file that could be written", hint=hint)
    if not path.name or name == "-":
        raise UsageError(f"{name!r} names no file to write")
    if path.exists() and any(Path(one).is_file() and path.samefile(one) for one in inputs):
        raise UsageError(f"{name} is read too: write another file")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UsageError(f"{name}: {parent} is not a folder")
    if path.exists() and not overwrite:
        raise OutputExistsError("this file exists", where=name, hint="Use another name, or --overwrite")
    return path.resolve() if path.is_symlink() else path


def copied_stdin(folder: Path) -> Path:
    """Standard input as a file, for what is read more than once. Raises MissingInputError where it is closed."""
    if sys.stdin is None:
        raise MissingInputError("standard input is closed", hint="Name a file")
    path = folder / "stdin"
    with path.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return path

"""Downloads what a model needs of a repository on Hugging Face, into a folder that appears when all of it is there.

What is in huggingface_hub's own cache already is linked from there, or copied where there are no hard links, instead of
being fetched again; nothing is added to that cache, so that a model takes its room once.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from palitune.errors import BadDataError, MissingInputError, OutputExistsError, listed
from palitune.hub import checksum, huggingface, snapshot, transfer
from palitune.hub.huggingface import Account, Entry, Listing
from palitune.hub.snapshot import Snapshot, Stored
from palitune.storage import atomic_files, files

WANTED = (
    *("config.json", "generation_config.json", "adapter_config.json", "model.safetensors.index.json"),
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("preprocessor_config.json", "processor_config.json", "chat_template.json", "chat_template.jinja"),
)
INDEX = "model.safetensors.index.json"
LONGEST_INDEX = 64 << 20  # bytes
# Weights as transformers names them. Where there are such, other .safetensors are the same weights once more.
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
ANY_WEIGHTS = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
SLICE = 32 << 20  # bytes


def download(name: str, revision: str | None, models: Path, overwrite: bool = False, silent: bool = False) -> Path:
    """The folder of the model `owner/name`, which is fetched unless it is there and complete.

    Args:
      revision: a branch, a tag or a commit; None is the branch `main`, or whatever is there already.
      models: the folder of downloaded models.
      overwrite: fetch again what is not as the repository lists it, and put it in place of what is there.
      silent: no progress bars.

    Raises:
      CredentialsError: the token is missing or not accepted, or the licence was not accepted.
      MissingInputError: there is no such repository or revision, or it has no weights.
      NetworkError: no network, or none wanted, or the server failed.
      BadDataError: what came, or what was there, is damaged; or the weights are pickled.
      OutputExistsError: another revision is there, or a folder that palitune has not made, without `overwrite`.
      StorageError: the folder cannot be written, or has no room.
    """
    target = snapshot.folder_of(name, models)
    if target.exists() and not overwrite:
        _verify(name, revision, target, silent)
        return target
    with huggingface.opened() as account:
        cached = None
        if huggingface.is_offline():
            cached = _cached(name, revision)
            found = _listing_of(name, cached)
        else:
            found = huggingface.listing(name, revision, account)
        chosen = _chosen(found)
        arriving = _arriving(target, chosen.commit)
        try:
            stored = _arrive(chosen, arriving, [target, *([cached] if cached else [])], account, silent)
            snapshot.write(arriving, Snapshot(name, revision or "main", found.commit, stored))
            _put(arriving, target)
        except OSError as error:
            raise transfer.unwritable(error, arriving) from None
    return target


def _verify(name: str, revision: str | None, target: Path, silent: bool) -> None:
    """What is there: the revision that was asked for, and each file what it was."""
    found = snapshot.read(target)
    if found is None:
        what = f"this is in the place of {name}, and palitune did not download it"
        raise OutputExistsError(what, where=str(target), hint="--overwrite replaces it")
    if not found.is_at(revision):
        what = f"{found.name} is there at revision {found.revision} (commit {found.commit[:12]}), not {revision}"
        raise OutputExistsError(what, where=str(target), hint="--overwrite replaces it")
    snapshot.verify(target, found, silent)


def _chosen(found: Listing) -> Listing:
    """What a model needs of a repository's files."""
    names = [name for name in found.entries if WEIGHTS.fullmatch(name)]
    names = names or [name for name in found.entries if ANY_WEIGHTS.fullmatch(name)]
    if not names:
        pickled = sorted(name for name in found.entries if name.lower().endswith(PICKLED))
        if pickled:
            what = f"its weights are pickled Python ({listed(pickled)}), which can run any program when it is read"
            hint = "Only .safetensors are read: look for a revision or a copy of the model that has them"
            raise BadDataError(what, where=found.name, hint=hint)
        there = f" but {listed(sorted(found.entries))}" if found.entries else ""
        raise MissingInputError(f"the repository has no .safetensors{there}", where=found.name)
    names += [name for name in WANTED if name in found.entries]
    # Small files first: what they say about the others is known then before gigabytes are fetched.
    names.sort(key=lambda name: (name.endswith(".safetensors"), name))
    return found._replace(entries={name: found.entries[name] for name in names})


def _arriving(target: Path, commit: str) -> Path:
    """Where the files of a commit wait for each other."""
    return target.with_name(f".{target.name}.{commit[:12]}")


def _arrive(found: Listing, folder: Path, elsewhere: list[Path], account: Account, silent: bool) -> dict[str, Stored]:
    """Fills `folder` with every file that is listed; what this machine has `elsewhere` is taken from there."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, entry in found.entries.items():
        target, places = folder / name, [one / name for one in elsewhere]
        is_here = target.is_file() and not entry.problem(target, silent)
        if is_here or _adopted(found, name, target, places, silent):
            stored[name] = _store(entry, target)
    missing = {name: entry.size for name, entry in found.entries.items() if name not in stored}
    here = sum(min(transfer.size(transfer.partial_of(folder / name)), size) for name, size in missing.items())
    total = sum(missing.values())
    atomic_files.check_space(folder, total - here, found.name)
    silent = silent or not missing
    bar = tqdm(desc=found.name, total=total, initial=here, unit="B", unit_scale=True, disable=silent)
    with bar:
        for name in found.entries:
            if name in missing:
                stored[name] = _fetch(found, name, folder / name, account, bar, silent)
            if name == INDEX:
                _check_index(found, folder / name)
    return stored


def _store(entry: Entry, target: Path) -> Stored:
    """Writes down the SHA-256 of a file that is as it is listed."""
    known = entry.sha256 or checksum.sha256(target)
    checksum.replaced(target, known)
    return Stored(entry.size, known)


def _adopted(found: Listing, name: str, target: Path, places: list[Path], silent: bool) -> bool:
    """Whether one of the places, or huggingface_hub's cache, had the file; then it is at `target` too."""
    from huggingface_hub import try_to_load_from_cache

    entry = found.entries[name]
    cached = try_to_load_from_cache(found.name, name, revision=found.commit)
    for place in (*places, *([Path(cached)] if isinstance(cached, str) else [])):
        with contextlib.suppress(OSError):  # what cannot be read there is fetched
            if place.is_file() and not entry.problem(place, silent):
                _link_or_copy(place, target, entry.size)
                return True
    return False


def _link_or_copy(place: Path, target: Path, size: int) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(place), target)
    except OSError:
        atomic_files.check_space(target.parent, size, target.name)
        with atomic_files.replacing(target, size) as file, files.open_to_read(place) as opened:
            shutil.copyfileobj(opened, file, SLICE)


def _fetch(found: Listing, name: str, target: Path, account: Account, bar: "tqdm[NoReturn]", silent: bool) -> Stored:
    """A file as it is listed; one that arrives otherwise is fetched once more, from its beginning."""
    entry, partial = found.entries[name], transfer.partial_of(target)
    for attempt in (1, 2):
        huggingface.fetch(found, name, partial, account, bar)
        wrong = entry.problem(partial, silent)
        if wrong is None:
            break
        bar.update(-partial.stat().st_size)
        partial.unlink()
        if attempt == 2:
            raise huggingface.damaged(found, name, wrong)
    transfer.settle(partial, target, silent, entry.sha256)
    return _store(entry, target)


def _check_index(found: Listing, path: Path) -> None:
    """Raises BadDataError unless the repository has every file that the index of its weights names."""
    try:
        shards = {str(shard) for shard in json.loads(files.read(path, LONGEST_INDEX))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadDataError("this is not an index of .safetensors", where=f"{found.name}/{INDEX}") from None
    if missing := sorted(shards - set(found.entries)):
        raise BadDataError(f"the repository lacks {listed(missing)}", where=f"{found.name}/{INDEX}")


def _put(arriving: Path, target: Path) -> None:
    """Puts the complete folder in its place, and removes what was there and what is left of earlier attempts."""
    atomic_files.sync_folder(arriving)
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    if os.path.lexists(target):
        target.rename(old)
    try:
        arriving.rename(target)
    except OSError:
        if os.path.lexists(old):
            old.rename(target)
        raise
    atomic_files.sync_folder(target.parent)
    for path in _leftovers(target):
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


def _leftovers(target: Path) -> Iterator[Path]:
    name = re.compile(rf"\.{re.escape(target.name)}\.([0-9a-f]{{12}}|[0-9a-f]{{8}}\.old)")
    return (path for path in list(target.parent.iterdir()) if name.fullmatch(path.name))


def _cached(name: str, revision: str | None) -> Path:
    """The folder of huggingface_hub's own cache that has a model's files, for people who want no request to be sent."""
    from huggingface_hub import snapshot_download

    try:
        patterns = [*WANTED, "*.safetensors"]
        return Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=patterns))
    except (OSError, ValueError):  # the former is also how huggingface_hub says that it has not got it
        raise huggingface.not_cached(name) from None


def _listing_of(name: str, folder: Path) -> Listing:
    """What a folder of huggingface_hub's cache holds: its links lead to files that are named by their checksums."""
    entries = {}
    for path in folder.iterdir():
        digest = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        if path.is_file() and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest):
            entries[path.name] = Entry(path.stat().st_size, digest, digest if len(digest) == 64 else None)
    if not any(ANY_WEIGHTS.fullmatch(one) for one in entries) or not snapshot.COMMIT.fullmatch(folder.name):
        raise huggingface.not_cached(name)
    return Listing(name, folder.name, entries)

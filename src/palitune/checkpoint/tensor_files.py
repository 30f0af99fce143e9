"""A model's safetensors files as one mapping: a file, or a folder with a file or with shards and their index.

The index, `model.safetensors.index.json`, says in which shard each tensor is. It has to name what the shards have, no
more and no less, and shards that lie beside it.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from palitune.checkpoint import verified_files
from palitune.checkpoint.tensor_file import (
    LONGEST_NAME,
    LONGEST_REASON,
    MOST_HEADER,
    MOST_TENSORS,
    PICKLES,
    Array,
    TensorFile,
    check_json,
    pickled,
    unique,
)
from palitune.errors import BadDataError, MissingInputError, listed
from palitune.storage import files

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SUFFIX, INDEX_SUFFIX = ".safetensors", ".safetensors.index.json"
SHARD = re.compile(r"[\w-][\w .=+-]{0,240}\.safetensors")  # the name of a file, and no path
MOST_SHARDS = 200
MOST_ENTRIES = 10_000  # of a folder, that are searched for something to name
THREADS = 4  # that read files through
LONG = 1 << 30  # bytes from which on reading takes long enough for a progress bar
INCOMPLETE = "Download or copy all of it again"


class TensorFiles(Mapping[str, Array]):
    """Read-only tensors by name, mapped from one file or more, which stay the files that they were.

    Attributes:
      path: as it was given: a safetensors file, an index, or a folder with either.
      files: the paths of all that is read: the index, if there is one, and the files with tensors.

    Raises:
      MissingInputError: there is no such file or folder, no model in the folder, or not all of its shards.
      BadDataError: a file is not what it should be, the index names other tensors than the shards have, or the weights
        are pickles.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = _in_folder(path) if os.path.isdir(path) else path
        if not found.name.endswith(INDEX_SUFFIX):
            file = TensorFile(found)
            self.files, self._files = [found], dict.fromkeys(file.tensors, file)
            return
        index = _index(found)
        shards = _shards(found, sorted(set(index.values())))
        self._files = {name: shard for shard in shards for name in shard.tensors}
        self.files = [found, *(shard.path for shard in shards)]
        _check_index(found, index, shards)

    @property
    def names(self) -> list[str]:
        """The tensors' names, in alphabetical order."""
        return sorted(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, whatever its dtype."""
        return self._files[name].tensors[name].shape

    def dtype(self, name: str) -> str:
        """The dtype of a tensor by its name in the format, such as `BF16`; those in `tensor_file.DTYPES` are read."""
        return self._files[name].tensors[name].dtype

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._files  # without mapping the tensor, as Mapping would

    def __getitem__(self, name: str) -> Array:
        return self._files[name].array(name)

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """What tells tensors apart by content. A safetensors file has no checksums, so these are `digests`."""
        return self.digests(lambda name: True, silent)

    def digests(self, wanted: Callable[[str], bool], silent: bool = True) -> dict[str, str]:
        """SHA-256 of tensors (dtype, shape, content). What is remembered of a file is not read again.

        `silent` shows no progress bar.

        Raises:
          BadDataError: a file has been cut off since it was opened.
          StorageError: a file can no longer be read.
        """
        names = [name for name in self if wanted(name)]
        left = [name for name in names if self._files[name].known_digest(name) is None]
        sizes = [self._files[name].tensors[name].size for name in left]
        silent = silent or sum(sizes) < LONG
        text = f"reading {self.path.name}, once"
        with (
            ThreadPoolExecutor(THREADS) as threads,
            tqdm(desc=text, total=sum(sizes), unit="B", unit_scale=True, leave=False, disable=silent) as bar,
        ):
            for size, _ in zip(sizes, threads.map(self._digest, left), strict=True):
                bar.update(size)
        if left:
            verified_files.flush()
        return {name: self._digest(name) for name in names}

    def verify(self, silent: bool = True) -> None:
        """Reads all files through, once, so that digests are known afterwards. Raises as `digests`.

        There is no checksum in a safetensors file that content could be held to: only what a download has written
        down (`hub/checksum.py`) tells whether it is the right one.
        """
        self.fingerprints(silent)

    def _digest(self, name: str) -> str:
        return self._files[name].digest(name)


def _in_folder(folder: Path) -> Path:
    """The file or the index of a folder."""
    there = [path for path in (folder / WHOLE, folder / INDEX) if os.path.lexists(path)]
    if len(there) == 2 and set(_index(folder / INDEX).values()) != {WHOLE}:
        what = f"it has {WHOLE}, and {INDEX} of other files"
        raise BadDataError(what, where=str(folder), hint="Remove what is left over, or name the one you mean")
    if there:
        return there[-1]
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, MOST_ENTRIES))
    except OSError as error:
        raise files.unreadable(error, folder, "folder") from None
    others = [name for name in names if name.endswith((SUFFIX, INDEX_SUFFIX))]
    pickles = [name for name in names if name.lower().endswith((*PICKLES, ".bin.index.json"))]
    if pickles and not others:
        raise pickled(folder, listed(pickles))
    hint = f"Name the file you mean: {listed(others)}" if others else "Name the folder that has the model's weights"
    raise MissingInputError(f"this folder has no {WHOLE} and no {INDEX}", where=str(folder), hint=hint)


def _index(path: Path) -> dict[str, str]:
    """The names of shards by the names of tensors."""
    try:
        content = files.read(path, MOST_HEADER)
        check_json(content)
        index = json.loads(content.decode(), object_pairs_hook=unique)
        found = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(found, dict):
            raise ValueError("it has no weight_map")
        if len(found) > MOST_TENSORS:
            raise ValueError(f"it has more than {MOST_TENSORS:,} tensors")
        if any(len(name) > LONGEST_NAME for name in found):
            raise ValueError(f"it has a tensor whose name has more than {LONGEST_NAME} characters")
        for name, shard in found.items():
            if not isinstance(shard, str) or not SHARD.fullmatch(shard):
                raise ValueError(f"tensor {name} is said to be in {shard!s:.100}, which is not the name of a shard")
        if len(set(found.values())) > MOST_SHARDS:
            raise ValueError(f"it has more than {MOST_SHARDS} shards")
    except OSError as error:
        raise files.unreadable(error, path, "index") from None
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"not an index of shards: {str(error)[:LONGEST_REASON]}", where=str(path)) from None
    return found


def _shards(index: Path, names: list[str]) -> list[TensorFile]:
    """The shards, opened. Raises MissingInputError that names those that are not there."""
    missing = [name for name in names if not os.path.exists(index.parent / name)]
    if missing:
        what = f"{len(missing)} of {len(names)} shards are not there: {listed(missing)}"
        raise MissingInputError(what, where=str(index), hint=INCOMPLETE)
    shards: list[TensorFile] = []
    for name in names:
        shards.append(TensorFile(index.parent / name))
        if sum(len(shard.tensors) for shard in shards) > MOST_TENSORS:
            raise BadDataError(f"the shards have more than {MOST_TENSORS:,} tensors", where=str(index))
    return shards


def _check_index(path: Path, index: Mapping[str, str], shards: list[TensorFile]) -> None:
    """Raises BadDataError unless each tensor is in one shard, which is the one that the index has it in."""
    found: dict[str, str] = {}
    for shard in shards:
        for name in shard.tensors:
            if name in found:
                what = f"tensor {name} is in {found[name]} too"
                raise BadDataError(what, where=str(shard.path), hint=INCOMPLETE)
            found[name] = shard.path.name
    if lacking := sorted(name for name, shard in index.items() if found.get(name) != shard):
        what = f"{index[lacking[0]]} does not have what the index says is in it: {listed(lacking)}"
        raise BadDataError(what, where=str(path), hint=INCOMPLETE)
    if unnamed := sorted(found.keys() - index.keys()):
        what = f"{found[unnamed[0]]} has what the index does not name: {listed(unnamed)}"
        raise BadDataError(what, where=str(path), hint=INCOMPLETE)

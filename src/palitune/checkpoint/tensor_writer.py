"""safetensors files written one tensor after the other, so that a model takes the memory of its largest tensor.

Files, shards and index are named and laid out as transformers does it with the `safetensors` library, whose own writer
wants all tensors in memory at once. The format is in `tensor_file.py`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np

from palitune.checkpoint import npz
from palitune.checkpoint.store import Storable
from palitune.checkpoint.tensor_file import DTYPES, LENGTH, Array, DType
from palitune.checkpoint.tensor_files import INDEX, SUFFIX, WHOLE
from palitune.errors import OutputExistsError, listed
from palitune.storage import atomic_files

SHARD_BYTES = (
    5_000_000_000  # of tensors; transformers made shards of as many for years, and others expect no larger ones
)
METADATA = "__metadata__"  # a name in the header that no tensor can have
PYTORCH: Mapping[str, str] = MappingProxyType({"format": "pt"})  # which transformers asks for: names are as PyTorch's
CODES = {dtype.name: code for code, dtype in DTYPES.items()}
# The library puts wide dtypes first, so that each tensor begins at a multiple of its width, and then goes by name.
ORDER = ("F64", "F32", "BF16", "F16")


@dataclass(frozen=True)
class TensorSource:
    """A tensor that is to be written, of which only the header's part is at hand.

    Attributes:
      read: gives the content when it is written, and is called once; in the shape and dtype that are said here.
    """

    shape: tuple[int, ...]
    dtype: DType
    read: Callable[[], Array]

    @staticmethod
    def of(array: Storable) -> "TensorSource":
        """An array that is in memory or mapped, NumPy's or JAX's."""
        return TensorSource(tuple(array.shape), np.dtype(array.dtype), lambda: np.asarray(array))

    @property
    def elements(self) -> int:
        """How many values it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.elements * self.dtype.itemsize

    @property
    def code(self) -> str:
        """The format's name of its dtype. Raises ValueError for one that is not written."""
        if self.dtype.name not in CODES:
            raise ValueError(f"{self.dtype} is not written, only {', '.join(CODES)}")
        return CODES[self.dtype.name]


def save(
    folder: Path,
    tensors: Mapping[str, TensorSource],
    *,
    metadata: Mapping[str, str] = PYTORCH,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Writes a model's tensors into a folder: one file, or shards of at most `shard_bytes` and then their index.

    A larger tensor has a shard of its own. The order of `tensors` decides which shard each is in. The same tensors give
    the same bytes. If it fails, none of the files is there.

    Returns:
      The paths of what was written.

    Raises:
      OutputExistsError: the folder already has weights, with which these would be mixed up.
      StorageError: there is no room, or a file cannot be written.
      ValueError: a dtype is not written, or what `read` gives is not as it was said.
    """
    there = sorted(path.name for path in folder.glob(f"model*{SUFFIX}*"))
    if there:
        hint = "Remove them, or name another folder"
        raise OutputExistsError(f"it already has {listed(there)}", where=str(folder), hint=hint)
    shards = _split(tensors, shard_bytes)
    count = len(shards)
    names = [f"model-{number:05d}-of-{count:05d}{SUFFIX}" for number in range(1, count + 1)] if count > 1 else [WHOLE]
    atomic_files.check_writable(folder / names[0])
    atomic_files.check_space(folder, sum(_file_size(tensors, shard, metadata) for shard in shards), "the model")
    written: list[Path] = []
    try:
        for name, shard in zip(names, shards, strict=True):
            write(folder / name, {key: tensors[key] for key in shard}, metadata)
            written.append(folder / name)
        if count > 1:
            places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
            atomic_files.write(folder / INDEX, _index(tensors, places))
            written.append(folder / INDEX)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def write(path: Path, tensors: Mapping[str, TensorSource], metadata: Mapping[str, str] = PYTORCH) -> None:
    """Writes one safetensors file, such as an adapter's, whole or not at all. Raises as `save`, and replaces a file."""
    header, order = _header(tensors, metadata)
    with atomic_files.replacing(path, len(header) + sum(source.size for source in tensors.values())) as file:
        file.write(header)
        for name in order:
            _write_content(file, name, tensors[name])


def _write_content(file: IO[bytes], name: str, source: TensorSource) -> None:
    array = source.read()
    if array.shape != source.shape or array.dtype != source.dtype:
        raise ValueError(f"{name} is {array.dtype}{array.shape}, not {source.dtype}{source.shape}")
    for piece in npz.slices(array):
        file.write(np.ascontiguousarray(piece, DTYPES[source.code]).view(np.uint8).data)


def _header(tensors: Mapping[str, TensorSource], metadata: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """The beginning of a file, up to the content, and the order of the tensors in it."""
    if METADATA in tensors:
        raise ValueError(f"no tensor can have the name {METADATA}")
    order = sorted(tensors, key=lambda name: (ORDER.index(tensors[name].code), name))
    entries: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name in order:
        source = tensors[name]
        end = start + source.size
        entries[name] = {"dtype": source.code, "shape": list(source.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text, order


def _file_size(tensors: Mapping[str, TensorSource], names: Sequence[str], metadata: Mapping[str, str]) -> int:
    chosen = {name: tensors[name] for name in names}
    return len(_header(chosen, metadata)[0]) + sum(source.size for source in chosen.values())


def _split(tensors: Mapping[str, TensorSource], shard_bytes: int) -> list[list[str]]:
    """The names in each shard, in the order of `tensors`: a shard is closed when the next tensor would not fit.

    As in huggingface_hub's `split_state_dict_into_shards_factory`, a tensor above the limit is a shard at once, before
    the one that is being filled.
    """
    shards: list[list[str]] = []
    current: list[str] = []
    filled = 0
    for name, source in tensors.items():
        if source.size > shard_bytes:
            shards.append([name])
            continue
        if filled + source.size > shard_bytes:
            shards.append(current)
            current, filled = [], 0
        current.append(name)
        filled += source.size
    return [*shards, current] if current or not shards else shards


def _index(tensors: Mapping[str, TensorSource], places: Mapping[str, str]) -> bytes:
    """The index as transformers 5 writes it; `places` are names of files by names of tensors."""
    metadata = {
        "total_parameters": sum(source.elements for source in tensors.values()),
        "total_size": sum(source.size for source in tensors.values()),
    }
    return (json.dumps({"metadata": metadata, "weight_map": dict(places)}, indent=2, sort_keys=True) + "\n").encode()

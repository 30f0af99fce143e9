"""One safetensors file, untrusted: its header is checked before anything is read, and tensors are mapped from the file.

The format: eight bytes that give the header's length, a header in JSON, and the tensors one after the other. The
`safetensors` library checks the header: types, dtypes, shapes that fit their bytes, no overlap, no hole, no rest. It
does not mind a name that is in the header twice, has no limit below 100 MB, and its arrays are copies, so that is
done here.
"""

import hashlib
import json
import math
import mmap
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from palitune.checkpoint import verified_files
from palitune.errors import BadDataError, MissingInputError, PalituneError
from palitune.storage import files

Array = NDArray[np.generic]
DType = np.dtype[np.generic]

MOST_HEADER = 16 << 20  # bytes; a shard of published weights has 100,000
MOST_TENSORS = 20_000
MOST_VALUES = 1_000_000  # in a header's JSON; a tensor has 12 or so
LONGEST_NAME = 500  # characters
MOST_AXES = 32
MOST_ELEMENTS = 1 << 60  # also of a tensor without elements, of its other axes: NumPy counts them
LENGTH = 8  # bytes of the header's length
SLICE = 8 << 20  # bytes
LONGEST_REASON = 200  # characters of what the library says
PREFIX = "Error while deserializing header: "
# The dtypes by the format's names, and what can be read of them.
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
DTYPES: dict[str, DType] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype("<f2"),
}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
ANOTHER_COPY = "Download it again, or take another copy of it"


class TensorInfo(NamedTuple):
    """What the header says of a tensor: the format's name of its dtype, and the bytes of the file that it has."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class _Slice(Protocol):
    def get_dtype(self) -> str: ...
    def get_shape(self) -> list[int]: ...


class _Opened(Protocol):
    """A file as the library has it, which tells no types."""

    def offset_keys(self) -> list[str]: ...
    def get_slice(self, name: str) -> _Slice: ...


class DamagedError(ValueError):
    """A file that is not what its header says, or not a safetensors file."""


class TensorFile:
    """A safetensors file that stays the file it was, whatever is put at its name.

    Attributes:
      tensors: by name, in the order of the file.
      stat: of the file.

    Raises:
      MissingInputError: there is no such file, or it cannot be read.
      BadDataError: it is not a safetensors file, is cut off, or has more than is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix.lower() in PICKLES:
            raise pickled(path, path.name)
        try:
            with files.open_to_read(path) as file:
                self.stat = os.fstat(file.fileno())
                self.tensors = _tensors(file.fileno(), self.stat.st_size)
                self.descriptor = os.dup(file.fileno())
        except OSError as error:
            raise files.unreadable(error, path, "checkpoint") from None
        except DamagedError as error:
            raise BadDataError(
                f"not a readable safetensors file: {error}", where=str(path), hint=ANOTHER_COPY
            ) from None
        except ValueError:  # no name that a file could have
            raise MissingInputError("no such checkpoint", where=str(path)) from None
        self._mapping: weakref.ref[mmap.mmap] | None = None
        weakref.finalize(self, os.close, self.descriptor)

    def array(self, name: str) -> Array:
        """A tensor, mapped from the file: no byte of it is read before it is used.

        All arrays of a file share one mapping, which ends with the last of them.

        Raises:
          BadDataError: it has a dtype that is not read, or the file has been cut off since it was opened.
        """
        info = self.tensors[name]
        if (dtype := DTYPES.get(info.dtype)) is None:
            what = f"tensor {name} is {info.dtype}, and what can be read is {', '.join(DTYPES)}"
            raise BadDataError(what, where=str(self.path), hint="Take the weights before they were quantised")
        if info.size == 0:
            return np.empty(info.shape, dtype)
        count = info.size // dtype.itemsize
        return np.frombuffer(self._mapped(), dtype, count, info.start).reshape(info.shape)

    def digest(self, name: str) -> str:
        """SHA-256 of a tensor's dtype, shape and content, which is remembered (`verified_files`).

        Raises:
          BadDataError: the file has been cut off since it was opened.
          StorageError: it can no longer be read.
        """
        if known := self.known_digest(name):
            return known
        info = self.tensors[name]
        digest = hashlib.sha256(f"{info.dtype} {list(info.shape)}\n".encode())
        for piece in self._pieces(info):
            digest.update(piece)
        verified_files.remember(self.stat, _fact(name), digest.hexdigest())
        return digest.hexdigest()

    def known_digest(self, name: str) -> str | None:
        """The digest of a tensor if it is remembered."""
        return verified_files.recall(self.stat).get(_fact(name))

    def _pieces(self, info: TensorInfo) -> Iterator[bytes]:
        start, end = info.start, info.start + info.size
        while start < end:
            try:
                piece = os.pread(self.descriptor, min(SLICE, end - start), start)
            except OSError as error:
                raise files.unreadable(error, self.path, "checkpoint") from None
            if not piece:
                raise self._cut_off()
            start += len(piece)
            yield piece

    def _mapped(self) -> mmap.mmap:
        mapping = self._mapping() if self._mapping else None
        if mapping is None:
            try:
                mapping = mmap.mmap(self.descriptor, self.stat.st_size, access=mmap.ACCESS_READ)
            except ValueError:  # it would be longer than the file
                raise self._cut_off() from None
            except OSError as error:
                raise files.unreadable(error, self.path, "checkpoint") from None
            self._mapping = weakref.ref(mapping)
        return mapping

    def _cut_off(self) -> PalituneError:
        return BadDataError("it has been cut off since it was opened", where=str(self.path), hint=ANOTHER_COPY)


def pickled(path: Path, name: str) -> BadDataError:
    """The error to raise for weights in a pickle; `name` is the file's, in `path` or at it."""
    what = f"{name} has the weights as a pickle, which runs any code in it when it is loaded, and is therefore not read"
    hint = (
        "Take the model's safetensors files, or have somebody who trusts it save it again as such: "
        "save_pretrained(FOLDER) of transformers (with safe_serialization=True before version 5)"
    )
    return BadDataError(what, where=str(path), hint=hint)


def check_json(content: bytes) -> None:
    """Raises DamagedError for JSON with more values than are parsed, of whatever kind they are."""
    if sum(content.count(mark) for mark in (b"{", b"[", b",", b":")) > MOST_VALUES:
        raise DamagedError(f"it has more than {MOST_TENSORS:,} tensors, or other things beside them")


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object (`object_pairs_hook`). Raises DamagedError for a name that is in it twice."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise DamagedError(f"{name[:LONGEST_NAME]} is in it twice")
        found[name] = value
    return found


def _fact(name: str) -> str:
    """What a tensor's digest is remembered as: never what is remembered of the file as a whole."""
    return f"tensor {name}"


def _tensors(descriptor: int, size: int) -> dict[str, TensorInfo]:
    """The tensors of an open file of `size` bytes. Raises DamagedError."""
    header = _header(descriptor, size)
    check_json(header)
    try:
        # Not by its path, which may lead to another file by now.
        with safe_open(f"/dev/fd/{descriptor}", framework="np") as opened:
            found = _described(opened, LENGTH + len(header), size)
    except SafetensorError as error:
        raise DamagedError(str(error).removeprefix(PREFIX)[:LONGEST_REASON]) from None
    try:
        json.loads(header, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DamagedError(str(error)[:LONGEST_REASON]) from None
    return found


def _header(descriptor: int, size: int) -> bytes:
    head = os.pread(descriptor, LENGTH, 0)
    length = int.from_bytes(head, "little")
    if size < LENGTH + length:
        raise DamagedError(_another_kind(os.pread(descriptor, 200, 0)) or "its header is longer than the file")
    if length > MOST_HEADER:
        raise DamagedError(f"its header has more than {MOST_HEADER:,} bytes")
    return os.pread(descriptor, length, LENGTH)


def _another_kind(beginning: bytes) -> str | None:
    """What a file is whose beginning cannot be the length of a header, where that is often met."""
    if beginning.startswith(b"version ") and b"git-lfs" in beginning:
        return "it only stands for the file, which git lfs pull fetches"
    if beginning.startswith((b"PK\3\4", b"\x80\2")):
        return "it is a pickle, which runs any code in it when it is loaded: take the model's safetensors files"
    return None


def _described(opened: _Opened, start: int, end: int) -> dict[str, TensorInfo]:
    """The tensors that the library has found valid; without holes, so that each begins where the last one ended."""
    names = opened.offset_keys()
    if len(names) > MOST_TENSORS:
        raise DamagedError(f"it has {len(names):,} tensors, more than {MOST_TENSORS:,}")
    found = {}
    for name in names:
        entry = opened.get_slice(name)
        dtype, shape = entry.get_dtype(), tuple(entry.get_shape())
        if len(name) > LONGEST_NAME:
            raise DamagedError(f"it has a tensor whose name has more than {LONGEST_NAME} characters")
        if dtype not in BITS:
            raise DamagedError(f"tensor {name} has an unknown dtype, {dtype}")
        if len(shape) > MOST_AXES or math.prod(max(1, length) for length in shape) > MOST_ELEMENTS:
            raise DamagedError(f"tensor {name} has an impossible shape")
        size = math.prod(shape) * BITS[dtype] // 8
        found[name] = TensorInfo(dtype, shape, start, size)
        start += size
    if start != end:
        raise DamagedError("it was written to while it was read")
    return found

"""Checkpoints as `.npz`: read lazily and memory-mapped, written one array after the other, whole or not at all.

An `.npz` is a zip archive of `.npy` files. NumPy reads each member into memory; here a member that is stored without
compression is mapped from the archive itself, so that opening a checkpoint of 6 GB costs nothing.
"""

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike
from tqdm import tqdm

from palitune.checkpoint import manifest, verified_files
from palitune.checkpoint.archive import Archive
from palitune.checkpoint.store import Array, ArrayInfo, DType, Storable, Stored
from palitune.errors import BadDataError, MissingInputError
from palitune.storage import atomic_files, files

SUFFIX = ".npy"
SLICE = 32 << 20  # bytes
HEADER = 16 << 10  # bytes that an array's header can have; NumPy reads no more than 10,000
MOST_AXES = 32
THREADS = 4  # that read a file through
LONG = 1 << 30  # bytes from which on reading takes long enough for a progress bar
END, COMMENT = 22, 65_535  # bytes of an archive's end record, and of the comment that may follow it
WRONG = "its checksum is wrong"
HEADER_READERS: dict[tuple[int, int], Callable[[io.BytesIO], tuple[tuple[int, ...], bool, DType]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Checkpoint(Stored):
    """The arrays of an `.npz`. A leading `params/`, as some published files have, is left out.

    An array is held to its checksum when it is first read; what was found sound is remembered (`verified`).

    Raises:
      MissingInputError: there is no such file, or it cannot be read.
      BadDataError: it is not a `.npz`, is cut off, or a member is not a plain array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = Archive(path)
        except FileNotFoundError:
            raise MissingInputError("no such checkpoint", where=str(path)) from None
        except OSError as error:
            raise files.unreadable(error, path, "checkpoint") from None
        except ValueError as error:
            hint = "It is another kind of file, or was cut off: download or save it again"
            raise BadDataError(f"not an .npz checkpoint ({error})", where=str(path), hint=hint) from None
        # A .npy file knows no bfloat16: it comes back as two raw bytes, and only a manifest can say of which kind.
        said = manifest.read(path)
        self._dtypes = said.get("dtypes", {})
        self.spec = manifest.model(said, path)
        arrays = [name for name in self.archive.members if name.endswith(SUFFIX)]
        self._members = {name.removesuffix(SUFFIX).removeprefix("params/"): name for name in arrays}
        self._leaves: dict[str, ArrayInfo] | None = None
        if len(self._members) < len(arrays):
            raise BadDataError("an array is in it with params/ and without", where=str(path))

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def __contains__(self, key: object) -> bool:
        return key in self._members  # without reading the array, as Mapping would

    def __getitem__(self, key: str) -> Array:
        name = self._members[key]
        try:
            array = self._array(name)
        except Exception as error:  # what codecs and NumPy's header parser raise has no common family
            raise self._damaged(key, str(error).partition("\n")[0]) from None
        dtype = self._dtype(key, array.dtype)
        return array if dtype == array.dtype else array.view(dtype)

    def _dtype(self, key: str, dtype: DType) -> DType:
        """The dtype of an array that a `.npy` file says to be of this one."""
        if dtype != np.dtype("V2"):
            return dtype
        # Without a manifest it is a published file, and those know no other kind.
        named = self._dtypes.get(key, "bfloat16")
        if named != "bfloat16":
            raise BadDataError(f"array {key} holds raw bytes that the manifest calls {named}", where=str(self.path))
        return np.dtype(ml_dtypes.bfloat16)

    @property
    def files(self) -> list[Path]:
        """The archive."""
        return [self.path]

    def leaves(self) -> Mapping[str, ArrayInfo]:
        """Shape and dtype of every array, of which nothing is read but its header, and no checksum is taken."""
        if self._leaves is None:
            self._leaves = {key: self._leaf(key) for key in self}
        return self._leaves

    def _leaf(self, key: str) -> ArrayInfo:
        name = self._members[key]
        try:
            shape, _, dtype, _ = _header(self._head(name), self.archive.members[name].file_size)
        except Exception as error:  # as in reading it
            raise self._damaged(key, str(error).partition("\n")[0]) from None
        return ArrayInfo(shape, self._dtype(key, dtype))

    def _head(self, name: str) -> bytes:
        """The beginning of a member, with its header."""
        info = self.archive.members[name]
        if info.compress_type == zipfile.ZIP_STORED:
            return os.pread(self.archive.descriptor, min(HEADER, info.file_size), self.archive.start(name))
        return next(self.archive.pieces(name), b"")[:HEADER]

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """What tells arrays apart by content: size and CRC-32 of every member, which the archive's directory has.

        It finds mistakes, such as another base of the same name, and not malice.
        """
        members = self.archive.members
        return {
            key: f"{members[name].file_size:x}-{members[name].CRC:08x}" for key, name in sorted(self._members.items())
        }

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """SHA-256 of arrays, which nobody can make another array to. Raises BadDataError as reading them does."""
        found = {}
        for key in filter(wanted, self):
            name = self._members[key]
            if not verified_files.recall(self.archive.stat).get(name):
                digest = hashlib.sha256()
                try:
                    for piece in self.archive.pieces(name):
                        digest.update(piece)
                except (ValueError, OSError) as error:
                    raise self._damaged(key, str(error)) from None
                verified_files.remember(self.archive.stat, name, digest.hexdigest())
            found[key] = verified_files.recall(self.archive.stat)[name]
        return found

    def verify(self, silent: bool = True) -> None:
        """Holds all arrays to their checksums, unless that is remembered. Raises BadDataError for the first wrong one.

        `silent` shows no progress bar.
        """
        known = verified_files.recall(self.archive.stat)
        left = {key: name for key, name in self._members.items() if name not in known}
        total = sum(self.archive.members[name].file_size for name in left.values())
        silent = silent or total < LONG
        text = f"checking {self.path.name}, once"
        with (
            ThreadPoolExecutor(THREADS) as threads,
            tqdm(desc=text, total=total, unit="B", unit_scale=True, leave=False, disable=silent) as bar,
        ):
            for key, wrong in zip(left, threads.map(self._problem, left.values()), strict=True):
                if wrong:
                    raise self._damaged(key, wrong)
                bar.update(self.archive.members[left[key]].file_size)
        verified_files.flush()

    def _problem(self, name: str) -> str | None:
        """What is wrong with a member's content; that nothing is, is remembered."""
        if name in verified_files.recall(self.archive.stat):
            return None
        try:
            for _ in self.archive.pieces(name):
                pass
        except (ValueError, OSError) as error:
            return str(error)
        verified_files.remember(self.archive.stat, name, "")
        return None

    def _damaged(self, key: str, reason: str) -> BadDataError:
        hint = "Download it again (palitune download --overwrite), or take another copy of it"
        if reason == WRONG:
            return BadDataError(f"array {key} is damaged ({reason})", where=str(self.path), hint=hint)
        return BadDataError(f"array {key} cannot be read ({reason})", where=str(self.path), hint=hint)

    def _array(self, name: str) -> Array:
        info, packed = self.archive.members[name], None
        if info.compress_type == zipfile.ZIP_STORED:
            head = self._head(name)
        else:
            head = b"".join(packed := list(self._checked_header(name)))
        shape, fortran, dtype, length = _header(head, info.file_size)
        if wrong := self._problem(name) if packed is None else None:
            raise ValueError(wrong)
        order: Literal["F", "C"] = "F" if fortran else "C"
        if packed is None and 0 not in shape:
            with os.fdopen(os.dup(self.archive.descriptor), "rb") as file:
                start = self.archive.start(name) + length
                # NumPy's notes say a name; it takes a file, whose name may be another's by now.
                return np.memmap(file, dtype, "r", start, shape, order)
        return np.frombuffer(head[length:], dtype).reshape(shape, order=order)

    def _checked_header(self, name: str) -> Iterator[bytes]:
        """The pieces of a packed member, of which no second is unpacked before the first has told of as many."""
        size, checked = self.archive.members[name].file_size, False
        for piece in self.archive.pieces(name):
            if not checked:
                _header(piece[:HEADER], size)
            checked = True
            yield piece


def _header(head: bytes, size: int) -> tuple[tuple[int, ...], bool, DType, int]:
    """Shape, order, dtype and length of the header of an array whose member has `size` bytes.

    Raises ValueError if it is not a plain array, or one of another size.
    """
    stream = io.BytesIO(head[:HEADER])
    read_header = HEADER_READERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
        raise ValueError("an unknown version of the .npy format")
    shape: tuple[int, ...]
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if dtype.names is not None or dtype.subdtype is not None:
        raise ValueError("it is a table")
    if any(isinstance(length, bool) or length < 0 for length in shape) or len(shape) > MOST_AXES:
        raise ValueError("it has an impossible shape")
    if math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"it says {shape} of {dtype}, and has {size - stream.tell():,} bytes")
    return shape, fortran, dtype, stream.tell()


def damaged(path: Path) -> str | None:
    """The first array whose content does not have the checksum that it was saved with; reads the whole file.

    Raises OSError, and ValueError for what is not an archive.
    """
    archive = Archive(path)
    for name in archive.members:
        try:
            for _ in archive.pieces(name):
                pass
        except ValueError:
            return name
    return None


def problem(path: Path) -> str | None:
    """What is wrong with a file that came from elsewhere, or None; reads all of it.

    Every array has its CRC-32 in the archive, whoever sent it. zipfile does not mind what comes before or after an
    archive, which a wrongly resumed download can leave there: the first array has to be the beginning, and the
    end record (APPNOTE.TXT of PKWARE, 4.3.16) the end.
    """
    try:
        archive = Archive(path)
        wrong = damaged(path)
    except ValueError as error:
        return f"no .npz archive: {error}"
    if wrong is not None:
        return f"array {wrong.removesuffix(SUFFIX)} does not have its checksum"
    tail = os.pread(archive.descriptor, END + COMMENT, max(0, archive.stat.st_size - END - COMMENT))
    ends = [at for at in range(len(tail) - END + 1) if tail.startswith(b"PK\5\6", at)]
    if not any(at + END + int.from_bytes(tail[at + 20 : at + END], "little") == len(tail) for at in ends):
        return "something follows the archive"
    if not archive.members:
        return "an empty archive"
    first = min(info.header_offset for info in archive.members.values())
    return None if first == 0 else "something precedes the archive"


def save(
    path: Path,
    arrays: Mapping[str, Storable],
    dtypes: Mapping[str, DTypeLike] | None = None,
    texts: Mapping[str, str] | None = None,
    comment: bytes = b"",
) -> None:
    """Writes arrays (NumPy's or JAX's) under their parameter paths, in the dtypes of `dtypes` or their own.

    `texts` go into the archive under their names (`Archive.text`), and the `comment`, which no program takes for an
    array, after them: so they can never belong to other arrays.

    Arrays go by in slices of axis 0 where they are large, so that no second copy of one is ever in memory; what is on a
    GPU is fetched slice by slice.

    Raises:
      StorageError: see `atomic_files.replacing`.
    """
    size = sum(int(np.prod(arrays[name].shape)) * np.dtype(arrays[name].dtype).itemsize for name in arrays)
    with (
        atomic_files.replacing(path, size) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        archive.comment = comment
        for name, text in (texts or {}).items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
        for name in arrays:
            value = arrays[name]
            dtype = np.dtype(dtypes[name] if dtypes else value.dtype)
            # A fixed date, so that the same parameters give the same file.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as stream:
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype.newbyteorder("<")),
                    "fortran_order": False,
                    "shape": tuple(value.shape),
                }
                np.lib.format.write_array_header_1_0(stream, header)
                for piece in slices(value):
                    stream.write(np.ascontiguousarray(piece, dtype).view(np.uint8).data)


def slices(value: Storable) -> Iterator[Array]:
    """The array in order, in pieces of whole rows of at most `SLICE` bytes where one row allows that."""
    if value.ndim == 0 or value.size == 0:
        yield np.asarray(value).reshape(-1)
        return
    row = value.dtype.itemsize * math.prod(value.shape[1:])
    rows = max(1, SLICE // row)
    for start in range(0, value.shape[0], rows):
        yield np.asarray(value[start : start + rows]).reshape(-1)

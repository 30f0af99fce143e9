"""Checkpoints as `.npz`: read lazily and memory-mapped, written one array after the other, whole or not at all.

An `.npz` is a zip archive of `.npy` files. NumPy reads each member into memory; here a member that is stored without
compression is mapped from the archive itself, so that opening a checkpoint of 6 GB costs nothing.
"""

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np

from palitune import files
from palitune.checkpoint import manifest
from palitune.errors import BadDataError, MissingInputError

Array = np.ndarray[Any, Any]

SLICE = 32 << 20  # bytes
HEADER_READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Checkpoint(Mapping[str, Array]):
    """Read-only arrays by parameter path. A leading `params/`, as some published files have, is left out.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is no `.npz`, is cut off, or a member is no plain array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = {info.filename: info for info in archive.infolist() if info.filename.endswith(".npy")}
        except FileNotFoundError:
            raise MissingInputError("no such checkpoint", where=str(path)) from None
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            hint = "It is another kind of file, or was cut off: download or save it again"
            raise BadDataError(f"not an .npz checkpoint ({error})", where=str(path), hint=hint) from None
        # A .npy file knows no bfloat16: it comes back as two raw bytes, and only a manifest can say of which kind.
        self._dtypes = manifest.read(path).get("dtypes", {})
        self._members = {name.removesuffix(".npy").removeprefix("params/"): info for name, info in members.items()}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def __contains__(self, key: object) -> bool:
        return key in self._members  # without reading the array, as Mapping would

    def __getitem__(self, key: str) -> Array:
        info = self._members[key]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as member:
                read_header = HEADER_READERS.get(np.lib.format.read_magic(member))
                if read_header is None:
                    raise ValueError("an unknown version of the .npy format")
                shape, fortran, dtype = read_header(member)
                if dtype.hasobject:
                    raise ValueError("it holds Python objects")
                order: Literal["F", "C"] = "F" if fortran else "C"
                if info.compress_type == zipfile.ZIP_STORED and np.prod(shape):
                    start = self._first_byte(info) + member.tell()
                    array: Array = np.memmap(self.path, dtype, "r", start, shape, order)
                else:
                    array = np.frombuffer(member.read(), dtype).reshape(shape, order=order)
        except Exception as error:  # what zipfile, its codecs and NumPy's header parser raise has no common family
            reason = str(error).partition("\n")[0]
            raise BadDataError(f"array {key} cannot be read ({reason})", where=str(self.path)) from None
        if dtype == np.dtype("V2"):
            # Without a manifest it is a published file, and those know no other kind.
            named = self._dtypes.get(key, "bfloat16")
            if named != "bfloat16":
                raise BadDataError(f"array {key} holds raw bytes that the manifest calls {named}", where=str(self.path))
            return array.view(ml_dtypes.bfloat16)
        return array

    def fingerprints(self) -> dict[str, str]:
        """What tells arrays apart by content: size and CRC-32 of every member, which the archive's directory has.

        It finds mistakes, such as another base of the same name, and not malice.
        """
        return {name: f"{info.file_size:x}-{info.CRC:08x}" for name, info in sorted(self._members.items())}

    def _first_byte(self, info: zipfile.ZipInfo) -> int:
        """Where a member's content begins: after its local header, whose extra field can differ from the directory's.

        Source: APPNOTE.TXT of PKWARE, 4.3.7 (local file header: 30 bytes, lengths of name and extra at 26 and 28).
        """
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            name_length, extra_length = struct.unpack("<26x2H", file.read(30))
        return int(info.header_offset + 30 + name_length + extra_length)


def damaged(path: Path) -> str | None:
    """The first array whose content does not have the checksum that it was saved with; reads the whole file."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def problem(path: Path) -> str | None:
    """What is wrong with a file that came from elsewhere, or None; reads all of it.

    Every array has its CRC-32 in the archive, whoever sent it. zipfile does not mind what comes before or after an
    archive, which a download taken up again wrongly can leave there: the first array has to be the beginning, and the
    end record (APPNOTE.TXT of PKWARE, 4.3.16) the end.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            offsets, comment = [info.header_offset for info in archive.infolist()], archive.comment
            wrong = archive.testzip()
        with path.open("rb") as file:
            file.seek(-22 - len(comment), os.SEEK_END)
            end = file.read(22)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        return f"no .npz archive: {error}"
    if wrong is not None:
        return f"array {wrong.removesuffix('.npy')} does not have its checksum"
    if not end.startswith(b"PK\5\6") or int.from_bytes(end[20:], "little") != len(comment):
        return "something follows the archive"
    if not offsets:
        return "an empty archive"
    return None if min(offsets) == 0 else "something precedes the archive"


def save(
    path: Path,
    arrays: Mapping[str, Any],
    dtypes: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays (NumPy's or JAX's) under their parameter paths, in the dtypes of `dtypes` or their own.

    `texts` go into the archive under their names (`files.member`), so that they can never belong to other arrays.

    Arrays go by in slices of axis 0 where they are large, so that no second copy of one is ever in memory; what is on a
    GPU is fetched slice by slice.

    Raises:
      StorageError: see `files.whole`.
    """
    size = sum(int(np.prod(arrays[name].shape)) * np.dtype(arrays[name].dtype).itemsize for name in arrays)
    with files.whole(path, size) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
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
                for piece in _slices(value):
                    stream.write(np.ascontiguousarray(piece, dtype).view(np.uint8).data)


def _slices(value: Any) -> Iterator[Array]:
    """The array in order, in pieces of whole rows of at most `SLICE` bytes where one row allows that."""
    if value.ndim == 0 or value.size == 0:
        yield np.asarray(value).reshape(-1)
        return
    row = value.dtype.itemsize * math.prod(value.shape[1:])
    rows = max(1, SLICE // row)
    for start in range(0, value.shape[0], rows):
        yield np.asarray(value[start : start + rows]).reshape(-1)

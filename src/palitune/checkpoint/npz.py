"""Checkpoints as `.npz`: read lazily and memory-mapped, written one array after the other, whole or not at all.

An `.npz` is a zip archive of `.npy` files. NumPy reads each member into memory; here a member that is stored without
compression is mapped from the archive itself, so that opening a checkpoint of 6 GB costs nothing.
"""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from palitune import files
from palitune.errors import BadDataError, MissingInputError

Array = np.ndarray[Any, Any]

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
        # A .npy file knows no bfloat16: it comes back as two raw bytes, which nothing else is saved as.
        if dtype == np.dtype("V2"):
            import jax.numpy as jnp

            return array.view(jnp.bfloat16)
        return array

    def _first_byte(self, info: zipfile.ZipInfo) -> int:
        """Where a member's content begins: after its local header, whose extra field can differ from the directory's.

        Source: APPNOTE.TXT of PKWARE, 4.3.7 (local file header: 30 bytes, lengths of name and extra at 26 and 28).
        """
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            name_length, extra_length = struct.unpack("<26x2H", file.read(30))
        return int(info.header_offset + 30 + name_length + extra_length)


def save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes arrays (NumPy's or JAX's, fetched one by one) under their parameter paths.

    Raises:
      StorageError: see `files.whole`.
    """
    with files.whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, value in arrays.items():
            # A fixed date, so that the same parameters give the same file.
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(value, order="C"), allow_pickle=False)

"""Untrusted zip archives: nothing that an archive declares is believed before it has been checked against the file.

zipfile reads the directory; members are read here, because it would unpack whatever comes. Members are stored or
deflated, as NumPy's are, lie one after the other, and give no byte more than the directory says.
"""

import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from palitune.storage import files

DIRECTORY = 4 << 20  # bytes; PaliGemma's takes 8,000
MOST_MEMBERS = 20_000
LONGEST_NAME = 500  # characters
MOST_TEXT = 8 << 20  # bytes of a member that is read as text
SLICE = 8 << 20  # bytes
# Members that are compressed may unpack to so much together: weights hardly shrink.
UNPACKED, UNPACKED_TIMES = 256 << 20, 20
LOCAL = 30  # bytes of a local header, before name and extra field
ENCRYPTED, UTF8 = 0x1, 0x800  # bits of a member's flags
# Source: APPNOTE.TXT of PKWARE, 4.3.7 (local file header), 4.4.4 (flags), 4.4.5 (methods).


class DamagedError(ValueError):
    """An archive that is none, or a member that is not what the directory says of it."""


class Archive:
    """A zip archive that stays the file it was, whatever is put at its name.

    Attributes:
      members: by name, in the order of the directory.
      comment: what follows the directory, at most 65,535 bytes.
      stat: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError if `path` is not a readable regular file, DamagedError if it is not a valid archive."""
        self.path = path
        with files.open_to_read(path) as file:
            self.stat = os.fstat(file.fileno())
            self.members, self.comment = _directory(file)
            self._check_extents()
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)

    def start(self, name: str) -> int:
        """Where a member's content begins: after its local header, whose extra field can differ from the directory's.

        Raises DamagedError if another member is there.
        """
        info = self.members[name]
        head = os.pread(self.descriptor, LOCAL, info.header_offset)
        if len(head) != LOCAL or head[:4] != b"PK\3\4":
            raise DamagedError("there is nothing where it should be")
        flags, length, extra = struct.unpack("<6xH18x2H", head)
        own = os.pread(self.descriptor, length, info.header_offset + LOCAL)
        if own.decode("utf-8" if flags & UTF8 else "cp437", "replace") != info.orig_filename:
            raise DamagedError("another is where it should be")
        begin = info.header_offset + LOCAL + length + extra
        if begin + info.compress_size > self.stat.st_size:
            raise DamagedError("it is cut off")
        return int(begin)

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member's content, piece by piece; after the last one its size and checksum are known to be right.

        Raises:
          DamagedError: they are not, or it cannot be unpacked.
        """
        info, size, crc = self.members[name], 0, 0
        raw = self._raw(self.start(name), info.compress_size)
        for piece in raw if info.compress_type == zipfile.ZIP_STORED else _inflated(raw):
            size += len(piece)
            if size > info.file_size:
                raise DamagedError("it unpacks to more than it says")
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != info.file_size:
            raise DamagedError("it is cut off")
        if crc != info.CRC:
            raise DamagedError("its checksum is wrong")

    def text(self, name: str) -> str | None:
        """A member as UTF-8, or None without one. Raises DamagedError (UnicodeDecodeError is a ValueError too)."""
        if name not in self.members:
            return None
        if self.members[name].file_size > MOST_TEXT:
            raise DamagedError(f"{name} has more than {MOST_TEXT:,} bytes")
        return b"".join(self.pieces(name)).decode()

    def _raw(self, start: int, length: int) -> Iterator[bytes]:
        end = start + length
        while start < end:
            piece = os.pread(self.descriptor, min(SLICE, end - start), start)
            if not piece:
                raise DamagedError("it is cut off")
            start += len(piece)
            yield piece

    def _check_extents(self) -> None:
        """Raises DamagedError if members share bytes of the file, or unpack to far more than it has."""
        unpacked, free = 0, 0
        for info in sorted(self.members.values(), key=lambda info: info.header_offset):
            if info.header_offset < free:
                raise DamagedError(f"{info.filename} shares its bytes with another member")
            free = info.header_offset + LOCAL + len(info.orig_filename) + info.compress_size
            unpacked += info.file_size if info.compress_type != zipfile.ZIP_STORED else 0
        if free > self.stat.st_size:
            raise DamagedError("it is cut off")
        if unpacked > UNPACKED + UNPACKED_TIMES * self.stat.st_size:
            raise DamagedError(f"{self.stat.st_size:,} bytes unpack to {unpacked:,}")


class _Bounded:
    """A file of which nothing larger than a directory may be is read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY:
            raise DamagedError(f"its directory has more than {DIRECTORY:,} bytes")
        return self.file.read(DIRECTORY if size < 0 else size)


def _directory(file: IO[bytes]) -> tuple[dict[str, zipfile.ZipInfo], bytes]:
    try:
        opened = zipfile.ZipFile(_Bounded(file))
        found = opened.infolist()
    except OSError:
        raise
    except Exception as error:  # what zipfile raises of damage has no common family
        raise DamagedError(str(error) or type(error).__name__) from None
    if len(found) > MOST_MEMBERS:
        raise DamagedError(f"it has {len(found):,} members")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in found:
        if wrong := _wrong(info, info.filename in members):
            raise DamagedError(f"{info.filename[:60]} {wrong}")
        members[info.filename] = info
    return members, opened.comment


def _wrong(info: zipfile.ZipInfo, twice: bool) -> str | None:
    if twice:
        return "is in it twice"
    if len(info.filename) > LONGEST_NAME:
        return "has a name that is too long"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that no .npz is"
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        return "has two sizes"
    return "lies before the archive" if info.header_offset < 0 else None


def _inflated(raw: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in raw:
            while packed and not inflate.eof:
                if piece := inflate.decompress(packed, SLICE):
                    yield piece
                packed = inflate.unconsumed_tail
    except zlib.error:
        raise DamagedError("it cannot be unpacked") from None
    if not inflate.eof:
        raise DamagedError("it is cut off")

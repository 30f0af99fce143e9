"""Which way up a photo is, by its metadata: the only part of it that counts, and it never refuses a picture."""

import re
from typing import NamedTuple

TAG = 0x0112  # EXIF's orientation
XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
NUMBERS = {1: 1, 3: 2, 4: 4}  # bytes of a value, by TIFF's type


class Orientation(NamedTuple):
    """EXIF's number from 1, upright, to 8; and whether there is metadata that cannot be read."""

    value: int = 1
    damaged: bool = False


def of(exif: bytes | None, xmp: bytes | None = None) -> Orientation:
    """What EXIF says, or where it says nothing XMP."""
    value, damaged = _of_exif(exif) if exif else (None, False)
    if value is None and xmp is not None and (found := XMP.search(xmp)):
        value = int(found[1])
    return Orientation(value or 1, damaged and value is None)


def _of_exif(exif: bytes) -> tuple[int | None, bool]:
    """The tag's value in the first directory of a TIFF header, and whether that cannot be read."""
    while exif.startswith(b"Exif\0"):
        exif = exif[6:]
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None, True

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)  # type: ignore[arg-type]

    start = number(4, 4)
    if start + 2 > len(exif):
        return None, True
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        if entry + 12 > len(exif):
            return None, True
        if number(entry, 2) == TAG:
            length = NUMBERS.get(number(entry + 2, 2), 2)
            value = number(entry + 8, length)
            return (value, False) if 1 <= value <= 8 else (None, False)
    return None, False

"""The orientation of a photo in its EXIF or XMP metadata. It is the only metadata that palitune reads.

EXIF is a TIFF directory (EXIF 2.32, section 4.6.2); its tag 0x0112 says which side of the stored pixels is up.
Damaged metadata is never a reason to refuse an image.
"""

import re
from typing import Literal, NamedTuple

TAG = 0x0112  # Orientation
XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
NUMBERS = {1: 1, 3: 2, 4: 4}  # bytes of a value, by TIFF's type: BYTE, SHORT, LONG
ORDERS: dict[bytes, Literal["big", "little"]] = {b"II": "little", b"MM": "big"}


class Orientation(NamedTuple):
    """EXIF's orientation from 1 (upright) to 8, and whether there is metadata about it that cannot be read."""

    value: int = 1
    damaged: bool = False


def of(exif: bytes | None, xmp: bytes | None = None) -> Orientation:
    """Returns the orientation that EXIF says, or XMP if EXIF does not say any."""
    value, damaged = _of_exif(exif) if exif else (None, False)
    if value is None and xmp is not None and (found := XMP.search(xmp)):
        value = int(found[1])
    return Orientation(value or 1, damaged and value is None)


def _of_exif(exif: bytes) -> tuple[int | None, bool]:
    """Returns the value of the tag in the first TIFF directory, and whether that directory is damaged."""
    while exif.startswith(b"Exif\0"):
        exif = exif[6:]
    order = ORDERS.get(exif[:2])
    if order is None or len(exif) < 8:
        return None, True

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)

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

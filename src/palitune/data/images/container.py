"""An image file as it is before any decoder: how large, how many frames, what decoding takes, and its pixels alone.

Decoders trust headers and give way to metadata; so the readers of each format (`jpeg`, `png`, `gif`, `webp`, `bmp`)
walk over the parts of a file first, in time proportional to it, and hand on nothing but those that make pixels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from palitune.data.images.exif_orientation import Orientation


def media_type(head: bytes) -> str | None:
    """What a picture is by its first 16 bytes, as in `image/jpeg`; None if it is none that can be read."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return "image/bmp" if head.startswith(b"BM") else None


class Damaged(Exception):
    """The parts of the file are not where they should be; the text says what is wrong."""


class Container(NamedTuple):
    """What the parts of a file say.

    Attributes:
      sizes: width and height of what is shown, by frame; the last holds for all that follow.
      frames: how many an animation has, 1 for anything else, however many images there are in the file.
      bytes_per_pixel: of memory that decoding the first frame takes.
      bytes_per_later: the same for frames that are made from those before.
      passes: how often decoding goes over each pixel of a frame.
      slow: decoded byte by byte in Python.
      content: a file with nothing but the pixels up to a frame, counted from 0.
    """

    format: str
    sizes: Sequence[tuple[int, int]]
    content: Callable[[int], bytes]
    bytes_per_pixel: int
    frames: int = 1
    bytes_per_later: int = 0
    passes: int = 1
    slow: bool = False
    orientation: Orientation = Orientation()
    remarks: tuple[str, ...] = ()

    def size(self, frame: int) -> tuple[int, int]:
        return self.sizes[min(frame, len(self.sizes) - 1)]

    def memory(self, frame: int) -> int:
        """Bytes that decoding a frame takes."""
        width, height = self.size(frame)
        return width * height * (self.bytes_per_later if frame else self.bytes_per_pixel)

    def work(self, frame: int) -> int:
        """Pixels that decoding a frame goes over, those of the frames before it among them."""
        width, height = self.size(frame)
        return width * height * self.passes * (frame + 1)


def big(data: bytes, at: int, length: int) -> int:
    """An unsigned number, the most significant byte first. Raises Damaged beyond the end."""
    return _number(data, at, length, "big")


def little(data: bytes, at: int, length: int) -> int:
    """An unsigned number, the least significant byte first. Raises Damaged beyond the end."""
    return _number(data, at, length, "little")


def _number(data: bytes, at: int, length: int, order: str) -> int:
    raw = data[at : at + length]
    if len(raw) < length:
        raise Damaged("the file ends too early")
    return int.from_bytes(raw, order)  # type: ignore[arg-type]

"""An image file before it is decoded: its size, its frames, what decoding costs, and the parts that make its pixels.

Decoders trust headers and follow metadata. Therefore the reader of each format (`jpeg`, `png`, `gif`, `webp`, `bmp`)
first walks over the parts of a file, in time proportional to its size, and passes on only those that make pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from palitune.data.images.exif_orientation import Orientation


def media_type(head: bytes) -> str | None:
    """Returns the media type of an image by its first 16 bytes, such as `image/jpeg`; None if it cannot be read."""
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
    """A file is damaged: its parts are not where they should be. The text says what is wrong."""


class Container(NamedTuple):
    """What the parts of an image file say.

    Attributes:
      format: Pillow's name of the format.
      sizes: width and height of each frame as it is shown; the last one holds for all frames that follow.
      content: returns a file with nothing but the pixels up to a frame, counted from 0.
      bytes_per_pixel: memory for each pixel that decoding the first frame takes.
      frames: the number of frames of an animation; 1 for anything else, however many images are in the file.
      bytes_per_later: memory for each pixel that decoding a later frame takes, which is made from those before it.
      passes: how often decoding goes over each pixel of a frame.
      slow: whether Pillow decodes it byte by byte in Python.
      orientation: by EXIF or XMP.
      remarks: what the user should know about how the image is decoded.
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
        """Returns width and height of a frame, in pixels."""
        return self.sizes[min(frame, len(self.sizes) - 1)]

    def memory(self, frame: int) -> int:
        """Returns the bytes of memory that decoding a frame takes."""
        width, height = self.size(frame)
        return width * height * (self.bytes_per_later if frame else self.bytes_per_pixel)

    def work(self, frame: int) -> int:
        """Returns the number of pixels that decoding a frame goes over, including those of the frames before it."""
        width, height = self.size(frame)
        return width * height * self.passes * (frame + 1)


def big(data: bytes, at: int, length: int) -> int:
    """Returns an unsigned number, most significant byte first. Raises Damaged beyond the end of the file."""
    return _number(data, at, length, "big")


def little(data: bytes, at: int, length: int) -> int:
    """Returns an unsigned number, least significant byte first. Raises Damaged beyond the end of the file."""
    return _number(data, at, length, "little")


def _number(data: bytes, at: int, length: int, order: Literal["big", "little"]) -> int:
    raw = data[at : at + length]
    if len(raw) < length:
        raise Damaged("the file ends too early")
    return int.from_bytes(raw, order)

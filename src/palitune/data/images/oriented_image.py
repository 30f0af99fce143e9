"""Decoded pictures as they are meant to be seen: upright, RGB, on white.

A few rows at a time, so that no second copy of a large one is made.
"""

import hashlib
import math
from typing import Any

import numpy as np
from PIL import Image

WHOLE = 2_000_000  # pixels up to which a picture is converted at once
STRIP = 500_000  # pixels that are converted at once of a larger one
SWAPPED = (5, 6, 7, 8)  # EXIF's orientations whose rows are columns of the file
MIRRORED, UPSIDE_DOWN = (2, 3, 7, 8), (3, 4, 6, 7)  # those that begin at the file's right, and at its bottom
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class OrientedImage:
    """A decoded picture and how it is to be turned.

    Attributes:
      size: width and height once it is upright.
    """

    def __init__(self, stored: Image.Image, orientation: int = 1) -> None:
        self.stored, self.orientation = stored, orientation
        width, height = stored.size
        self.size = (height, width) if orientation in SWAPPED else (width, height)

    def part(self, box: tuple[int, int, int, int]) -> Image.Image:
        """From left and top to right and bottom of the upright picture, as RGB."""
        left, top, right, bottom = box
        width, height = self.stored.size
        if self.orientation in SWAPPED:
            left, top, right, bottom = top, left, bottom, right
        if self.orientation in MIRRORED:
            left, right = width - right, width - left
        if self.orientation in UPSIDE_DOWN:
            top, bottom = height - bottom, height - top
        found = self.stored
        if (left, top, right, bottom) != (0, 0, width, height):
            found = found.crop((left, top, right, bottom))
        return to_rgb(found.transpose(TURNS[self.orientation]) if self.orientation in TURNS else found)

    def rows(self, start: int, end: int, left: int = 0, right: int | None = None) -> Bytes:
        """uint8[rows, columns * 3] of the upright picture."""
        right = self.size[0] if right is None else right
        return np.asarray(self.part((left, start, right, end))).reshape(end - start, (right - left) * 3)

    def strips(self, multiple: int = 1) -> list[tuple[int, int]]:
        """From row to row, parts of the picture that are small enough; each but the last has a multiple of rows."""
        width, height = self.size
        step = height if width * height <= WHOLE else max(1, STRIP // width)
        step = math.ceil(step / multiple) * multiple
        return [(start, min(start + step, height)) for start in range(0, height, step)]

    def picture(self) -> Image.Image:
        """All of it."""
        width, height = self.size
        strips = self.strips()
        if len(strips) == 1 or (self.orientation == 1 and self.stored.mode == "RGB"):
            return self.part((0, 0, width, height))
        whole = Image.new("RGB", self.size)
        for start, end in strips:
            whole.paste(self.part((0, start, width, end)), (0, start))
        return whole

    def reduced(self, most: int = WHOLE) -> Image.Image:
        """The picture, or where it has more than so many pixels the means of squares of it."""
        width, height = self.size
        factor = math.ceil(math.sqrt(width * height / most))
        if factor <= 1:
            return self.picture()
        factor = min(factor, width, height)
        small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
        for start, end in self.strips(factor):
            small.paste(self.part((0, start, width, end)).reduce(factor), (0, start // factor))
        return small

    def digest(self) -> bytes:
        """SHA-256 of the pixels."""
        found = hashlib.sha256(f"{self.size}".encode())
        for start, end in self.strips():
            found.update(self.rows(start, end).tobytes())
        return found.digest()


def to_rgb(picture: Image.Image) -> Image.Image:
    """Alpha is composited on white, greyscale widened."""
    if picture.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion would clip everything above 255 to white.
        grey = np.asarray(picture).astype(np.uint32) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")

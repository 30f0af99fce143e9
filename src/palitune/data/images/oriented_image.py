"""Decoded images as they are meant to be seen: upright, in RGB, and on white where they are transparent.

An image is converted a few rows at a time, so that there is never a second copy of a large one.
"""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHOLE = 2_000_000  # pixels up to which an image is converted at once
STRIP = 500_000  # pixels of a larger image that are converted at once
SWAPPED = (5, 6, 7, 8)  # EXIF orientations whose rows are columns of the file
MIRRORED, UPSIDE_DOWN = (2, 3, 7, 8), (3, 4, 6, 7)  # orientations that begin at the file's right, and at its bottom
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class OrientedImage:
    """A decoded image, with the EXIF orientation by which it becomes upright.

    Attributes:
      stored: the image as the file has it.
      orientation: EXIF's number from 1 (upright) to 8.
      size: width and height of the upright image.
    """

    def __init__(self, stored: Image.Image, orientation: int = 1) -> None:
        self.stored, self.orientation = stored, orientation
        width, height = stored.size
        self.size = (height, width) if orientation in SWAPPED else (width, height)

    def part(self, box: tuple[int, int, int, int]) -> Image.Image:
        """Returns a part of the upright image as RGB; `box` is (left, top, right, bottom) in its pixels."""
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

    def rows(self, start: int, end: int, left: int = 0, right: int | None = None) -> NDArray[np.uint8]:
        """Returns uint8[rows, columns * 3], some rows and columns of the upright image."""
        right = self.size[0] if right is None else right
        return np.asarray(self.part((left, start, right, end))).reshape(end - start, (right - left) * 3)

    def strips(self, multiple: int = 1) -> list[tuple[int, int]]:
        """Returns (start, end) of groups of rows that are converted at once; all but the last have whole multiples."""
        width, height = self.size
        step = height if width * height <= WHOLE else max(1, STRIP // width)
        step = math.ceil(step / multiple) * multiple
        return [(start, min(start + step, height)) for start in range(0, height, step)]

    def whole(self) -> Image.Image:
        """Returns the upright image as RGB."""
        width, height = self.size
        strips = self.strips()
        if len(strips) == 1 or (self.orientation == 1 and self.stored.mode == "RGB"):
            return self.part((0, 0, width, height))
        upright = Image.new("RGB", self.size)
        for start, end in strips:
            upright.paste(self.part((0, start, width, end)), (0, start))
        return upright

    def reduced(self, most: int = WHOLE) -> Image.Image:
        """Returns the upright image as RGB, reduced by means of squares if it has more than `most` pixels."""
        width, height = self.size
        factor = math.ceil(math.sqrt(width * height / most))
        if factor <= 1:
            return self.whole()
        factor = min(factor, width, height)
        small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
        for start, end in self.strips(factor):
            small.paste(self.part((0, start, width, end)).reduce(factor), (0, start // factor))
        return small

    def digest(self) -> bytes:
        """Returns the SHA-256 of the size and the pixels of the upright image: equal for copies in any format."""
        found = hashlib.sha256(f"{self.size}".encode())
        for start, end in self.strips():
            found.update(self.rows(start, end).tobytes())
        return found.digest()


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any mode as RGB; transparent parts are composited on white."""
    if image.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion would clip everything above 255 to white.
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")

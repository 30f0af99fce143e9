"""Pictures from files to what the image tower takes: float32[size, size, 3] in [-1, 1].

Formats are recognised by content, not by name. Of an animated picture the middle frame counts.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from palitune.errors import BadDataError, MissingInputError

PREPROCESSING = 1  # goes up with every change to the pixels that a file gives
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
Pixels = np.ndarray[Any, np.dtype[np.float32]]
# What Pillow's decoders are known to raise on damaged files.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def decode(path: Path, where: str | None = None) -> Image.Image:
    """The picture in a file as RGB: upright by its EXIF rotation, alpha composited on white, greyscale widened.

    Raises:
      MissingInputError: there is no such file. `where` (`file:line` of the record) is named with it.
      BadDataError: it is no picture in one of `FORMATS`, is damaged, or has more pixels than Pillow's limit.
    """
    try:
        if path.exists() and not path.is_file():
            # A folder has no pixels; a pipe or a device may never end.
            raise BadDataError(f"not a file: {path}", where=where, hint=f"Formats are {', '.join(FORMATS)}")
        with Image.open(path, formats=FORMATS) as picture:
            frames: int = getattr(picture, "n_frames", 1)
            picture.seek(frames // 2)
            return _to_rgb(ImageOps.exif_transpose(picture))
    except (FileNotFoundError, NotADirectoryError):
        hint = "Images are looked for beside the record's file and one folder up; --images names another folder"
        raise MissingInputError(f"no such image: {path}", where=where, hint=hint) from None
    except PermissionError:
        raise MissingInputError(f"image cannot be read: {path}", where=where, hint="Check its permissions") from None
    except Image.DecompressionBombError:
        limit = f"{2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        raise BadDataError(f"image is larger than {limit}: {path}", where=where, hint="Make it smaller") from None
    except UnidentifiedImageError:
        hint = f"Formats are {', '.join(FORMATS)}"
        raise BadDataError(f"not an image: {path}", where=where, hint=hint) from None
    except DECODER_ERRORS as error:
        raise BadDataError(f"image does not decode ({error}): {path}", where=where, hint="Replace the file") from None


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion would clip everything above 255 to white.
        grey = np.asarray(picture).astype(np.uint32) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def to_pixels(picture: Image.Image, size: int) -> Pixels:
    """An RGB picture squeezed to a square: float32[size, size, 3] in [-1, 1].

    Pillow's bilinear filter widens with the scale when it shrinks, which is `jax.image.resize(..., antialias=True)`
    and TensorFlow's antialiased resize. It runs on float bands: on bytes it would round after each direction, and the
    sum of both can exceed one grey level.
    """
    bands = [
        np.asarray(band.convert("F").resize((size, size), Image.Resampling.BILINEAR), np.float32)
        for band in picture.split()
    ]
    pixels: Pixels = np.stack(bands, axis=-1) / np.float32(127.5) - np.float32(1)
    return pixels


def load(path: Path, size: int, where: str | None = None) -> Pixels:
    """`decode` and `to_pixels`."""
    return to_pixels(decode(path, where), size)

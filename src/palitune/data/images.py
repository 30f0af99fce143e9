"""Pictures from files to what the image tower takes: float32[size, size, 3] in [-1, 1].

Formats are recognised by content, not by name, and there are no others.
"""

import contextlib
import functools
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from palitune.config import MAX_PIXELS
from palitune.data.characters import why_missing
from palitune.errors import BadDataError, MissingInputError, PalituneError

PREPROCESSING = 2  # goes up with every change to the pixels that a file gives
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
FRAMES = ("first", "middle", "last")
ORIENTATION = 0x0112  # EXIF's tag
LARGEST_FILE = 256 << 20  # bytes
ANIMATED_SHARE = 4  # an animated picture takes several copies of its canvas, so it may have this much less pixels
KEPT_BLOCKS = 16  # of Pillow's memory, 16 MB each
ONE_AT_A_TIME = 8_000_000  # pixels from which on pictures are not decoded beside each other
# Multiplications of one matrix product: below this BLAS starts no threads, which would stand in ours' way, and what is
# multiplied stays in the processor's cache.
PRODUCT = 1 << 18
Pixels = np.ndarray[Any, np.dtype[np.float32]]
# What Pillow's decoders are known to raise on damaged files.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
Image.MAX_IMAGE_PIXELS = None  # `_checked` is the limit: it refuses where Pillow warns
# Pillow gives its memory back after every picture, and threads wait for each other while the system takes and gives it.
Image.core.set_blocks_max(KEPT_BLOCKS)  # type: ignore[attr-defined]
_large = threading.Lock()


class Decoding(NamedTuple):
    """How files are read."""

    frames: str = "middle"  # of an animated picture: one of FRAMES, or a number from 0
    max_pixels: int = MAX_PIXELS


DEFAULT = Decoding()


class Facts(NamedTuple):
    """A picture as its file has it."""

    format: str  # one of FORMATS
    width: int
    height: int
    mode: str  # Pillow's
    frames: int
    rotated: bool  # by EXIF
    alpha: bool


def decode(path: Path, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None) -> Image.Image:
    """The picture in a file as RGB: upright by its EXIF rotation, alpha composited on white, greyscale widened.

    Args:
      where: `file:line` of the record, for messages.
      frame: of an animated picture, instead of what `how` says.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is no picture in one of `FORMATS`, is damaged, or has too many pixels.
    """
    with _opened(path, where, how) as (picture, count), _room(picture):
        return _upright(picture, count, how, frame)


def examine(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> tuple[Facts, Image.Image]:
    """What a file is, and its picture as `decode` gives it."""
    with _opened(path, where, how) as (picture, count), _room(picture):
        rotated = picture.getexif().get(ORIENTATION, 1) != 1
        facts = Facts(
            format=picture.format or "",
            width=picture.width,
            height=picture.height,
            mode=picture.mode,
            frames=count,
            rotated=rotated,
            alpha=picture.has_transparency_data,
        )
        return facts, _upright(picture, count, how, None)


def load(path: Path, size: int, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None) -> Pixels:
    """`decode` and `to_pixels`."""
    with contextlib.ExitStack() as held:
        with _opened(path, where, how) as (picture, count):
            held.enter_context(_room(picture))
            upright = _upright(picture, count, how, frame)
        return to_pixels(upright, size)


def count_frames(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> int:
    """1 for what is not animated. Raises as `decode`, but looks at no pixels."""
    with _opened(path, where, how) as (_, count):
        return count


def shown_frames(path: Path, where: str, how: Decoding, most: int | None) -> Sequence[int | None]:
    """The frames by which a picture is judged: `most` of them evenly spaced, or with None the one that `how` says."""
    return [None] if most is None else list(evenly(count_frames(path, where, how), most))


@contextlib.contextmanager
def _opened(path: Path, where: str | None, how: Decoding) -> Iterator[tuple[Image.Image, int]]:
    """A picture with its number of frames, of which nothing has been decoded; errors in here are the file's."""
    try:
        with Image.open(_checked_file(path, where), formats=FORMATS) as picture:
            yield picture, _checked(picture, path, where, how)
    except (*DECODER_ERRORS, UnidentifiedImageError) as error:
        raise _named(error, path, where) from None


def _room(picture: Image.Image) -> contextlib.AbstractContextManager[Any]:
    """Large pictures one after another, so that threads do not add up their memory."""
    return _large if picture.width * picture.height > ONE_AT_A_TIME else contextlib.nullcontext()


def _upright(picture: Image.Image, count: int, how: Decoding, frame: int | None) -> Image.Image:
    if count > 1:
        picture.seek(frame_index(count, how.frames) if frame is None else min(frame, count - 1))
    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    return _to_rgb(picture)


def frame_index(count: int, frames: str) -> int:
    """Which of `count` frames "first", "middle", "last" or a number from 0 is; beyond the last it is the last."""
    named = {"first": 0, "middle": count // 2, "last": count - 1}
    return named[frames] if frames in named else min(int(frames), count - 1)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of `count` frames, evenly spaced, the first and the last among them; of one, the middle."""
    if most == 1:
        return [count // 2]
    most = min(most, count)
    return [round(i * (count - 1) / (most - 1)) for i in range(most)] if count > 1 else [0]


def _checked_file(path: Path, where: str | None) -> Path:
    if path.exists():
        if not path.is_file():  # a folder has no pixels; a pipe or a device may never end
            raise BadDataError(f"not a file: {path}", where=where, hint=f"Formats are {', '.join(FORMATS)}")
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise BadDataError(f"image file of {size:,} bytes: {path}", where=where, hint="Make it smaller")
    return path


def _checked(picture: Image.Image, path: Path, where: str | None, how: Decoding) -> int:
    """The number of frames. Before any pixel is decoded: a small file can ask for all of the memory."""
    pixels = picture.width * picture.height
    if pixels <= how.max_pixels:
        count: int = getattr(picture, "n_frames", 1)
        if count < 2 or pixels <= how.max_pixels // ANIMATED_SHARE:
            return count
    limit = how.max_pixels if pixels > how.max_pixels else how.max_pixels // ANIMATED_SHARE
    what = f"image has {picture.width} x {picture.height} pixels, {limit:,} are allowed: {path}"
    raise BadDataError(what, where=where, hint="Make it smaller, or raise --max-pixels")


def _named(error: Exception, path: Path, where: str | None) -> PalituneError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        hint = "Images are looked for beside the record's file and one folder up; --images names another folder"
        return MissingInputError(f"no such image: {path}", where=where, hint=why_missing(str(path)) or hint)
    if isinstance(error, PermissionError):
        return MissingInputError(f"image cannot be read: {path}", where=where, hint="Check its permissions")
    if isinstance(error, UnidentifiedImageError):
        return BadDataError(f"not an image: {path}", where=where, hint=f"Formats are {', '.join(FORMATS)}")
    detail = str(error) or type(error).__name__
    return BadDataError(f"image does not decode ({detail}): {path}", where=where, hint="Replace the file")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion would clip everything above 255 to white.
        grey = np.asarray(picture).astype(np.uint32) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    # What has one frame keeps its pixels when its file is closed; others may want to look into it again.
    return picture if picture.mode == "RGB" and picture.format in ("JPEG", "BMP") else picture.convert("RGB")


@functools.lru_cache(1024)
def _filter(length: int, size: int, rows: int) -> list[tuple[int, int, Pixels]]:
    """What each `rows` rows of a resize from `length` to `size` are made of: from, to, and their weights.

    Pillow's triangle filter: its width is that of the scale where it shrinks. Pillow 12, `precompute_coeffs`.
    """
    scale = length / size
    support = max(scale, 1.0)
    parts = []
    for first in range(0, size, rows):
        centers = (np.arange(first, min(first + rows, size)) + 0.5) * scale
        start, end = max(0, int(centers[0] - support + 0.5)), min(length, int(centers[-1] + support + 0.5))
        weights = np.maximum(1 - np.abs(np.arange(start, end) + 0.5 - centers[:, None]) / support, 0)
        parts.append((start, end, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)))
    return parts


def _parts(length: int, size: int, width: int) -> list[tuple[slice, slice, Pixels]]:
    """A resize of `width` lines from `length` to `size` in products that are small enough: to, from, and weights."""
    scale = length / size
    step = 16
    while step > 1 and step * (step * scale + 2 * max(scale, 1)) * width > PRODUCT:
        step //= 2
    parts = _filter(length, size, step)
    return [(slice(i * step, i * step + step), slice(start, end), w) for i, (start, end, w) in enumerate(parts)]


def to_pixels(picture: Image.Image, size: int) -> Pixels:
    """An RGB picture squeezed to a square: float32[size, size, 3] in [-1, 1].

    The bilinear filter widens with the scale when it shrinks, which is `jax.image.resize(..., antialias=True)`,
    TensorFlow's antialiased resize and Pillow's on float bands. Pillow's on bytes rounds after each direction, and the
    sum of both can exceed one grey level. Done here a few rows at a time: no float copy of a large picture is made.
    """
    width, height = picture.size
    rows = np.asarray(picture).reshape(height, width * 3)
    flat = np.empty((size, width * 3), np.float32)
    for target, source, weights in _parts(height, size, width * 3):
        np.matmul(weights, rows[source].astype(np.float32), out=flat[target])
    pixels = np.empty((size, size, 3), np.float32)
    for band in range(3):
        plane = np.ascontiguousarray(flat[:, band::3])
        for target, source, weights in _parts(width, size, size):
            pixels[:, target, band] = plane[:, source] @ weights.T
    pixels /= np.float32(127.5)
    pixels -= np.float32(1)
    return np.clip(pixels, -1, 1, out=pixels)  # what sums of weights make of white

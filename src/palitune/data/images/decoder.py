"""Image files decoded, down to what the image encoder takes: float32[size, size, 3] in [-1, 1].

A format is recognised by the content of the file, not by its name. What decoding will cost is known before it begins
(`container`, `decoding_limits`), and the decoders get nothing but pixels: of the metadata, only the orientation counts.
"""

import contextlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from palitune.config.run_config import MAX_PIXELS
from palitune.data import file_signatures
from palitune.data.images import bmp, decoding_limits, gif, jpeg, png, webp
from palitune.data.images.container import Container, Damaged, media_type
from palitune.data.images.oriented_image import OrientedImage
from palitune.data.images.resize import Pixels, to_pixels
from palitune.data.invisible_characters import why_missing
from palitune.errors import BadDataError, MissingInputError, PalituneError

PREPROCESSING = 3  # goes up with every change to the pixels that a file gives
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
FRAMES = ("first", "middle", "last")
KEPT_BLOCKS = 16  # blocks of 16 MB each that Pillow keeps
ONE_AT_A_TIME = 32_000_000  # bytes of memory above which images are not decoded at the same time
READERS: dict[str, Callable[[bytes], Container]] = {
    "image/jpeg": jpeg.scan,
    "image/png": png.scan,
    "image/gif": gif.scan,
    "image/webp": webp.scan,
    "image/bmp": bmp.scan,
}
DAMAGED_ORIENTATION = "its metadata says in no readable way which side is up: it is shown as stored"
Image.MAX_IMAGE_PIXELS = None  # `decoding_limits` refuses images, where Pillow would only warn
# Without this, Pillow returns its memory after every image, and threads wait for each other while the system does that.
Image.core.set_blocks_max(KEPT_BLOCKS)  # type: ignore[attr-defined]
warnings.filterwarnings("ignore", module=r"PIL\.")  # warnings about files, on which nobody can act
_large = threading.Lock()


class Decoding(NamedTuple):
    """How image files are decoded.

    Attributes:
      frames: which frame of an animated image is used: one of FRAMES, or a number from 0.
      max_pixels: width times height that an image may have.
    """

    frames: str = "middle"
    max_pixels: int = MAX_PIXELS


DEFAULT = Decoding()


class ImageFacts(NamedTuple):
    """What an image file says about its image.

    Attributes:
      format: one of FORMATS.
      width: of the stored pixels, before they are rotated.
      height: of the stored pixels.
      mode: Pillow's name of the colour mode.
      frames: how many an animation has, else 1.
      rotated: whether EXIF says that the stored image is not upright.
      alpha: whether there is transparency.
      remarks: what the user should know about how the image is decoded.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    rotated: bool
    alpha: bool
    remarks: tuple[str, ...] = ()


unreadable: set[Path] = set()  # the files decoded so far of which `DAMAGED_ORIENTATION` is true


def decode(
    path: Path,
    where: str | None = None,
    how: Decoding = DEFAULT,
    frame: int | None = None,
    most: int | None = None,
) -> Image.Image:
    """Returns the image in a file as RGB: upright as EXIF says, on white where transparent, greyscale as RGB.

    Args:
      where: `file:line` of the example, for messages.
      how: the limits, and the frame of an animated image.
      frame: the frame of an animated image, counted from 0, instead of what `how` says.
      most: a number of pixels; an image with more is returned smaller, as the means of squares.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is not an image in one of `FORMATS`, is damaged, or exceeds a limit.
    """
    with opened(path, where, how, frame) as (_, image):
        return image.whole() if most is None else image.reduced(most)


def examine(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> tuple[ImageFacts, Image.Image]:
    """Returns what a file says about its image, and the image as `decode` returns it. Raises as `decode`."""
    with opened(path, where, how) as (facts, image):
        return facts, image.whole()


def load(path: Path, size: int, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None) -> Pixels:
    """Returns float32[size, size, 3]: `decode` and `to_pixels`, without a second copy of the image."""
    with opened(path, where, how, frame) as (_, image):
        return to_pixels(image, size)


def count_frames(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> int:
    """Returns the number of frames, 1 for an image that is not animated. Raises as `decode`, but decodes nothing."""
    with _file_errors(path, where):
        return _scanned(path, where).frames


def frames_to_score(path: Path, where: str, how: Decoding, most: int | None) -> Sequence[int | None]:
    """Returns the frames that are scored: at most `most`, evenly spaced; if it is None, the one that `how` says."""
    return [None] if most is None else list(evenly_spaced(count_frames(path, where, how), most))


@contextlib.contextmanager
def opened(
    path: Path, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None
) -> Iterator[tuple[ImageFacts, OrientedImage]]:
    """Decodes an image for as long as the block runs. Raises as `decode`; exceptions in the block become the file's."""
    with _file_errors(path, where):
        container = _scanned(path, where)
        index = frame_index(container.frames, how.frames) if frame is None else min(frame, container.frames - 1)
        decoding_limits.check(container, index, path.stat().st_size, str(path), how.max_pixels, where)
        with _one_at_a_time(container.memory(index)):
            stored = Image.open(io.BytesIO(container.content(index)), formats=[container.format])
            facts = _facts(stored, container)
            if index:
                stored.seek(index)
            stored.load()
            if stored.size != container.size(index):
                raise Damaged("its header contradicts itself")
            if container.orientation.damaged:
                unreadable.add(path)
            yield facts, OrientedImage(stored, container.orientation.value)


def _facts(stored: Image.Image, container: Container) -> ImageFacts:
    return ImageFacts(
        format=container.format,
        width=stored.width,
        height=stored.height,
        mode=stored.mode,
        frames=container.frames,
        rotated=container.orientation.value != 1,
        alpha=stored.has_transparency_data,
        remarks=container.remarks + (DAMAGED_ORIENTATION,) * container.orientation.damaged,
    )


@contextlib.contextmanager
def _file_errors(path: Path, where: str | None) -> Iterator[None]:
    """Raises whatever decoders raise on damaged files (AssertionError and MemoryError too) as an error of the file."""
    try:
        yield
    except PalituneError:
        raise
    except Exception as error:
        raise _error_of(error, path, where) from None


@contextlib.contextmanager
def _one_at_a_time(memory: int) -> Iterator[None]:
    """Lets only one thread decode an image that takes much memory, so that threads do not add up what they take."""
    if memory <= ONE_AT_A_TIME:
        yield
        return
    with _large:
        try:
            yield
        finally:
            Image.core.clear_cache()  # type: ignore[attr-defined]


def frame_index(count: int, frames: str) -> int:
    """Returns the frame, of `count`, that "first", "middle", "last" or a number from 0 means, at most the last one."""
    named = {"first": 0, "middle": count // 2, "last": count - 1}
    return named[frames] if frames in named else min(int(frames), count - 1)


def evenly_spaced(count: int, most: int) -> list[int]:
    """Returns at most `most` of `count` frames, from the first to the last; the middle one if `most` is 1."""
    if most == 1:
        return [count // 2]
    most = min(most, count)
    return [round(i * (count - 1) / (most - 1)) for i in range(most)] if count > 1 else [0]


def _scanned(path: Path, where: str | None) -> Container:
    """Returns what the parts of a file say; nothing is decoded."""
    data = _content(path, where)
    kind = media_type(data[:16])
    if kind is None:
        found = file_signatures.recognised_instead_of_image(data[: file_signatures.HEAD])
        hint = found.hint if found else f"Formats are {', '.join(FORMATS)}"
        hint = "Name the image itself" if "palitune convert" in hint else hint
        raise BadDataError(f"not an image{f' but {found.what}' if found else ''}: {path}", where=where, hint=hint)
    return READERS[kind](data)


def _content(path: Path, where: str | None) -> bytes:
    """Reads a regular file, opened so that a pipe of this name would not wait for its other end."""
    kind = os.stat(path).st_mode
    if stat.S_ISREG(kind):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > decoding_limits.LARGEST_FILE:
                raise BadDataError(
                    f"image file of {found.st_size:,} bytes: {path}", where=where, hint="Make it smaller"
                )
            if stat.S_ISREG(found.st_mode):
                return file.read(decoding_limits.LARGEST_FILE)
    what = "a folder" if stat.S_ISDIR(kind) else "a pipe" if stat.S_ISFIFO(kind) else "a device or socket"
    raise BadDataError(f"not a file: {path}", where=where, hint=f"This is {what}: name the image itself")


def _error_of(error: Exception, path: Path, where: str | None) -> PalituneError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        hint = "Images are looked for beside the record's file and one folder up; --images names another folder"
        return MissingInputError(f"no such image: {path}", where=where, hint=why_missing(str(path)) or hint)
    if isinstance(error, PermissionError):
        return MissingInputError(f"image cannot be read: {path}", where=where, hint="Check its permissions")
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    ends_early = "truncated" in detail or "too early" in detail
    hint = "It was cut: copy or download it again" if ends_early else "Replace the file"
    return BadDataError(f"image does not decode ({detail}): {path}", where=where, hint=hint)

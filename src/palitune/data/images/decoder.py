"""Pictures from files to what the image tower takes: float32[size, size, 3] in [-1, 1].

Formats are recognised by content, not by name, and there are no others. What a file asks for is known before anything
is decoded (`container`), and decoders get its pixels alone: metadata has no say in them, but for the orientation.
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

from palitune.config import MAX_PIXELS
from palitune.data import file_signatures
from palitune.data.images import bmp, gif, jpeg, png, webp
from palitune.data.images.container import Container, Damaged, media_type
from palitune.data.images.oriented_image import OrientedImage
from palitune.data.images.resize import Pixels
from palitune.data.images.resize import to_pixels as to_pixels
from palitune.data.invisible_characters import why_missing
from palitune.errors import BadDataError, MissingInputError, PalituneError

PREPROCESSING = 3  # goes up with every change to the pixels that a file gives
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
FRAMES = ("first", "middle", "last")
LARGEST_FILE = 256 << 20  # bytes
ANIMATED_SHARE = 4  # an animated picture takes several copies of its canvas, so it may have this much less pixels
LONGEST_SIDE = 65_535  # pixels, as in most formats
STRETCH = 1_000  # how much longer one side may be than the other: what is squeezed to a square shows nothing by then
# Up to the one that counts, and their pixels in all; scans of a JPEG, and theirs, which take a tenth of the time.
MOST_FRAMES, FRAMES_PIXELS = 10_000, 1_000_000_000
MOST_SCANS, SCANS_PIXELS = 1_000, 4_000_000_000
# Bytes that decoding may take: as much as all permitted pixels of a photo do, and more where the file itself is large.
MEMORY, MEMORY_PER_BYTE = 290_000_000, 160
KEPT_BLOCKS = 16  # of Pillow's memory, 16 MB each
ONE_AT_A_TIME = 32_000_000  # bytes from which on pictures are not decoded beside each other
READERS: dict[str, Callable[[bytes], Container]] = {
    "image/jpeg": jpeg.scan,
    "image/png": png.scan,
    "image/gif": gif.scan,
    "image/webp": webp.scan,
    "image/bmp": bmp.scan,
}
UNREADABLE = "its metadata says in no readable way which side is up: it is shown as stored"
Image.MAX_IMAGE_PIXELS = None  # `_check` is the limit: it refuses where Pillow warns
# Pillow gives its memory back after every picture, and threads wait for each other while the system takes and gives it.
Image.core.set_blocks_max(KEPT_BLOCKS)  # type: ignore[attr-defined]
warnings.filterwarnings("ignore", module=r"PIL\.")  # of what nobody can act on
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
    remarks: tuple[str, ...] = ()  # what a person should know of how it is shown


unreadable: set[Path] = set()  # pictures of which `UNREADABLE` is true, as far as they have been decoded


def decode(
    path: Path,
    where: str | None = None,
    how: Decoding = DEFAULT,
    frame: int | None = None,
    most: int | None = None,
) -> Image.Image:
    """The picture in a file as RGB: upright by its EXIF rotation, alpha composited on white, greyscale widened.

    Args:
      where: `file:line` of the record, for messages.
      frame: of an animated picture, instead of what `how` says.
      most: pixels; of a picture that has more, the means of squares.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is no picture in one of `FORMATS`, is damaged, or takes more than the limits allow.
    """
    with shown(path, where, how, frame) as (_, upright):
        return upright.picture() if most is None else upright.reduced(most)


def examine(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> tuple[Facts, Image.Image]:
    """What a file is, and its picture as `decode` gives it."""
    with shown(path, where, how) as (facts, upright):
        return facts, upright.picture()


def load(path: Path, size: int, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None) -> Pixels:
    """`decode` and `to_pixels`, without a second copy of the picture."""
    with shown(path, where, how, frame) as (_, upright):
        return to_pixels(upright, size)


def count_frames(path: Path, where: str | None = None, how: Decoding = DEFAULT) -> int:
    """1 for what is not animated. Raises as `decode`, but looks at no pixels."""
    with _errors_named(path, where):
        return _scanned(path, where).frames


def shown_frames(path: Path, where: str, how: Decoding, most: int | None) -> Sequence[int | None]:
    """The frames by which a picture is judged: `most` of them evenly spaced, or with None the one that `how` says."""
    return [None] if most is None else list(evenly(count_frames(path, where, how), most))


@contextlib.contextmanager
def shown(
    path: Path, where: str | None = None, how: Decoding = DEFAULT, frame: int | None = None
) -> Iterator[tuple[Facts, OrientedImage]]:
    """What a file is, and its picture, while it is looked at. Raises as `decode`; errors in here are the file's."""
    with _errors_named(path, where):
        container = _scanned(path, where)
        index = frame_index(container.frames, how.frames) if frame is None else min(frame, container.frames - 1)
        _check(container, index, path, where, how)
        with _room(container.memory(index)):
            picture = Image.open(io.BytesIO(container.content(index)), formats=[container.format])
            facts = _facts(picture, container)
            if index:
                picture.seek(index)
            picture.load()
            if picture.size != container.size(index):
                raise Damaged("its header contradicts itself")
            if container.orientation.damaged:
                unreadable.add(path)
            yield facts, OrientedImage(picture, container.orientation.value)


def _facts(picture: Image.Image, container: Container) -> Facts:
    return Facts(
        format=container.format,
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        frames=container.frames,
        rotated=container.orientation.value != 1,
        alpha=picture.has_transparency_data,
        remarks=container.remarks + (UNREADABLE,) * container.orientation.damaged,
    )


@contextlib.contextmanager
def _errors_named(path: Path, where: str | None) -> Iterator[None]:
    """Decoders raise anything on damaged files, assertions and MemoryError too; each becomes an error of the file."""
    try:
        yield
    except PalituneError:
        raise
    except Exception as error:
        raise _named(error, path, where) from None


@contextlib.contextmanager
def _room(memory: int) -> Iterator[None]:
    """Large pictures one after another, so that threads do not add up their memory."""
    if memory <= ONE_AT_A_TIME:
        yield
        return
    with _large:
        try:
            yield
        finally:
            Image.core.clear_cache()  # type: ignore[attr-defined]


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


def _scanned(path: Path, where: str | None) -> Container:
    """What a file holds; nothing is decoded."""
    data = _content(path, where)
    kind = media_type(data[:16])
    if kind is None:
        found = file_signatures.recognised(data[: file_signatures.HEAD]) or _of_no_format(data[: file_signatures.HEAD])
        hint = found.hint if found else f"Formats are {', '.join(FORMATS)}"
        hint = "Name the image itself" if "palitune convert" in hint else hint
        raise BadDataError(f"not an image{f' but {found.what}' if found else ''}: {path}", where=where, hint=hint)
    return READERS[kind](data)


def _content(path: Path, where: str | None) -> bytes:
    """Opened so that a pipe does not wait for its other end, and read only if it is a file."""
    kind = os.stat(path).st_mode
    if stat.S_ISREG(kind):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > LARGEST_FILE:
                raise BadDataError(
                    f"image file of {found.st_size:,} bytes: {path}", where=where, hint="Make it smaller"
                )
            if stat.S_ISREG(found.st_mode):
                return file.read(LARGEST_FILE)
    what = "a folder" if stat.S_ISDIR(kind) else "a pipe" if stat.S_ISFIFO(kind) else "a device or socket"
    raise BadDataError(f"not a file: {path}", where=where, hint=f"This is {what}: name the image itself")


def _of_no_format(head: bytes) -> file_signatures.FileKind | None:
    """What is told by no first bytes."""
    if not head:
        return file_signatures.FileKind("an empty file", "Copy or download it again")
    if not any(head):
        return file_signatures.FileKind("a file of zeros", "Its download or copy was cut: copy or download it again")
    for magic, what in OTHERS:
        if head.startswith(magic):
            return file_signatures.FileKind(what, file_signatures.TO_JPEG)
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head):
        return file_signatures.FileKind("a text", "Name the image itself")
    return None


OTHERS = (  # first bytes of other images
    (b"\0\0\2\0", "a Windows cursor"),
    (b"icns", "an icon of macOS"),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)"),
    (b"IIU\0", "a raw photo (RW2)"),
    (b"IIRO", "a raw photo (ORF)"),
    (b"FOVb", "a raw photo (X3F)"),
    (b"qoif", "a QOI image"),
    (b"gimp xcf", "a GIMP image"),
    (b"DDS ", "a DDS texture"),
    (b"%!PS", "a PostScript drawing"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (b"\xd7\xcd\xc6\x9a", "a Windows drawing (WMF)"),
    *((f"P{kind}{blank}".encode(), "a Netpbm image") for kind in range(1, 8) for blank in "\n\r\t "),
)


def _check(container: Container, frame: int, path: Path, where: str | None, how: Decoding) -> None:
    """Raises BadDataError: a picture asks for more than is allowed. A small file can ask for all of the memory."""
    width, height = container.size(frame)
    if not width or not height:
        raise Damaged(f"{width} x {height} pixels")
    of_frame = f"frame {frame} of {container.frames} " if container.frames > 1 else ""
    limit = how.max_pixels // (ANIMATED_SHARE if container.frames > 1 or container.slow else 1)
    short, long = sorted((width, height))
    allowed = max(MEMORY * max(1, how.max_pixels // MAX_PIXELS), MEMORY_PER_BYTE * path.stat().st_size)
    needed, work = container.memory(frame), container.work(frame)
    most = SCANS_PIXELS if container.passes > 1 else FRAMES_PIXELS
    hint = "Make it smaller"
    if width * height > limit:
        what = f"{width} x {height} pixels, {limit:,} are allowed"
        hint = "Make it smaller, or raise --max-pixels"
    elif long > LONGEST_SIDE or long > STRETCH * short:
        what = f"{width} x {height} pixels; sides up to {LONGEST_SIDE:,} are allowed, one {STRETCH:,} times the other"
        hint = "Cut it into parts"
    elif needed > allowed:
        what = f"{width} x {height} pixels, which would take {needed >> 20:,} MB; {allowed >> 20:,} are allowed"
        hint = "Make it smaller, or save it as PNG or plain (baseline) JPEG"
    elif frame >= MOST_FRAMES:
        what = f"{MOST_FRAMES:,} frames before it, and no more are allowed"
        hint = "Make it shorter, or take --frames first"
    elif container.passes > MOST_SCANS:
        what = f"{container.passes:,} scans, {MOST_SCANS:,} are allowed"
        hint = "Save it anew"
    elif work > most:
        times = f"{container.passes} scans" if container.passes > 1 else f"{frame + 1} frames"
        what = f"{width} x {height} pixels in {times}; {most:,} in all are allowed"
        hint = "Save it anew" if container.passes > 1 else "Make it shorter or smaller, or take --frames first"
    else:
        return
    raise BadDataError(f"image {of_frame}has {what}: {path}", where=where, hint=hint)


def _named(error: Exception, path: Path, where: str | None) -> PalituneError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        hint = "Images are looked for beside the record's file and one folder up; --images names another folder"
        return MissingInputError(f"no such image: {path}", where=where, hint=why_missing(str(path)) or hint)
    if isinstance(error, PermissionError):
        return MissingInputError(f"image cannot be read: {path}", where=where, hint="Check its permissions")
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    ends_early = "truncated" in detail or "too early" in detail
    hint = "It was cut: copy or download it again" if ends_early else "Replace the file"
    return BadDataError(f"image does not decode ({detail}): {path}", where=where, hint=hint)

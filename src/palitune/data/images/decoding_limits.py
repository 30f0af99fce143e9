"""Limits on what an image may cost to decode: a small file can ask for hours of work and all of the memory.

They are checked before anything is decoded, from what the parts of the file say (`container`).
"""

from palitune.config.run_config import MAX_PIXELS
from palitune.data.images.container import Container, Damaged
from palitune.errors import BadDataError

LARGEST_FILE = 256 << 20  # bytes
# An animated image takes several copies of its canvas, so that it may have this many times fewer pixels.
ANIMATED_SHARE = 4
LONGEST_SIDE = 65_535  # pixels, as in most formats
STRETCH = 1_000  # ratio of the sides; an image that is longer shows nothing once it is squeezed to a square
# Frames up to the one that is used, and their pixels in all.
MOST_FRAMES, FRAMES_PIXELS = 10_000, 1_000_000_000
# Scans of a progressive JPEG, and their pixels in all; a scan takes a tenth of the time of a frame.
MOST_SCANS, SCANS_PIXELS = 1_000, 4_000_000_000
# Bytes that decoding may take: as much as a photo of all permitted pixels does, and more if the file itself is large.
MEMORY, MEMORY_PER_BYTE = 290_000_000, 160


def check(container: Container, frame: int, file_size: int, name: str, max_pixels: int, where: str | None) -> None:
    """Raises BadDataError, with the limit, if decoding a frame of an image would exceed one.

    Args:
      container: what the parts of the file say.
      frame: the frame that is to be decoded, counted from 0.
      file_size: the size of the file in bytes.
      name: the file, for messages.
      max_pixels: width times height that an image may have.
      where: `file:line` of the example, for messages.

    Raises:
      Damaged: the image has no pixels.
      BadDataError: it exceeds a limit.
    """
    if not all(container.size(frame)):
        raise Damaged("{} x {} pixels".format(*container.size(frame)))
    found = (
        _excess_size(container, frame, max_pixels)
        or _excess_memory(container, frame, file_size, max_pixels)
        or _excess_work(container, frame)
    )
    if found is not None:
        what, hint = found
        of_frame = f"frame {frame} of {container.frames} " if container.frames > 1 else ""
        raise BadDataError(f"image {of_frame}has {what}: {name}", where=where, hint=hint)


def _excess_size(container: Container, frame: int, max_pixels: int) -> tuple[str, str] | None:
    """Returns what is too much and what to do about it, or None."""
    width, height = container.size(frame)
    limit = max_pixels // (ANIMATED_SHARE if container.frames > 1 or container.slow else 1)
    if width * height > limit:
        return f"{width} x {height} pixels, {limit:,} are allowed", "Make it smaller, or raise --max-pixels"
    short, long = sorted((width, height))
    if long > LONGEST_SIDE or long > STRETCH * short:
        what = f"{width} x {height} pixels; sides up to {LONGEST_SIDE:,} are allowed, one {STRETCH:,} times the other"
        return what, "Cut it into parts"
    return None


def _excess_memory(container: Container, frame: int, file_size: int, max_pixels: int) -> tuple[str, str] | None:
    width, height = container.size(frame)
    allowed = max(MEMORY * max(1, max_pixels // MAX_PIXELS), MEMORY_PER_BYTE * file_size)
    needed = container.memory(frame)
    if needed <= allowed:
        return None
    what = f"{width} x {height} pixels, which would take {needed >> 20:,} MB; {allowed >> 20:,} are allowed"
    return what, "Make it smaller, or save it as PNG or plain (baseline) JPEG"


def _excess_work(container: Container, frame: int) -> tuple[str, str] | None:
    width, height = container.size(frame)
    has_scans = container.passes > 1
    most = SCANS_PIXELS if has_scans else FRAMES_PIXELS
    if frame >= MOST_FRAMES:
        what = f"{MOST_FRAMES:,} frames before it, and no more are allowed"
        return what, "Make it shorter, or take --frames first"
    if container.passes > MOST_SCANS:
        return f"{container.passes:,} scans, {MOST_SCANS:,} are allowed", "Save it again"
    if container.work(frame) > most:
        times = f"{container.passes} scans" if has_scans else f"{frame + 1} frames"
        what = f"{width} x {height} pixels in {times}; {most:,} in all are allowed"
        return what, "Save it again" if has_scans else "Make it shorter or smaller, or take --frames first"
    return None

"""The parts of a GIF file (GIF89a): its frames, their controls, and the canvas that they need."""

import itertools
import re
from typing import NamedTuple

from palitune.data.images.container import Container, Damaged, little

BLOCK = re.compile(rb"[!,;]")
EXTENSION, IMAGE, END = b"!,;"
CONTROL = 0xF9
DESCRIPTOR = 10  # bytes of an image descriptor with its comma
# Bytes of Pillow's memory for each pixel: the first frame has palette numbers and a background; later frames are pasted
# in colours, and what was there before them is kept.
STILL, MOVING = 2, 18


class _Frame(NamedTuple):
    controls: bytes
    start: int
    end: int
    right: int
    bottom: int


def scan(data: bytes) -> Container:
    """Returns what the parts of a GIF file say. Raises Damaged if it has no image or ends too early."""
    width, height, flags = little(data, 6, 2), little(data, 8, 2), little(data, 10, 1)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    head = data[:at]
    frames: list[_Frame] = []
    controls: list[bytes] = []
    while (found := BLOCK.search(data, at)) and found[0] != b";":
        at = found.end()
        if found[0] == b"!":
            body, end = at + 1, _blocks_end(data, at + 1)
            if data[at : at + 1] == bytes([CONTROL]) and data[body : body + 1] >= b"\4":
                controls.append(b"!\xf9\4" + data[body + 1 : body + 5] + b"\0")
            at = end
            continue
        left, top, across, down = (little(data, at + 2 * i, 2) for i in range(4))
        flags = little(data, at + 8, 1)
        end = _blocks_end(data, at + DESCRIPTOR + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
        frames.append(_Frame(b"".join(controls), at - 1, end, left + across, top + down))
        controls, at = [], end
    if not frames:
        raise Damaged("there is no image in it")
    # A frame that reaches beyond the canvas enlarges it.
    widths = list(itertools.accumulate((frame.right for frame in frames), max, initial=width))[1:]
    heights = list(itertools.accumulate((frame.bottom for frame in frames), max, initial=height))[1:]

    def content(frame: int) -> bytes:
        parts = ((one.controls, data[one.start : one.end]) for one in frames[: frame + 1])
        return b"".join([head, *itertools.chain.from_iterable(parts), b";"])

    return Container(
        format="GIF",
        sizes=list(zip(widths, heights, strict=True)),
        content=content,
        bytes_per_pixel=STILL,
        frames=len(frames),
        bytes_per_later=MOVING,
    )


def _blocks_end(data: bytes, at: int) -> int:
    """Returns where a sequence of sub-blocks ends, at the latest at the end of the file."""
    total = len(data)
    while at < total and (length := data[at]):
        at += length + 1
    return min(at + 1, total)

"""The chunks of a PNG file (PNG 3rd edition), also of an animated one (APNG)."""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from palitune.data.images import exif_orientation
from palitune.data.images.container import Container, Damaged, big

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256  # of a palette
PALETTE, GREY = 3, 0  # colour types
ALPHAS = {GREY: 2, 2: 6}  # bytes that name the transparent colour, by colour type
MOVING = 20  # bytes of memory for each pixel: Pillow's canvases, copies of them, and the frame that is pasted
LARGEST_TEXT = 1 << 20  # bytes of a text chunk that may hold EXIF or XMP
BROKEN = "its animation is damaged: it has other frames than it announces, or counts as one image"
NAME = re.compile(rb"[A-Za-z]{4}")
CONTROLS = (b"acTL", b"fcTL")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


class _Chunk(NamedTuple):
    """A chunk of the file, from `start` to `end`, with its length, name and checksum."""

    data: bytes
    name: bytes
    start: int
    end: int

    @property
    def body(self) -> bytes:
        return self.data[self.start + 8 : self.end - 4]

    @property
    def raw(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def is_whole(self) -> bool:
        return self.end <= len(self.data)

    @property
    def is_sound(self) -> bool:
        """Whether its CRC-32 is right."""
        return self.is_whole and zlib.crc32(self.data[self.start + 4 : self.end - 4]) == big(self.data, self.end - 4, 4)


class _Parts(NamedTuple):
    """The chunks by their purpose."""

    head: _Chunk
    palette: _Chunk | None
    alpha: _Chunk | None
    sequence: list[_Chunk]  # acTL, fcTL, IDAT and fdAT in their order
    exif: bytes | None
    xmp: bytes | None


def scan(data: bytes) -> Container:
    """Returns what the chunks of a PNG file say. Raises Damaged if it has no image or no header."""
    parts = _parts(data)
    width, height, depth, colour = (big(parts.head.body, *place) for place in ((0, 4), (4, 4), (8, 1), (9, 1)))
    still = [chunk for chunk in parts.sequence if chunk.name == b"IDAT"]
    if not still:
        raise Damaged("there is no image in it")
    frames, broken = _frames(parts.sequence, width, height)
    colours = _colours(parts, colour)

    def content(frame: int) -> bytes:
        if not frame:
            kept = [_made(b"IDAT", b"".join(chunk.body for chunk in still))]
        else:
            # Pillow counts an image that stands outside of the animation as one more frame.
            outside = frames[0][0].name == b"IDAT"
            control = _made(b"acTL", (frame + (not outside)).to_bytes(4) + bytes(4))
            kept = [control, *(chunk.raw for one in frames[: frame + 1] for chunk in one)]
        return b"".join([SIGNATURE, parts.head.raw, *colours, *kept, _made(b"IEND", b"")])

    return Container(
        format="PNG",
        sizes=[(width, height)],
        content=content,
        bytes_per_pixel=(2 if depth == 16 else 1) if colour == GREY else 1 if colour == PALETTE else 4,
        frames=len(frames) or 1,
        bytes_per_later=MOVING,
        orientation=exif_orientation.of(parts.exif, parts.xmp),
        remarks=(BROKEN,) if broken else (),
    )


def _parts(data: bytes) -> _Parts:
    head = palette = alpha = exif = xmp = None
    sequence = []
    for chunk in _chunks(data):
        if chunk.name == b"IHDR":
            head = head or chunk
        elif chunk.name == b"PLTE":
            palette = palette or chunk
        elif chunk.name in (b"IDAT", b"fdAT"):
            sequence.append(chunk)
        elif chunk.name not in (b"tRNS", b"eXIf", *CONTROLS, *TEXTS) or not chunk.is_sound:
            continue  # a damaged chunk that the image does not need
        elif chunk.name == b"tRNS":
            alpha = alpha or chunk
        elif chunk.name in CONTROLS:
            sequence.append(chunk)
        elif chunk.name == b"eXIf":
            exif = exif or chunk.body
        else:
            text_exif, text_xmp = _of_text(chunk)
            exif, xmp = exif or text_exif, xmp or text_xmp
    if head is None:
        raise Damaged("it does not say how large it is")
    return _Parts(head, palette, alpha, sequence, exif, xmp)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yields all chunks up to the end; the last one may be cut off."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        chunk = _Chunk(data, data[at + 4 : at + 8], at, at + 12 + big(data, at, 4))
        if not NAME.fullmatch(chunk.name):
            return
        yield chunk
        if chunk.name == b"IEND":
            return
        at = chunk.end


def _made(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(body, zlib.crc32(name)).to_bytes(4)


def _colours(parts: _Parts, colour: int) -> list[bytes]:
    """Returns the chunks of palette and transparency, if they are used, with valid lengths."""
    found = []
    if parts.palette and colour == PALETTE:
        whole = len(parts.palette.body) <= 3 * COLOURS
        found.append(parts.palette.raw if whole else _made(b"PLTE", parts.palette.body[: 3 * COLOURS]))
    if parts.alpha and colour == PALETTE:
        found.append(_made(b"tRNS", parts.alpha.body[:COLOURS]))
    elif parts.alpha and len(parts.alpha.body) == ALPHAS.get(colour):
        found.append(parts.alpha.raw)
    return found


def _frames(sequence: list[_Chunk], width: int, height: int) -> tuple[list[list[_Chunk]], bool]:
    """Returns the chunks of each frame, none if there is no sound animation, and whether there is a damaged one."""
    controls = [chunk for chunk in sequence if chunk.name == b"acTL"]
    first = next(i for i, chunk in enumerate(sequence) if chunk.name == b"IDAT")
    if len(controls) != 1 or all(chunk is not controls[0] for chunk in sequence[:first]):
        return [], any(chunk.name != b"IDAT" for chunk in sequence)
    frames: list[list[_Chunk]] = []
    number = 0
    for chunk in sequence:
        if chunk is controls[0]:
            continue
        if chunk.name != b"IDAT":
            if not chunk.is_whole or big(chunk.body + bytes(4), 0, 4) != number:
                return [], True
            number += 1
        if not _follows(chunk, frames, width, height):
            return [], True
        if chunk.name == b"fcTL" or not frames:
            frames.append([])
        frames[-1].append(chunk)
    outside = frames[0][0].name == b"IDAT"
    announced = big(controls[0].body + bytes(4), 0, 4)
    if not announced or frames[-1][-1].name == b"fcTL":
        return [], True
    return frames[: announced + outside], announced != len(frames) - outside


def _follows(chunk: _Chunk, frames: list[list[_Chunk]], width: int, height: int) -> bool:
    """Returns whether a chunk may follow the frames so far."""
    if chunk.name == b"IDAT":
        return len(frames) < 2
    if chunk.name == b"fdAT":
        return len(frames) > 1
    return chunk.name == b"fcTL" and _fits(chunk.body, width, height) and (not frames or frames[-1][-1].name != b"fcTL")


def _fits(control: bytes, width: int, height: int) -> bool:
    """Returns whether a frame has pixels and lies on the canvas."""
    if len(control) < 26:
        return False
    across, down, left, top = (big(control, 4 + 4 * i, 4) for i in range(4))
    return across > 0 and down > 0 and left + across <= width and top + down <= height


def _of_text(chunk: _Chunk) -> tuple[bytes | None, bytes | None]:
    """Returns (EXIF, XMP) of a text chunk that holds one of them."""
    name, _, rest = chunk.body.partition(b"\0")
    if name not in (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp"):
        return None, None
    try:
        if chunk.name == b"zTXt":
            rest = zlib.decompressobj().decompress(rest[1:], LARGEST_TEXT)
        elif chunk.name == b"iTXt":
            packed = rest[:1] == b"\1"
            rest = rest[2:].split(b"\0", 2)[2]
            rest = zlib.decompressobj().decompress(rest, LARGEST_TEXT) if packed else rest
        if name == b"XML:com.adobe.xmp":
            return None, rest
        return bytes.fromhex(b"".join(rest.split(b"\n")[3:]).decode("ascii", "replace")), None
    except (zlib.error, ValueError, IndexError):
        return None, None

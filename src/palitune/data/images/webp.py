"""The chunks of a WebP file (RFC 9649)."""

from palitune.data.images import exif_orientation
from palitune.data.images.container import Container, Damaged, little

EXTENDED, ANIMATION, FRAME, EXIF, XMP = b"VP8X", b"ANIM", b"ANMF", b"EXIF", b"XMP "
LOSSY, LOSSLESS, ALPHA = b"VP8 ", b"VP8L", b"ALPH"
FLAGS = 0x02 | 0x10  # flags of the extended header that are kept: animation and alpha; others announce metadata
COST = 16  # bytes of memory for each pixel: libwebp's two canvases, its copy of the image, and Pillow's
Chunk = tuple[bytes, int, int]  # name, start and end, with the header of the chunk


def scan(data: bytes) -> Container:
    """Returns what the chunks of a WebP file say. Raises Damaged if it has no image or ends too early."""
    chunks = _chunks(data)
    if not chunks or chunks[0][0] not in (EXTENDED, LOSSY, LOSSLESS):
        raise Damaged("there is no image in it")
    name, start, _ = chunks[0]
    if name == EXTENDED:
        size = little(data, start + 12, 3) + 1, little(data, start + 15, 3) + 1
    elif name == LOSSLESS:
        bits = little(data, start + 9, 4)
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        size = little(data, start + 14, 2) & 0x3FFF, little(data, start + 16, 2) & 0x3FFF
    frames = [chunk for chunk in chunks if chunk[0] == FRAME]
    still = [chunk for chunk in chunks if chunk[0] in (LOSSY, LOSSLESS, ALPHA)]
    if not frames and not still:
        raise Damaged("there is no image in it")
    if any(end > len(data) for _, _, end in (frames or still)):
        raise Damaged("the file ends too early")

    def content(frame: int) -> bytes:
        kept = frames[: frame + 1] if frames else still
        head = [_header(data, one) for one in chunks if one[0] in (EXTENDED, ANIMATION)]
        return _riff([*head, *(data[start:end] for _, start, end in kept)])

    return Container(
        format="WEBP",
        sizes=[size],
        content=content,
        bytes_per_pixel=COST,
        frames=max(len(frames), 1),
        bytes_per_later=COST,
        orientation=exif_orientation.of(_first(data, chunks, EXIF), _first(data, chunks, XMP)),
    )


def _chunks(data: bytes) -> list[Chunk]:
    found = []
    at = 12
    while at + 8 <= len(data):
        length = little(data, at + 4, 4)
        found.append((data[at : at + 4], at, at + 8 + length))
        at += 8 + length + length % 2
    return found


def _header(data: bytes, chunk: Chunk) -> bytes:
    """Returns a chunk; the extended header no longer announces metadata."""
    name, start, end = chunk
    whole = data[start:end]
    return whole[:8] + bytes([whole[8] & FLAGS]) + whole[9:] if name == EXTENDED and len(whole) > 8 else whole


def _riff(chunks: list[bytes]) -> bytes:
    padded = b"".join(chunk + b"\0" * (len(chunk) % 2) for chunk in chunks)
    return b"RIFF" + (len(padded) + 4).to_bytes(4, "little") + b"WEBP" + padded


def _first(data: bytes, chunks: list[Chunk], name: bytes) -> bytes | None:
    return next((data[start + 8 : end] for found, start, end in chunks if found == name), None)

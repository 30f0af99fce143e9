"""The segments of a JPEG file (ITU T.81): the first image is the photo; previews and gain maps are ignored."""

import re
from typing import NamedTuple

from palitune.data.images import exif_orientation
from palitune.data.images.container import Container, Damaged, big

MARKER = re.compile(rb"\xff([\x01-\xfe])")
IN_SCAN = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # restart markers and stuffed bytes belong to a scan
START, END, SCAN = 0xD8, 0xD9, 0xDA
ALONE = {0x01, START, *range(0xD0, 0xD8)}  # markers without a segment
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
TABLES = {0xC4, 0xC8, 0xCC, *range(0xDB, 0xE0)}
COEFFICIENT = 2  # bytes of memory


class _Frame(NamedTuple):
    width: int
    height: int
    components: int
    is_progressive: bool
    samples: float  # of all components, for each pixel


def scan(data: bytes) -> Container:
    """Returns what the segments of a JPEG file say. Raises Damaged if it has no image or ends too early."""
    kept = [b"\xff\xd8"]
    exif = xmp = frame = None
    at = 2
    while True:
        marker, at = _next(data, at)
        if marker in ALONE:
            continue
        if marker == END:
            raise Damaged("there is no image in it")
        length = big(data, at, 2)
        body = data[at + 2 : at + length]
        if at + length > len(data):
            raise Damaged("the file ends too early")
        if marker == SCAN:
            break
        if marker in FRAMES:
            frame = _frame(marker, body)
        if marker in FRAMES or marker in TABLES or _is_about_colours(marker, body):
            kept.append(b"\xff" + data[at - 1 : at + length])
        elif marker == 0xE1 and exif is None and body.startswith(b"Exif\0"):
            exif = body
        elif marker == 0xE1 and xmp is None and body.startswith(b"http://ns.adobe.com/xap/"):
            xmp = body
        at += length
    if frame is None:
        raise Damaged("it does not say how large it is")
    end, scans = _end(data, at - 2)
    # With several scans, the decoder keeps all coefficients until the last one.
    whole = frame.is_progressive or data[at + 2] < frame.components
    return Container(
        format="JPEG",
        sizes=[(frame.width, frame.height)],
        content=lambda _: b"".join([*kept, data[at - 2 : end]]),
        bytes_per_pixel=(1 if frame.components == 1 else 4) + (round(COEFFICIENT * frame.samples) if whole else 0),
        passes=scans,
        orientation=exif_orientation.of(exif, xmp),
    )


def _next(data: bytes, at: int) -> tuple[int, int]:
    """Returns the next marker, and where its segment starts."""
    found = MARKER.search(data, at)
    if found is None:
        raise Damaged("the file ends too early")
    return found[1][0], found.end()


def _is_about_colours(marker: int, body: bytes) -> bool:
    """Returns whether an application segment (JFIF, Adobe) changes how colours are decoded."""
    jfif = marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14
    return jfif or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)


def _frame(marker: int, body: bytes) -> _Frame:
    height, width, components = big(body, 1, 2), big(body, 3, 2), big(body, 5, 1)
    factors = [divmod(big(body, 7 + 3 * i, 1), 16) for i in range(components)]
    largest = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    samples = sum(across * down for across, down in factors) / max(largest, 1)
    return _Frame(width, height, components, marker in PROGRESSIVE, samples)


def _end(data: bytes, at: int) -> tuple[int, int]:
    """Returns where the first image ends, and how many scans it has."""
    scans = 0
    while found := IN_SCAN.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == END:
            return at, scans
        scans += marker == SCAN
        if marker not in ALONE:
            at += int.from_bytes(data[at : at + 2])
    return len(data), scans

"""Files and lines, damaged at random as disks, editors and downloads damage them; and what reading them gives."""

import collections
import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from palitune.data import example_files
from palitune.data.images import decoder
from palitune.data.images.loader import ImageRequest, prefetch
from palitune.errors import BadDataError, PalituneError

SLOWEST = 20.0  # seconds; a picture that is as large as the limits allow takes some
EACH = 300_000_000  # bytes of memory that a picture may take


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A changed copy: bytes overwritten, cut out, doubled, swapped with extreme ones, or the end missing."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        place = int(rng.integers(len(data)))
        # The beginning matters most, and is short.
        if rng.random() < 0.5:
            place = int(rng.integers(min(len(data), 64)))
        length = int(rng.integers(1, 1 + min(16, len(data) - place)))
        match rng.integers(6):
            case 0:
                data[place : place + length] = rng.bytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + length] * int(rng.integers(1, 50))
            case 3:
                data[place : place + length] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * length
            case 4:
                del data[int(rng.integers(len(data))) :]
            case 5:
                data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def checksummed(png: bytes) -> bytes:
    """With the right checksums of whatever the chunks have become, so that more than checksums is tried."""
    data = bytearray(png)
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(data)


def _runs(rng: np.random.Generator) -> bytes:
    """A BMP packed by run lengths."""
    rows = b"".join(bytes([60, int(value), 0, 0]) for value in rng.integers(0, 256, 50)) + b"\0\1"
    head = struct.pack("<IiiHHIIIIII", 40, 60, 50, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + head + rng.bytes(1024) + rows


def sources(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Whole pictures of every format, in every mode that people have, with what phones and editors put into them."""
    noise = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).resize((160, 120))
    frames = [noise.rotate(angle) for angle in (0, 10, 20, 30)]
    clear = [frame.convert("RGBA") for frame in frames]
    for number, frame in enumerate(clear):
        frame.putalpha(Image.linear_gradient("L").rotate(90 * number).resize(frame.size))
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 50}
    alphas: dict[str, Any] = several | {"append_images": clear[1:]}
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a photo"
    phone: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": rng.bytes(300)}
    xmp: dict[str, Any] = {"xmp": b'<x:xmpmeta tiff:Orientation="3"/>'}
    texts = PngInfo()
    texts.add_text("Comment", "a text " * 99, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", xmp["xmp"].decode(), zip=True)
    for name, picture, options in (
        ("JPEG", noise, phone | xmp),
        ("JPEG", noise, {"progressive": True, **phone}),
        ("JPEG", noise.convert("CMYK"), {}),
        ("JPEG", noise.convert("L"), {}),
        ("MPO", noise, several | phone),
        ("PNG", noise, phone | {"pnginfo": texts}),
        ("PNG", noise.convert("RGBA"), {}),
        ("PNG", noise.quantize(16), {"transparency": 0}),
        ("PNG", Image.fromarray(rng.integers(0, 65536, (60, 80), np.uint16)), {}),
        ("PNG", frames[0], several),
        ("PNG", clear[0], alphas | {"disposal": 2, "blend": 1}),
        ("PNG", frames[0].quantize(16), several | {"default_image": True, "disposal": 1}),
        ("GIF", noise.quantize(64), {"comment": b"made " * 99}),
        ("GIF", frames[0], several),
        ("GIF", clear[0], alphas | {"disposal": 2}),
        ("GIF", frames[0].quantize(8), several | {"disposal": 3, "transparency": 1}),
        ("WEBP", noise, {"quality": 60, **phone, **xmp}),
        ("WEBP", noise.convert("RGBA"), {"lossless": True}),
        ("WEBP", frames[0], several),
        ("WEBP", clear[0], alphas | phone),
        ("BMP", noise, {}),
        ("BMP", noise.quantize(16), {}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, name, **options)
        yield name, buffer.getvalue()
    yield "BMP", _runs(rng)


def load(wanted: ImageRequest) -> tuple[float, str | None]:
    """Decodes and resizes one file: how long that took, and what is wrong with it."""
    began = time.perf_counter()
    told = None
    try:
        pixels = decoder.load(wanted.path, 224, wanted.where)
        with decoder.opened(wanted.path, wanted.where) as (_, upright):
            upright.digest()
        assert pixels.shape == (224, 224, 3)
        assert pixels.dtype == np.float32
        assert np.isfinite(pixels).all()
        assert np.abs(pixels).max() <= 1
    except PalituneError as error:
        told = str(error)
    return time.perf_counter() - began, told


def memory() -> tuple[int, int]:
    """Bytes that this process has, and the most that it had since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    now, peak = (int(status.partition(f"{key}:")[2].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return now, peak


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def pictures(folder: Path, count: int) -> None:
    """Decodes and resizes `count` damaged files one by one, and some in the threads of the real thing; prints what
    became of them.
    """
    rng = np.random.default_rng(0)
    whole = list(sources(rng))
    seen: collections.Counter[str] = collections.Counter()
    slowest, most = 0.0, 0

    def made(number: int) -> ImageRequest:
        path = folder / f"{number % 64}.img"  # more than are decoded ahead
        name, content = whole[number % len(whole)]
        content = damaged(content, rng)
        path.write_bytes(checksummed(content) if name == "PNG" and rng.random() < 0.7 else content)
        seen[name] += 1
        return ImageRequest(path, f"data.jsonl:{number}")

    def check(number: int, seconds: float, told: str | None) -> None:
        assert seconds < SLOWEST, (number, seconds)
        seen["read" if told is None else "named"] += 1
        if told is not None:
            assert told.startswith(f"data.jsonl:{number}: "), told
            assert "\n" not in told
            assert f"{number % 64}.img" in told, told

    alone = count * 3 // 4
    for number in range(alone):
        wanted = made(number)
        forget_peak()
        before, _ = memory()
        seconds, told = load(wanted)
        _, peak = memory()
        assert peak - before < EACH, (number, peak - before, told)
        slowest, most = max(slowest, seconds), max(most, peak - before)
        check(number, seconds, told)
    for number, found in enumerate(prefetch(load, map(made, range(alone, count))), alone):
        assert not isinstance(found, PalituneError)
        check(number, *found)
    print(f"pictures: {dict(seen)}, slowest {slowest:.2f} s, most memory of one {most / 1e6:.0f} MB")


GOOD = (
    {"image": "images/a.jpg", "prefix": "Is this allowed?", "suffix": "yes", "more": [1, 2.5, None, {"é": "\u4e2d"}]},
    {"image": "b.png", "prefix": "", "suffix": "no"},
    {"image": "c.gif", "suffix": "a red bottle", "answer": "a red jar", "p_yes": 0.25},
)


def lines(folder: Path, count: int) -> None:
    """Reads `count` damaged lines, a few in a file between good ones; prints what became of them."""
    rng = np.random.default_rng(0)
    seen: collections.Counter[str] = collections.Counter()
    texts = [json.dumps(fields, ensure_ascii=bool(i % 2)).encode() for i, fields in enumerate(GOOD * 2)]
    rows = [b"images/a.jpg\tyes", b"b.png\tTrue\t0.912345\tno\tno", "b é.png\tFalse\t0.1\tyes\tno".encode()]
    slowest = 0.0
    for number in range(count):
        good: list[bytes] = texts if number % 2 else rows
        change: Callable[[bytes], bytes] = lambda line: damaged(line, rng)  # noqa: E731
        bad = change(good[int(rng.integers(len(good)))])
        if rng.random() < 0.01:
            bad = bad * int(rng.integers(1, 200_000))
        path = folder / f"{number % 8}.txt"
        path.write_bytes(good[0] + b"\n" + bad + b"\n" + good[-1])
        began = time.perf_counter()
        reader = example_files.Reader(path)
        for line in reader:
            try:
                record = reader.example(line)
            except BadDataError as error:
                told = str(error)
                assert told.startswith(f"{path}:{line[0]}: "), told
                assert "\n" not in told
                assert len(told) < 600, told
                seen["named"] += 1
                continue
            seen["read"] += 1
            assert record.subject
            assert record.label
            (record.subject + record.prompt + record.label).encode()
        seconds = time.perf_counter() - began
        slowest = max(slowest, seconds)
        assert seconds < SLOWEST, (number, seconds)
    print(f"lines: {dict(seen)}, slowest {slowest:.2f} s")

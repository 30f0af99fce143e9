"""Files and lines, damaged at random as disks, editors and downloads damage them; and what reading them gives."""

import collections
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from palitune.data import images, records
from palitune.data.pictures import Wanted, ahead
from palitune.errors import BadDataError, PalituneError

SLOWEST = 5.0  # seconds


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


def sources(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Whole pictures of every format, in every mode that people have."""
    noise = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).resize((160, 120))
    frames = [noise.rotate(angle) for angle in (0, 10, 20, 30)]
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 50}
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, picture, options in (
        ("JPEG", noise, {}),
        ("JPEG", noise, {"progressive": True, "exif": exif}),
        ("JPEG", noise.convert("CMYK"), {}),
        ("JPEG", noise.convert("L"), {}),
        ("PNG", noise, {}),
        ("PNG", noise.convert("RGBA"), {}),
        ("PNG", noise.quantize(16), {"transparency": 0}),
        ("PNG", Image.fromarray(rng.integers(0, 65536, (60, 80), np.uint16)), {}),
        ("PNG", frames[0], several),
        ("GIF", noise.quantize(64), {}),
        ("GIF", frames[0], several),
        ("WEBP", noise, {"quality": 60}),
        ("WEBP", noise.convert("RGBA"), {"lossless": True}),
        ("WEBP", frames[0], several),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, name, **options)
        yield name, buffer.getvalue()


def pictures(folder: Path, count: int) -> None:
    """Decodes and resizes `count` damaged files in the threads of the real thing; prints what became of them."""
    rng = np.random.default_rng(0)
    whole = list(sources(rng))
    seen: collections.Counter[str] = collections.Counter()
    slowest = 0.0

    def load(wanted: Wanted) -> tuple[float, str | None]:
        began = time.perf_counter()
        told = None
        try:
            pixels = images.load(wanted.path, 224, wanted.where)
            images.examine(wanted.path, wanted.where)
            assert pixels.shape == (224, 224, 3)
            assert pixels.dtype == np.float32
            assert np.isfinite(pixels).all()
            assert np.abs(pixels).max() <= 1
        except PalituneError as error:
            told = str(error)
        return time.perf_counter() - began, told

    def files() -> Iterator[Wanted]:
        for number in range(count):
            path = folder / f"{number % 64}.img"  # more than are decoded ahead
            name, content = whole[number % len(whole)]
            path.write_bytes(damaged(content, rng))
            seen[name] += 1
            yield Wanted(path, f"data.jsonl:{number}")

    for number, found in enumerate(ahead(load, files())):
        assert not isinstance(found, PalituneError)
        seconds, told = found
        slowest = max(slowest, seconds)
        assert seconds < SLOWEST, (number, seconds)
        seen["read" if told is None else "named"] += 1
        if told is not None:
            assert told.startswith(f"data.jsonl:{number}: "), told
            assert "\n" not in told
            assert f"{number % 64}.img" in told, told
    print(f"pictures: {dict(seen)}, slowest {slowest:.2f} s")


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
        reader = records.Reader(path)
        for line in reader:
            try:
                record = reader.record(line)
            except BadDataError as error:
                told = str(error)
                assert told.startswith(f"{path}:{line[0]}: "), told
                assert "\n" not in told
                assert len(told) < 600, told
                seen["named"] += 1
                continue
            seen["read"] += 1
            assert record.name
            assert record.suffix
            (record.name + record.prefix + record.suffix).encode()
        seconds = time.perf_counter() - began
        slowest = max(slowest, seconds)
        assert seconds < SLOWEST, (number, seconds)
    print(f"lines: {dict(seen)}, slowest {slowest:.2f} s")

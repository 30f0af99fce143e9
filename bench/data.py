"""Measures the handling of data: reading, splitting, decoding, linting.

python bench/data.py [--lint 10000] [--large]
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from stages import palitune

from palitune.data import example_files
from palitune.data.images import decoder, loader
from palitune.data.images.loader import ImageRequest

ROUNDS = 5
SIDE = 224
SPLIT = """
import sys, time
from pathlib import Path
from palitune.data.split.splitter import Amount, SplitOptions, split
began = time.perf_counter()
split(Path(sys.argv[1]), Path(sys.argv[2]), SplitOptions(Amount(10, True), stratify=sys.argv[3] == "stratify"), 0)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
print(f"{time.perf_counter() - began:.1f} s, {peak:.0f} MB")
"""


def write_lines(path: Path, count: int, kind: str) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(count):
            name, label = f"images/NG_image{number}.jpg", rng.choice(["yes", "no"])
            if kind == "jsonl":
                file.write(json.dumps({"prefix": "", "suffix": label, "image": name}) + "\n")
            elif kind == "tsv":
                file.write(f"{name}\t{label}\n")
            else:
                file.write(f"{name}\tTrue\t{rng.random():.6f}\t{label}\t{label}\n")


def read(folder: Path) -> None:
    print("records, lines/s, median of", ROUNDS)
    for kind in ("jsonl", "tsv", "answers"):
        path = folder / kind
        write_lines(path, 500_000, kind)
        rates = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            count = sum(1 for _ in example_files.stream(path))
            rates.append(count / (time.perf_counter() - began))
        print(f"  {kind:8} {statistics.median(rates):10,.0f}   ({min(rates):,.0f} to {max(rates):,.0f})")


def split(folder: Path, large: bool) -> None:
    for count in (1_000_000, 10_000_000) if large else (1_000_000,):
        write_lines(folder / "lines.jsonl", count, "jsonl")
        for how in ("plain", "stratify"):
            command = [sys.executable, "-c", SPLIT, str(folder / "lines.jsonl"), str(folder / f"{how}{count}"), how]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"split of {count:,} lines, {how}: {done.stdout.strip()}", flush=True)


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Something that compresses as photographs do: blurred colours with noise."""
    small = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(wide + rng.normal(0, 6, (height, width, 1)), 0, 255).astype(np.uint8))


def decode(folder: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for number in range(48):
        width, height, kind = ((1024, 768, "JPEG"), (512, 512, "PNG"), (1600, 1200, "JPEG"))[number % 3]
        buffer = io.BytesIO()
        photo(rng, width, height).save(buffer, kind)
        paths.append(folder / f"{number}.img")
        paths[-1].write_bytes(buffer.getvalue())

    def plain() -> None:
        for path in paths:
            with Image.open(path) as image:
                np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    def one_thread() -> None:
        for path in paths:
            decoder.load(path, SIDE)

    def ahead() -> None:
        for _ in loader.prefetch(
            lambda one: decoder.load(one.path, SIDE, one.where), [ImageRequest(p, "") for p in paths]
        ):
            pass

    ways: dict[str, Callable[[], None]] = {"plain Pillow": plain, "palitune, one thread": one_thread, "palitune": ahead}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    cores = len(os.sched_getaffinity(0))
    print(f"decode and resize to {SIDE} on {cores} cores, images/s, and medians of ratios of the same round")
    for name, taken in seconds.items():
        ratios = {
            other: statistics.median(a / b for a, b in zip(seconds[other][1:], taken[1:], strict=True))
            for other in ways
        }
        shown = ", ".join(f"{ratios[other]:.2f} x {other}" for other in list(ways)[:2] if other != name)
        print(f"  {name:22} {len(paths) / statistics.median(taken[1:]):6.0f}   {shown}")


def lint(folder: Path, count: int) -> None:
    palitune(folder, "demo-data", "--count", str(count))
    began = time.perf_counter()
    palitune(folder, "lint", "dataset/data.jsonl")
    seconds = time.perf_counter() - began
    print(f"lint of {count:,} drawn advertisements: {seconds:.1f} s, {count / seconds:,.0f} images/s, start included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint", type=int, default=10_000, metavar="N", help="images to lint (%(default)s)")
    parser.add_argument("--large", action="store_true", help="split 10 million lines too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read(folder)
        split(folder, args.large)
        decode(folder)
        if args.lint:
            lint(folder, args.lint)


if __name__ == "__main__":
    main()

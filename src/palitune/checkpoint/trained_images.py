"""Which images and texts a model has learned from, or was chosen on, so that nobody takes for new what it knows.

A checkpoint's manifest has the first bytes of the SHA-256 of each image's file, or of each text. That is enough to
recognise them, and tells nothing else of them; a copy of the checkpoint alone has it too.
"""

import base64
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from palitune.checkpoint import manifest

SIZE = 6  # bytes of a mark: of 100,000 images and as many others one in 30,000 times two are taken for the same
MOST = 100_000  # marks that a manifest has, 0.8 MB; of more images the smallest marks, which are a random sample


LEARNED: Literal["learned"] = "learned"  # in a manifest
CHOSEN: Literal["chosen"] = "chosen"


class Known(NamedTuple):
    """Marks of images that a model has learned from, and how many images there were."""

    marks: frozenset[bytes]
    images: int

    @property
    def is_all(self) -> bool:
        return len(self.marks) >= self.images


NONE = Known(frozenset(), 0)


def digest(path: Path) -> str:
    """SHA-256 of a file, computed once for as long as the file stays the same. Raises OSError."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(200_000)
def _digest(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mark(thing: Path | str) -> bytes | None:
    """What an image file or a text is recognised by; None of a file that cannot be read, which others complain of."""
    if isinstance(thing, str):
        return hashlib.sha256(thing.encode("utf-8", "surrogateescape")).digest()[:SIZE]
    try:
        return bytes.fromhex(digest(thing))[:SIZE]
    except OSError:
        return None


def with_more(known: Known, things: Iterable[Path | str]) -> Known:
    """What a model knows that has learned from some images and texts more."""
    found = {one for thing in things if (one := mark(thing)) is not None} - known.marks
    marks = sorted(known.marks | found)
    return Known(frozenset(marks[:MOST]), known.images + len(found))


def as_json(known: Known) -> manifest.Learned:
    return {"images": known.images, "marks": base64.b64encode(b"".join(sorted(known.marks))).decode()}


def read(checkpoint: Path, how: Literal["learned", "chosen"] = LEARNED) -> Known:
    """What a checkpoint has learned from as far as its manifest tells. Raises BadDataError as `manifest.read`.

    Args:
      how: or else what its steps and trials were chosen on.
    """
    content = manifest.read(checkpoint).get(how)
    try:
        packed = base64.b64decode(content["marks"], validate=True)  # type: ignore[index]
        images = int(content["images"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return NONE  # a checkpoint from elsewhere, or of an earlier version
    marks = frozenset(packed[start : start + SIZE] for start in range(0, len(packed) - SIZE + 1, SIZE))
    return Known(marks, max(images, len(marks)))


def count(known: Known, things: Iterable[Path | str]) -> int:
    """How many of some images and texts a model has learned from."""
    return sum(mark(thing) in known.marks for thing in things) if known.marks else 0

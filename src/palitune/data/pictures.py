"""Decoded pictures kept in memory while they fit, because short runs show the same ones again and again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from palitune.data import images
from palitune.errors import PalituneError

LIMIT = 2 << 30  # bytes: some 3,500 pictures at 224 pixels
LISTED = 20  # bad pictures named in one message


class Pictures:
    """float32[size, size, 3] in [-1, 1] by path; decoded anew beyond `limit` bytes."""

    def __init__(self, size: int, limit: int = LIMIT) -> None:
        self.size = size
        self.room = limit
        self.kept: dict[Path, np.ndarray[Any, Any]] = {}

    def __call__(self, path: Path, where: str | None = None) -> np.ndarray[Any, Any]:
        """Raises what `images.decode` raises."""
        if path in self.kept:
            return self.kept[path]
        pixels = images.load(path, self.size, where)
        if pixels.nbytes <= self.room:
            self.kept[path] = pixels
            self.room -= pixels.nbytes
        return pixels

    def check(self, paths: Iterable[tuple[Path, str]]) -> None:
        """Decodes every (path, where); raises one error that names every bad one, before time goes into learning."""
        problems: list[PalituneError] = []
        for path, where in paths:
            try:
                self(path, where)
            except PalituneError as error:
                problems.append(error)
        raise_all(problems)


def raise_all(problems: list[PalituneError]) -> None:
    """Raises one error that names every picture that cannot be used, if there are any."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = "; ".join(f"{problem.where}: {problem.what}" for problem in problems[:LISTED])
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise type(problems[0])(f"{len(problems)} images cannot be used: {listed}{more}")

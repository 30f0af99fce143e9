"""Decoded pictures: in threads ahead of whoever looks at them, and kept in memory while they fit."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from palitune.data.images import decoder
from palitune.data.images.decoder import Decoding
from palitune.errors import NAMED, PalituneError, listed

LIMIT = 2 << 30  # bytes: some 3,500 pictures at 224 pixels
# Pillow lets other threads run while it decodes.
THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
AHEAD = 16  # pictures decoded before they are asked for
T = TypeVar("T")
R = TypeVar("R")


class ImageRequest(NamedTuple):
    """A picture to look at."""

    path: Path
    where: str  # of its record, for messages
    frame: int | None = None  # of an animated picture, where it is not the usual one


def prefetch(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | PalituneError]:
    """`map(work, items)` in threads, in order and a little ahead; what cannot be used comes out as its error."""

    def done(future: "Future[R]") -> R | PalituneError:
        try:
            return future.result()
        except PalituneError as error:
            error.__context__ = None  # what is kept of many errors is what they say, and not where they came from
            return error.with_traceback(None)

    pool = ThreadPoolExecutor(THREADS)
    try:
        waiting: collections.deque[Future[R]] = collections.deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD:
                yield done(waiting.popleft())
        while waiting:
            yield done(waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class ImageSource(Protocol):
    """What a model is shown for a picture: its pixels, or image tokens of it."""

    def prefetch(self, wanted: Iterable[ImageRequest]) -> Iterator[np.ndarray[Any, Any] | PalituneError]:
        """Every picture in order, or what is wrong with it."""

    def problems(self, wanted: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """What is wrong with pictures; the device is left alone."""

    def check(self, wanted: Iterable[ImageRequest]) -> None:
        """Looks at everything once; raises one error that names every bad picture."""


def raise_first(found: Iterable[R | PalituneError]) -> Iterator[R]:
    """What was found, where nothing can be wrong any more. Raises the first PalituneError if something is."""
    for one in found:
        if isinstance(one, PalituneError):
            raise one
        yield one


class ImageLoader:
    """float32[size, size, 3] in [-1, 1] by path; decoded anew beyond `limit` bytes."""

    def __init__(self, size: int, limit: int = LIMIT, how: Decoding = decoder.DEFAULT) -> None:
        self.size, self.how = size, how
        self.room = limit
        self.kept: dict[tuple[Path, int | None], np.ndarray[Any, Any]] = {}

    def __call__(self, path: Path, where: str | None = None, frame: int | None = None) -> np.ndarray[Any, Any]:
        """Raises what `images.decode` raises."""
        if (path, frame) in self.kept:
            return self.kept[path, frame]
        pixels = decoder.load(path, self.size, where, self.how, frame)
        if pixels.nbytes <= self.room:
            self.kept[path, frame] = pixels
            self.room -= pixels.nbytes
        return pixels

    def prefetch(self, wanted: Iterable[ImageRequest]) -> Iterator[np.ndarray[Any, Any] | PalituneError]:
        """Every picture in order, or what is wrong with it."""
        return prefetch(lambda one: self(*one), wanted)

    def problems(self, wanted: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """What is wrong with pictures, found by decoding every one."""
        return (found for found in self.prefetch(wanted) if isinstance(found, PalituneError))

    def check(self, wanted: Iterable[ImageRequest]) -> None:
        """Decodes every picture; raises one error that names every bad one, before time goes into learning."""
        raise_all(list(self.problems(wanted)))


def raise_all(problems: list[PalituneError]) -> None:
    """Raises one error that names every picture that cannot be used, if there are any."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        kinds: dict[str, list[PalituneError]] = {}
        for problem in problems:
            kinds.setdefault(problem.kind, []).append(problem)
        named = "; ".join(
            listed([f"{problem.where}: {problem.what}" for problem in several], "; ") for several in kinds.values()
        )
        is_long = len(problems) > NAMED and problems[0].hint is not None
        hint = f" ({problems[0].hint})" if is_long else ""  # before a long list
        raise type(problems[0])(f"{len(problems)} images cannot be used{hint}: {named}")

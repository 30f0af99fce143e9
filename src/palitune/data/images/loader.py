"""Images loaded for a model: decoded in threads ahead of their use, and kept in memory as long as they fit."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from palitune.data.images import decoder
from palitune.data.images.decoder import Decoding
from palitune.errors import NAMED, PalituneError, listed

LIMIT = 2 << 30  # bytes: about 3,500 images at 224 pixels
# Threads help because Pillow releases the interpreter's lock while it decodes.
THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
AHEAD = 16  # images decoded before they are asked for
T = TypeVar("T")
R = TypeVar("R")
ImageArray = NDArray[np.floating]  # pixels float32, or image features float16


class ImageRequest(NamedTuple):
    """An image that is to be loaded.

    Attributes:
      path: its file.
      where: `file:line` of the example, for messages.
      frame: the frame of an animated image, counted from 0, if it is not the usual one.
    """

    path: Path
    where: str
    frame: int | None = None


def prefetch(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | PalituneError]:
    """Does `map(work, items)` in threads, in order and a few items ahead.

    Yields the PalituneError that `work` raises for an item in the place of its result.
    """

    def done(future: "Future[R]") -> R | PalituneError:
        try:
            return future.result()
        except PalituneError as error:
            error.__context__ = None  # there may be many errors, and tracebacks keep the memory of their frames
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
    """What a model gets for an image: the pixels (`ImageLoader`), or image features that were computed before."""

    @property
    def absent(self) -> ImageArray:
        """What stands for the image of an example that has none: the same shape, all zeros."""

    def prefetch(self, requests: Iterable[ImageRequest]) -> Iterator[ImageArray | PalituneError]:
        """Yields every image in order, or its error if it cannot be used."""

    def problems(self, requests: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """Yields the errors of the images that cannot be used; nothing runs on the device."""

    def check(self, requests: Iterable[ImageRequest]) -> None:
        """Loads every image once. Raises one error that names all that cannot be used."""


def raise_first(found: Iterable[R | PalituneError]) -> Iterator[R]:
    """Yields the results of `prefetch`, and raises the first PalituneError among them."""
    for one in found:
        if isinstance(one, PalituneError):
            raise one
        yield one


class ImageLoader:
    """Loads images as float32[size, size, 3] in [-1, 1], and keeps up to `limit` bytes of them in memory."""

    def __init__(self, size: int, limit: int = LIMIT, how: Decoding = decoder.DEFAULT) -> None:
        self.size, self.how = size, how
        self.absent: NDArray[np.float32] = np.zeros((size, size, 3), np.float32)
        self.room = limit
        self.kept: dict[tuple[Path, int | None], NDArray[np.float32]] = {}

    def __call__(self, path: Path, where: str | None = None, frame: int | None = None) -> NDArray[np.float32]:
        """Returns one image. Raises as `decoder.decode`."""
        if (path, frame) in self.kept:
            return self.kept[path, frame]
        pixels = decoder.load(path, self.size, where, self.how, frame)
        if pixels.nbytes <= self.room:
            self.kept[path, frame] = pixels
            self.room -= pixels.nbytes
        return pixels

    def prefetch(self, requests: Iterable[ImageRequest]) -> Iterator[NDArray[np.float32] | PalituneError]:
        """Yields every image in order, or its error if it cannot be decoded."""
        return prefetch(lambda one: self(*one), requests)

    def problems(self, requests: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """Decodes every image, and yields the errors of those that cannot be decoded."""
        return (found for found in self.prefetch(requests) if isinstance(found, PalituneError))

    def check(self, requests: Iterable[ImageRequest]) -> None:
        """Decodes every image before the training begins. Raises one error that names all that cannot be used."""
        raise_all(list(self.problems(requests)))


def raise_all(problems: list[PalituneError]) -> None:
    """Raises one error that names every image that cannot be used, if there are any."""
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
        hint = f" ({problems[0].hint})" if is_long else ""  # said before the list, because that is long
        raise type(problems[0])(f"{len(problems)} images cannot be used{hint}: {named}")

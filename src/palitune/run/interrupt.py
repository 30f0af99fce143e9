"""Ctrl-C and SIGTERM while something is at work that can be saved: the first one is granted at the next step."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, a first signal only sets `wanted`; a second one ends the process at once.

    Python receives signals in the main thread alone: in another, as a notebook may use, nothing is changed.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None
        self.before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.wanted is not None:
            os._exit(128 + number)  # what is half-written has another name, and the next start removes it
        self.wanted = number
        with contextlib.suppress(OSError):  # whoever read it may have been stopped too
            os.write(
                sys.__stderr__.fileno() if sys.__stderr__ else 2,
                b"\nstopping after this step; once more to leave at once\n",
            )

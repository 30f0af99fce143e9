"""Regular expressions whose search ends: one that backtracks without end is given up."""

import re
import signal
import threading
from types import FrameType
from typing import Any, Self

from palitune.errors import UsageError

PATIENCE = 2.0  # seconds for one text at least, and twice as many at most
SHOWN = 60  # characters of a text


class Search:
    """`pattern.search` with an end. Python looks for signals while it searches, so that an alarm can stop it.

    Only in the main thread, and where there are alarms; elsewhere searches take as long as they take.
    """

    def __init__(self, pattern: re.Pattern[str], option: str) -> None:
        self.pattern, self.option = pattern, option
        self.count = self.last = 0  # of texts that a search has begun in, now and at the last alarm
        self.text = ""
        self.has_alarm = False

    def __call__(self, text: str) -> re.Match[str] | None:
        """Raises UsageError: it takes too long."""
        self.count += 1
        self.text = text
        found = self.pattern.search(text)
        self.text = ""
        return found

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
            self.has_alarm = signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, None)
        if self.has_alarm:
            signal.signal(signal.SIGALRM, self._check)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
        return self

    def __exit__(self, *error: Any) -> None:
        if self.has_alarm and signal.getsignal(signal.SIGALRM) == self._check:  # and not somebody's in a hurry
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _check(self, number: int, frame: FrameType | None) -> None:
        if self.text and self.count == self.last:
            what = f"{self.option}: the expression takes too long on {self.text[:SHOWN]!r}"
            raise UsageError(what, hint="Repetitions inside of repetitions do that: write it without")
        self.last = self.count

"""Searches by regular expression with a time limit, because an expression can backtrack almost without end."""

import re
import signal
import threading
from types import FrameType
from typing import Self

from palitune.errors import UsageError

TIME_LIMIT = 2.0  # seconds for one text; a search is stopped after one to two times as many
SHOWN = 60  # characters of a text, in messages


class TimedSearch:
    """`pattern.search` with a time limit, as a context manager around many searches.

    Python handles signals while it searches, so that an alarm can stop it. That works in the main thread only, and on
    systems with alarms; elsewhere there is no limit.
    """

    def __init__(self, pattern: re.Pattern[str], option: str) -> None:
        self.pattern, self.option = pattern, option
        self.count = self.last = 0  # the number of searches so far, now and at the last alarm
        self.text = ""
        self.has_alarm = False

    def __call__(self, text: str) -> re.Match[str] | None:
        """Returns the first match in `text`. Raises UsageError if the search takes too long."""
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
            signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT, TIME_LIMIT)
        return self

    def __exit__(self, *error: object) -> None:
        if self.has_alarm and signal.getsignal(signal.SIGALRM) == self._check:  # nobody has set another handler since
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _check(self, number: int, frame: FrameType | None) -> None:
        if self.text and self.count == self.last:
            what = f"{self.option}: the expression takes too long on {self.text[:SHOWN]!r}"
            raise UsageError(what, hint="Repetitions inside of repetitions do that: write it without")
        self.last = self.count

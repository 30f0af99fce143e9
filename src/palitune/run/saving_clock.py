"""When the state of a run is to be saved."""

import time

SECONDS = 600  # between two saved states, where no steps were named


class SavingClock:
    """Tells after which steps the state is to be saved.

    Attributes:
      every: steps between two saved states; 0 is never, None by the clock.
    """

    def __init__(self, every: int | None) -> None:
        self.every, self._at = every, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether the state is to be saved after a step."""
        if step == 0 or self.every == 0:
            return False
        return time.monotonic() - self._at >= SECONDS if self.every is None else step % self.every == 0

    def saved(self) -> None:
        """The state has been saved just now."""
        self._at = time.monotonic()

"""What the trials of a run have learned, kept until it is known what comes of them together.

In the folder of the run each trial has a file, so that a run which goes on finds them, and none of them takes memory.
"""

from collections.abc import Collection, Iterator, Mapping

from palitune.checkpoint import run_state
from palitune.models.arrays import Weights
from palitune.run.folder import RunFolder

LEARNED, OBSERVED = "learned", "observed"


class TrialWeights(Mapping[int, Weights]):
    """Trainable parameters by the number of the trial, from 0, as they would be saved.

    Attributes:
      observed: likewise what was observed of held-out examples, by the step of the evaluation.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        """Without a folder they are kept in memory."""
        self.folder = folder
        self._known: dict[int, Weights] = {}
        self.observed: dict[int, Weights] = {}
        self._dropped: set[int] = set()

    def __getitem__(self, number: int) -> Weights:
        return self._known[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, number: int, weights: Weights, observed: Weights) -> None:
        """Keeps those of a trial. Raises StorageError."""
        self._known[number], self.observed[number] = weights, observed
        if self.folder is not None:
            path = self.folder.trial(number)
            run_state.save(path, {LEARNED: weights, OBSERVED: observed}, {"trial": number})
            self.read([number], self.folder)

    def only(self, numbers: Collection[int]) -> None:
        """Drops all others; their files stay until a state is saved that knows it (`clean`)."""
        for number in [one for one in self._known if one not in numbers]:
            del self._known[number], self.observed[number]
            self._dropped.add(number)

    def clean(self) -> None:
        """Removes the files of those that were dropped."""
        if self.folder is not None:
            for number in self._dropped:
                self.folder.trial(number).unlink(missing_ok=True)
        self._dropped.clear()

    def read(self, numbers: Collection[int], folder: RunFolder) -> None:
        """Those that were kept in the folder of a run.

        Raises:
          BadDataError: one of them is damaged, or no longer there.
        """
        for number in numbers:
            path = folder.trial(number)
            with run_state.understood(path):
                found = run_state.load(path).arrays
                self._known[number], self.observed[number] = found[LEARNED], found[OBSERVED]

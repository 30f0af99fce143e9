"""How many of the records that a model is asked about it has learned from."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from palitune.checkpoint import trained_images
from palitune.data.example import Example


class TrainedImageCounter:
    """Counts records whose images a checkpoint has learned from, and says so on stderr."""

    def __init__(self, checkpoint: Path, quiet: bool = False) -> None:
        """Raises BadDataError as `manifest.read`."""
        self.known, self.name, self.quiet = trained_images.read(checkpoint), checkpoint.stem, quiet
        self.records = self.seen = 0

    def watch(self, asked: Iterable[Example]) -> Iterator[Example]:
        """The records, counted as they go by; each has its image's file."""
        for record in asked:
            self.add(record)
            yield record

    def add(self, record: Example) -> None:
        self.records += 1
        self.seen += trained_images.count(self.known, [record.image.path])

    def tell(self, where: str) -> None:
        """One line about `where`, if there is something to say; then it counts again."""
        if self.seen and not self.quiet:
            least = "" if self.known.is_all else "at least "
            what = f"{self.name} has learned from {least}{self.seen} of these {self.records} images"
            print(f"{where}: {what}: how it does on them is not how it does on new ones", file=sys.stderr, flush=True)
        self.records = self.seen = 0


def tell(checkpoint: Path, where: str, asked: Iterable[Example], quiet: bool = False) -> None:
    """Says how many of some records' images a checkpoint has learned from, if it has from any."""
    overlap = TrainedImageCounter(checkpoint, quiet)
    for record in asked:
        overlap.add(record)
    overlap.tell(where)

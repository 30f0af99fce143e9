"""How many of the examples that a model is asked about were in its training data."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from palitune.checkpoint import trained_images
from palitune.data.example import Example


def learned_from(example: Example) -> Path | str:
    """What an example shows a model: the file of its image, or else its text, with what was said before in a chat."""
    if example.images:
        return example.image.path
    if len(example.messages) == 1:
        return example.subject
    said = example.messages[:-1] if example.messages[-1].role == "assistant" else example.messages
    return "\0".join(f"{one.role}:{''.join(one.contents)}{one.text}" for one in said)


class TrainedImageCounter:
    """Counts examples with images or texts that a checkpoint was trained on, and says so on stderr."""

    def __init__(self, checkpoint: Path, quiet: bool = False) -> None:
        """Reads which images the checkpoint was trained on. Raises BadDataError as `manifest.read`."""
        self.known, self.name, self.quiet = trained_images.read(checkpoint), checkpoint.stem, quiet
        self.examples = self.seen = self.texts = 0

    def watch(self, asked: Iterable[Example]) -> Iterator[Example]:
        """Yields the examples, and counts them; each must have the path of its image."""
        for example in asked:
            self.add(example)
            yield example

    def add(self, example: Example) -> None:
        """Counts one example."""
        self.examples += 1
        self.texts += not example.images
        self.seen += trained_images.count(self.known, [learned_from(example)])

    def tell(self, where: str) -> None:
        """Prints a line about the examples of `where` if the checkpoint was trained on any, and counts from 0 again."""
        if self.seen and not self.quiet:
            least = "" if self.known.is_all else "at least "
            things = "images" if not self.texts else "texts" if self.texts == self.examples else "images and texts"
            what = f"{self.name} has learned from {least}{self.seen} of these {self.examples} {things}"
            print(f"{where}: {what}: how it does on them is not how it does on new ones", file=sys.stderr, flush=True)
        self.examples = self.seen = self.texts = 0


def tell(checkpoint: Path, where: str, asked: Iterable[Example], quiet: bool = False) -> None:
    """Prints how many of some examples have images that a checkpoint was trained on, if there are any."""
    counter = TrainedImageCounter(checkpoint, quiet)
    for example in asked:
        counter.add(example)
    counter.tell(where)

"""How many of the examples that a model is asked about were in its training data."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from palitune.checkpoint import trained_images
from palitune.data.answer_source import Seen
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
    """Counts examples with images or texts that a checkpoint knows, and says so on stderr.

    Attributes:
      seen: what was counted since it was told last.
    """

    def __init__(self, checkpoint: Path, quiet: bool = False) -> None:
        """Reads which images the checkpoint was trained on. Raises BadDataError as `manifest.read`."""
        self.known, self.name, self.quiet = trained_images.read(checkpoint), checkpoint.stem, quiet
        self.chosen_on = trained_images.read(checkpoint, trained_images.CHOSEN)
        self.seen, self.texts = Seen(), 0

    def watch(self, asked: Iterable[Example]) -> Iterator[Example]:
        """Yields the examples, and counts them; each must have the path of its image."""
        for example in asked:
            self.add(example)
            yield example

    def add(self, example: Example) -> None:
        """Counts one example."""
        thing, seen = learned_from(example), self.seen
        learned = trained_images.count(self.known, [thing])
        chosen = 0 if learned else trained_images.count(self.chosen_on, [thing])
        self.seen = Seen(seen.records + 1, seen.learned + learned, seen.chosen + chosen)
        self.texts += not example.images

    def tell(self, where: str) -> Seen:
        """Prints a line about the examples of `where` if the checkpoint knows any, and counts from 0 again."""
        seen = self.seen
        if (seen.learned or seen.chosen) and not self.quiet:
            least = "" if self.known.is_all else "at least "
            things = "images" if not self.texts else "texts" if self.texts == seen.records else "images and texts"
            what = f"{self.name} {seen.text(things, least)}"
            print(f"{where}: {what}: how it does on them is not how it does on new ones", file=sys.stderr, flush=True)
        self.seen, self.texts = Seen(), 0
        return seen


def tell(checkpoint: Path, where: str, asked: Iterable[Example], quiet: bool = False) -> Seen:
    """Prints how many of some examples have images that a checkpoint was trained or chosen on, if there are any."""
    counter = TrainedImageCounter(checkpoint, quiet)
    for example in asked:
        counter.add(example)
    return counter.tell(where)

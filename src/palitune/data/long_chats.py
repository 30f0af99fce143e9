"""Chats that are longer than a model takes: their oldest turns are left out, and counted."""

from collections.abc import Iterable, Iterator

from palitune.console import note
from palitune.data.example import Example
from palitune.data.templates import Template
from palitune.errors import BadDataError


class Shortener:
    """Leaves out the oldest turns of chats that are too long, and knows of how many.

    Attributes:
      chats: that were shortened.
      turns: that were left out of them.
    """

    def __init__(self, template: Template, longest: int | None = None) -> None:
        """Args:
        longest: tokens of a chat with its last answer; None is any number that `template` takes.
        """
        self.template, self.longest = template, longest
        self.chats = self.turns = 0

    def __call__(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Each example, or what is left of it; one that is no chat, or wrong, as it is."""
        for example in examples:
            found = example
            if len(example.messages) > 1:
                try:
                    found = self.template.shortened(example, self.longest)
                except BadDataError:  # who encodes it says so, or leaves it out
                    found = example
            if found is not example:
                self.chats += 1
                self.turns += len(example.messages) - len(found.messages)
            yield found

    def tell(self, name: str, quiet: bool = False) -> None:
        """Says on stderr how many turns of the chats in a file are left out."""
        if self.chats and not quiet:
            most = self.longest or self.template.longest
            what = f"{self.chats} chat{'s are' if self.chats > 1 else ' is'} longer than {most:,} tokens"
            note(f"{name}: {what}: the oldest turns are left out, {self.turns} together")

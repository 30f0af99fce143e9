"""Which of two answers is shown on the left: told by the seed and the record, so that no key can be lost.

A page of answers goes to other people, and their votes come back as files. Either may be moved and renamed; what tells
the sides apart is computed again from what each file of votes has in it.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, NamedTuple

from palitune.data import chat_turns
from palitune.data.example import Content, Example, Image, Message

VERSION = 1  # of what is hashed here: another one gives other records, sides and pages
FORMAT = "palitune votes"  # of a file of votes, which says so
DIGITS = 20  # hexadecimal ones of a record's id, 80 bits
LEFT, RIGHT, BOTH, NEITHER = CHOICES = ("left", "right", "both", "neither")
FIRST, SECOND = "A", "B"  # the two files of answers, in the order in which they were named
Preferred = Literal["A", "B", "both", "neither"]
Answer = tuple[tuple[str, str], ...]  # (the label's name, what was said); of one label without a name it is one pair


class Ballot(NamedTuple):
    """What is shown on a page: which records, in their order, and the seed that blinds it.

    Attributes:
      records: ids, each once.
    """

    seed: int
    records: tuple[str, ...]

    @property
    def page(self) -> str:
        """What tells the page from every other one: the SHA-256 of all of this."""
        return _digest([self.seed, *self.records])


def id_of(example: Example, first: Answer, second: Answer) -> str:
    """What tells a record of a page from all others: a hash of what is asked and of both answers, in their order."""
    return _digest([[_plain(message) for message in chat_turns.asked(example.messages)], first, second])[:DIGITS]


def first_is_left(seed: int, record: str) -> bool:
    """Whether the first file's answer to a record is on the left.

    It is a bit of a hash and not of NumPy's generator, whose numbers may change with its version: votes must be counted
    years later for the file that they were given to.
    """
    return int(_digest([seed, "side", record])[0], 16) % 2 == 0


def preferred(seed: int, record: str, choice: str) -> Preferred:
    """Which file's answer a choice of `CHOICES` is for, or whether it is for both or for neither."""
    if choice == BOTH:
        return "both"
    if choice == NEITHER:
        return "neither"
    return "A" if (choice == LEFT) == first_is_left(seed, record) else "B"


def _plain(message: Message) -> list[str | list[str]]:
    """A message as JSON has it; an image is its name."""
    parts: list[str | list[str]] = [message.role]
    for part in message.parts:
        if isinstance(part, Image):
            parts.append(["image", part.name])
        else:
            parts.append(["text", part.text] if isinstance(part, Content) else part)
    return parts


def _digest(content: Sequence[object]) -> str:
    text = json.dumps([VERSION, *content], separators=(",", ":"))  # in ASCII, so that it is the same everywhere
    return hashlib.sha256(text.encode()).hexdigest()

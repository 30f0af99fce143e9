"""Labels compared: what counts as one, on whichever side of a comparison a text stands."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

LABELS = ("yes", "no")
MOST_OF_DATA = 64  # different labels of examples that are taken for classes; more are free text
UNSURE = "unsure"  # the answer where no label is likely enough


def plain(text: str) -> str:
    """A label or an answer as it is compared: yes and no in any case; blanks of any kind and number are one blank.

    Unicode's two ways of writing one character (NFC, NFD) are one. What is written to files, learned and asked is the
    text itself and not this.
    """
    if text in LABELS:
        return text
    said = text if text.isascii() else unicodedata.normalize("NFC", text)
    said = " ".join(said.split())
    lower = said.lower()
    return lower if lower in LABELS else said


def canonical(text: str) -> str:
    """A label as it is learned: "Yes" is "yes", and any other is as it was written."""
    said = plain(text)
    return said if said in LABELS else text


def plain_set(labels: Iterable[str]) -> frozenset[str]:
    """Labels as they are compared."""
    return frozenset(map(plain, labels))


def are_text(counts: Counter[str]) -> bool:
    """Whether labels, by how often each is there, are free text: too many different ones, or hardly any twice."""
    return len(counts) > MOST_OF_DATA or (len(counts) > 2 and 2 * len(counts) > counts.total())

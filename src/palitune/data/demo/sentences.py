"""Sentences drawn from templates, which the demo data of text and the tiny text model's pretraining are made of.

Everything depends on nothing but the random generator that is passed in: a seed gives the same texts everywhere.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
JAPANESE, ENGLISH = "ja", "en"
LANGUAGES = (JAPANESE, ENGLISH)
PLACE = re.compile(r"\{(\w+)\}")
TRIES = 200  # at a text that has not been drawn before


def pick(values: Sequence[T], rng: np.random.Generator) -> T:
    """One of the values, each as likely as another."""
    return values[int(rng.integers(len(values)))]


def fill(form: str, words: Mapping[str, Sequence[str]], rng: np.random.Generator) -> str:
    """A form with one of the words of that name in place of each `{name}`, each drawn on its own."""
    return PLACE.sub(lambda found: pick(words[found[1]], rng), form)


def capitalised(text: str) -> str:
    """A sentence with its first letter as a sentence has it; Japanese stays as it is."""
    return text[:1].upper() + text[1:]


def new(draw: Callable[[], str], seen: set[str]) -> str:
    """A text that is not among those seen, to which it is added; one of them again where no other comes."""
    for _ in range(TRIES):
        text = draw()
        if text not in seen:
            break
    seen.add(text)
    return text


def shared_out(count: int, shares: Mapping[T, float]) -> list[T]:
    """`count` values, in the order of their shares, which add up to 1; each has its share, give or take one."""
    ends = [round(count * sum(list(shares.values())[: place + 1])) for place in range(len(shares))]
    return [value for value, start, end in zip(shares, [0, *ends], ends, strict=False) for _ in range(start, end)]

"""What the value of a setting may be: a text is parsed to a value, and a value from Python or JSON is checked.

Both raise ValueError with a message that says what the value should have been. Nothing heavy is imported here, because
the options of the command line are made from these kinds.
"""

import abc
import dataclasses
import difflib
import math
import numbers
import re
from collections.abc import Collection
from typing import Generic, TypeVar

from palitune import path_patterns

T = TypeVar("T")

LARGEST = 10**9
LONGEST_TEXT = 2000  # characters of a prompt; the memory of attention grows with their square
FRAMES = ("first", "middle", "last")

Rule = tuple[str, float]


class Kind(abc.ABC, Generic[T]):
    """One kind of value."""

    @abc.abstractmethod
    def describe(self) -> str:
        """The values that there are, as the documentation's tables name them."""

    @abc.abstractmethod
    def parse(self, text: str) -> T:
        """The value of a text that was typed. Raises ValueError."""

    @abc.abstractmethod
    def check(self, value: object) -> T:
        """A value from Python or JSON, held to the same limits as a typed one. Raises ValueError."""

    def typed(self, option: str, value: T) -> list[str]:
        """The words of a command line that give an option this value."""
        return words(option, str(value))


def words(option: str, text: str) -> list[str]:
    """Returns an option with its value: as one word where the value looks like an option itself."""
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


@dataclasses.dataclass(frozen=True)
class Whole(Kind[int]):
    """A whole number between two limits."""

    lowest: int = 1
    highest: int = LARGEST

    def describe(self) -> str:
        return f"{self.lowest}, {self.lowest + 1} …" if self.highest >= LARGEST else f"{self.lowest} to {self.highest}"

    def parse(self, text: str) -> int:
        try:
            return self.check(int(text))
        except ValueError as error:
            raise ValueError(_unless_ours(error, f"{text!r} is not a whole number")) from None

    def check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):  # NumPy's are such numbers too
            raise ValueError(f"{value!r} is not a whole number")
        value = int(value)
        if not self.lowest <= value <= self.highest:
            raise OutOfRange(self._limit(value))
        return value

    def _limit(self, value: int) -> str:
        if (self.lowest > 1 and self.highest < LARGEST) or (self.lowest == 0 and self.highest > LARGEST):
            return f"{value} is not between {self.lowest} and {self.highest}"
        return (
            f"{value} is not at least {self.lowest}" if value < self.lowest else f"{value} is more than {self.highest}"
        )


@dataclasses.dataclass(frozen=True)
class Number(Kind[float]):
    """A number between two limits, which it may or may not reach."""

    lowest: float
    highest: float
    limits: str  # in words
    reaches_lowest: bool = True
    reaches_highest: bool = True

    def describe(self) -> str:
        return self.limits

    def parse(self, text: str) -> float:
        try:
            return self.check(float(text))
        except ValueError as error:
            raise ValueError(_unless_ours(error, f"{text!r} is not a number")) from None

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"{value!r} is not a number")
        value = float(value)
        above = self.lowest <= value if self.reaches_lowest else self.lowest < value
        below = value <= self.highest if self.reaches_highest else value < self.highest
        if not (above and below):
            raise OutOfRange(f"{value:g} is not {self.limits}")
        return value

    def typed(self, option: str, value: float) -> list[str]:
        short = f"{value:g}"
        return words(option, short if float(short) == value else repr(value))


class OutOfRange(ValueError):
    """A number outside its limits: its message is the one to show."""


def _unless_ours(error: ValueError, text: str) -> str:
    return str(error) if isinstance(error, OutOfRange) else text


@dataclasses.dataclass(frozen=True)
class Choice(Kind[str]):
    """One of a few names."""

    names: tuple[str, ...]

    def describe(self) -> str:
        return ", ".join(self.names)

    def parse(self, text: str) -> str:
        return self.check(text)

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.names:
            raise ValueError(f"{value!r} is none of {', '.join(self.names)}{suggestion(value, self.names)}")
        return value


def suggestion(value: object, names: Collection[str]) -> str:
    """What was probably meant, as the end of a message; empty if nothing is close."""
    close = difflib.get_close_matches(str(value), names, 1)
    return f"; did you mean {close[0]}?" if close else ""


class Flag(Kind[bool]):
    """Yes or no: an option without a value."""

    def describe(self) -> str:
        return "given or not"

    def parse(self, text: str) -> bool:
        """Of a recipe's argument or a file; on the command line a flag has no value."""
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return value


class Text(Kind[str]):
    """Any text, such as a file's name."""

    def describe(self) -> str:
        return "a text"

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text")
        return self.parse(value)


class File(Text):
    """A file's name, of which Python may give a path."""

    def describe(self) -> str:
        return "a name"

    def check(self, value: object) -> str:
        return super().check(value if isinstance(value, str) else getattr(value, "__fspath__", lambda: value)())


class Prompt(Text):
    """A question to the model."""

    def describe(self) -> str:
        return "a text"

    def parse(self, text: str) -> str:
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"{len(text)} characters, {LONGEST_TEXT} are allowed")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("not UTF-8 text") from None
        return text


class Expression(Text):
    """A regular expression over text."""

    def describe(self) -> str:
        return "a regular expression"

    def parse(self, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is not a regular expression ({error})") from None
        return text


class PathExpression(Text):
    """A regular expression over parameter paths, in the syntax of `path_patterns`."""

    def describe(self) -> str:
        return "a regular expression"

    def parse(self, text: str) -> str:
        try:
            path_patterns.compiled(text)
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} is not a regular expression over paths ({error})") from None
        return text


class Frames(Text):
    """Which frame of an animated image is shown."""

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self.names = (*FRAMES, *more)

    def describe(self) -> str:
        return f"{', '.join(self.names)}, or a number from 0"

    def parse(self, text: str) -> str:
        if text not in self.names and not re.fullmatch(r"\d{1,9}", text):
            named = [*FRAMES[:-1], f"{FRAMES[-1]} or a number from 0", *self.names[len(FRAMES) :]]
            raise ValueError(
                f"{text!r} is not a frame: {', '.join(named[:3])}{''.join(f', or {n}' for n in named[3:])}"
            )
        return text


@dataclasses.dataclass(frozen=True)
class Several(Kind[tuple[str, ...]]):
    """Some of a few names, with commas between them."""

    names: tuple[str, ...]

    def describe(self) -> str:
        return f"some of {', '.join(self.names)}"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.check(text.split(","))

    def check(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list of names")
        return tuple(Choice(self.names).check(one) for one in value)

    def typed(self, option: str, value: tuple[str, ...]) -> list[str]:
        return words(option, ",".join(value))


class Rules(Kind[tuple[Rule, ...]]):
    """Rules over parameter paths, the first that matches counts: `REGEX=VALUE`, or a value alone for all paths."""

    def describe(self) -> str:
        return "`REGEX=NUMBER`, several times"

    def parse(self, text: str) -> tuple[Rule, ...]:
        """One rule: an option is repeated for more."""
        pattern, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{text!r} is neither a number nor REGEX=NUMBER") from None
        return (self._rule(pattern or ".*", number),)

    def check(self, value: object) -> tuple[Rule, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list of rules")
        rules = []
        for rule in value:
            if not isinstance(rule, (list, tuple)) or len(rule) != 2 or isinstance(rule[1], bool):
                raise ValueError(f"{rule!r} is not a pair of an expression and a number")
            if not isinstance(rule[0], str) or not isinstance(rule[1], (int, float)):
                raise ValueError(f"{rule!r} is not a pair of an expression and a number")
            rules.append(self._rule(rule[0], float(rule[1])))
        return tuple(rules)

    def typed(self, option: str, value: tuple[Rule, ...]) -> list[str]:
        return [word for pattern, number in value for word in words(option, f"{pattern}={number!r}")]

    @staticmethod
    def _rule(pattern: str, number: float) -> Rule:
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{number:g} is not a number of at least 0")
        return PathExpression().parse(pattern), number


class Texts(Kind[tuple[str, ...]]):
    """Several texts, as an option takes them one after another."""

    def describe(self) -> str:
        return "`NAME=V,V`, several"

    def parse(self, text: str) -> tuple[str, ...]:
        return (text,)

    def check(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list of texts")
        return tuple(Text().check(one) for one in value)

    def typed(self, option: str, value: tuple[str, ...]) -> list[str]:
        return [option, *value]


POSITIVE = Whole(1)
COUNT = Whole(0)
SEED = Whole(0, 2**32 - 1)
# float32 has no room for others.
POSITIVE_NUMBER = Number(1.2e-38, 3.4e38, "a number above 0 that can be computed with", False, False)
SHARE = Number(0, 1, "at least 0 and below 1", reaches_highest=False)
PROBABILITY = Number(0, 1, "between 0 and 1")

"""Values of a JSON object from outside, each held to its kind when it is asked for."""

from collections.abc import Mapping

from palitune.errors import BadDataError

LARGEST = 1 << 24  # of a size; the largest published one is 262,208 rows of an embedding table
SHOWN = 60  # characters of a wrong value
# What float32, in which models are computed, holds with all its digits.
SMALLEST_NUMBER, LARGEST_NUMBER = 2.0**-126, 2.0**128 - 2.0**104


class Settings:
    """One object of a JSON file, such as a model's `text_config`.

    Every method raises BadDataError, which names the key, for a value of the wrong kind or out of range.
    """

    def __init__(
        self,
        values: Mapping[str, object],
        where: str,
        defaults: Mapping[str, object] | None = None,
        within: str = "",
    ) -> None:
        """Takes the object's values.

        Args:
          where: the file's name, for errors.
          defaults: of what the object does not have.
          within: the keys that lead to the object, with a dot behind each.
        """
        self.values, self.where, self.defaults, self.within = values, where, defaults or {}, within

    def __getitem__(self, key: str) -> object:
        """The value of a key, or its default; None without either."""
        return self.values.get(key, self.defaults.get(key))

    def named(self, key: str) -> str:
        """A key with those that lead to it."""
        return f"{self.within}{key}"

    def wrong(self, key: str, expected: str) -> BadDataError:
        """The error to raise for the value of a key."""
        found = f"is {str(self[key])[:SHOWN]!r}" if self[key] is not None else "is not there"
        return BadDataError(f"{self.named(key)} {found}, and has to be {expected}", where=self.where)

    def size(self, key: str, most: int = LARGEST) -> int:
        """A whole number from 1 to `most`."""
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self.wrong(key, f"a whole number from 1 to {most:,}")
        return value

    def number(self, key: str) -> float:
        """A number above zero that float32 holds with all its digits."""
        value = self[key]
        expected = "a number above zero that float32 can hold"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, expected)
        try:
            found = float(value)
        except OverflowError:
            raise self.wrong(key, expected) from None
        if not SMALLEST_NUMBER <= found <= LARGEST_NUMBER:  # NaN is not between them either
            raise self.wrong(key, expected)
        return found

    def number_or_none(self, key: str) -> float | None:
        """A number as `number`, or None where there is null."""
        return None if self[key] is None else self.number(key)

    def flag(self, key: str) -> bool:
        """True or false; null is false."""
        value = self[key]
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return bool(value)

    def text(self, key: str) -> str:
        """A text."""
        value = self[key]
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """A list of at most `most` texts; null is none."""
        value = self[key]
        if value is None:
            return ()
        if not (isinstance(value, list) and len(value) <= most and all(isinstance(one, str) for one in value)):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def part(self, key: str, defaults: Mapping[str, object] | None = None) -> "Settings":
        """An object in the object; null is an empty one."""
        value = self[key]
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Settings(value or {}, self.where, defaults, f"{self.named(key)}.")

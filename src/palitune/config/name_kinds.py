"""Names of labels and of columns as values of settings: several names, and what names become."""

import re

from palitune.config.value_kinds import Kind, words


class Names(Kind[tuple[str, ...]]):
    """Different names, with commas between them."""

    def describe(self) -> str:
        return "names"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.check(text.split(","))

    def check(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise ValueError(f"{value!r} is not a list of names")
        names = tuple(name.strip() for name in value)
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"{','.join(value)!r} are not different names with commas between them")
        return names

    def typed(self, option: str, value: tuple[str, ...]) -> list[str]:
        return words(option, ",".join(value))


def pair(text: str) -> tuple[str, str]:
    r"""Returns the two names in `OLD=NEW`. The last = separates them; a label's own = is written \=.

    Raises:
      ValueError: the text is not such a pair.
    """
    found = re.fullmatch(r"(.*)(?<!\\)=(.*)", text, re.S)
    if not found or not found[1] or not found[2]:
        raise ValueError(f"{text!r} is not OLD=NEW")
    return found[1].replace("\\=", "="), found[2].replace("\\=", "=")


class Pairs(Kind[tuple[tuple[str, str], ...]]):
    """Names and what they become: `OLD=NEW`, several."""

    def describe(self) -> str:
        return "`OLD=NEW`, several"

    def parse(self, text: str) -> tuple[tuple[str, str], ...]:
        return (pair(text),)

    def check(self, value: object) -> tuple[tuple[str, str], ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list of pairs")
        names: dict[str, str] = {}
        for one in value:
            if not isinstance(one, (list, tuple)) or len(one) != 2 or not all(isinstance(name, str) for name in one):
                raise ValueError(f"{one!r} is not a pair of names")
            if names.setdefault(one[0], one[1]) != one[1]:
                raise ValueError(f"{one[0]!r} is to become {names[one[0]]!r} and {one[1]!r}")
        return tuple(names.items())

    def typed(self, option: str, value: tuple[tuple[str, str], ...]) -> list[str]:
        escaped = [tuple(name.replace("=", "\\=") for name in one) for one in value]
        return [word for old, new in escaped for word in words(option, f"{old}={new}")]

"""Labels by other names."""

import re
from collections.abc import Iterable


def pair(text: str) -> tuple[str, str]:
    r"""The two names in `OLD=NEW`: the last = parts them, and one that is a label's own is written \=.

    Raises ValueError: it is nothing of the kind.
    """
    found = re.fullmatch(r"(.*)(?<!\\)=(.*)", text, re.S)
    if not found or not found[1] or not found[2]:
        raise ValueError(f"{text!r} is not OLD=NEW")
    return found[1].replace("\\=", "="), found[2].replace("\\=", "=")


class Renaming:
    """Which label becomes which.

    Attributes:
      unused: names that no label had so far.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Raises ValueError: one label is to become two."""
        self.names: dict[str, str] = {}
        for old, new in pairs:
            if self.names.setdefault(old, new) != new:
                raise ValueError(f"{old!r} is to become {self.names[old]!r} and {new!r}")
        self.unused = set(self.names)

    def __call__(self, label: str) -> str:
        """A label's other name, or itself; true and false are found in any case, and 1.0 as 1."""
        old = self._found(label)
        if old is None:
            return label
        self.unused.discard(old)
        return self.names[old]

    def _found(self, label: str) -> str | None:
        if label in self.names:
            return label
        plain = label.strip().lower()
        if plain in ("true", "false"):
            return next((old for old in self.names if old.strip().lower() == plain), None)
        if re.fullmatch(r"[+-]?\d{1,18}\.0+", plain):
            whole = plain.partition(".")[0]
            return whole if whole in self.names else None
        return label.strip() if label.strip() in self.names else None

"""Labels renamed, by pairs such as OK=yes."""

import re
from collections.abc import Iterable

from palitune.labels import plain


class Renaming:
    """The new names of labels.

    Attributes:
      names: the new name of each label that is renamed.
      unused: those of them that have not been found so far.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Raises ValueError if one label has two new names."""
        self.names: dict[str, str] = {}
        for old, new in pairs:
            if self.names.setdefault(old, new) != new:
                raise ValueError(f"{old!r} is to become {self.names[old]!r} and {new!r}")
        self.unused = set(self.names)
        self.by_plain = {plain(old): old for old in self.names}

    def __call__(self, label: str) -> str:
        """Returns the new name of a label, or the label itself.

        It is found as labels are compared everywhere; true and false match in any case too, and 1.0 matches 1.
        """
        old = self._found(label)
        if old is None:
            return label
        self.unused.discard(old)
        return self.names[old]

    def _found(self, label: str) -> str | None:
        if label in self.names:
            return label
        lower = label.strip().lower()
        if lower in ("true", "false"):
            return next((old for old in self.names if old.strip().lower() == lower), None)
        if re.fullmatch(r"[+-]?\d{1,18}\.0+", lower):
            whole = lower.partition(".")[0]
            return whole if whole in self.names else None
        return self.by_plain.get(plain(label))

"""What a conversion cannot carry over: counted by kind, and refused unless the user allows to drop it."""

from collections.abc import Iterator

from palitune.errors import NAMED, BadDataError, MissingInputError, printable


class Kind:
    """One kind of loss: its reason, how often it happened, and the first places."""

    def __init__(self, what: str, hint: str, missing: bool) -> None:
        self.what, self.hint, self.missing = what, hint, missing
        self.count = 0
        self.examples: list[tuple[str, str]] = []  # where, and what exactly

    def add(self, where: str, detail: str) -> None:
        """Counts one more, at `where`; `detail` says what exactly was lost."""
        self.count += 1
        if len(self.examples) < NAMED:
            self.examples.append((where, detail[:300]))

    def lines(self) -> Iterator[str]:
        """Yields the reason with its count and hint, then the first places, then the number of others."""
        times = f", {self.count:,} times" if self.count > 1 else ""
        yield printable(f"{self.what}{times}" + (f". {self.hint}" if self.hint else ""))
        for where, detail in self.examples:
            yield printable(f"  {where}: {detail}" if detail else f"  {where}")
        if self.count > NAMED:
            yield f"  and {self.count - NAMED:,} more"

    def line(self) -> str:
        """Returns the reason with its count, the first place and the hint, on one line."""
        where, detail = self.examples[0]
        first = f"{where}: {detail}" if detail else where
        times = f"{self.count:,} times, first {first}" if self.count > 1 else first
        return printable(f"{self.what} ({times})" + (f". {self.hint}" if self.hint else ""))


class Losses:
    """The losses of a conversion, and remarks that are not losses.

    Attributes:
      drop: leave out what cannot be carried over, and say so, instead of refusing it.
      kinds: the losses by kind.
      remarks: the remarks by kind.
    """

    def __init__(self, drop: bool = False) -> None:
        self.drop = drop
        self.kinds: dict[str, Kind] = {}
        self.remarks: dict[str, Kind] = {}

    def add(self, what: str, where: str, detail: str = "", hint: str = "", missing: bool = False) -> None:
        """Counts a loss.

        Args:
          what: its kind, in the same words for all of this kind.
          missing: whether it is lost because a file does not exist.
        """
        self.kinds.setdefault(what, Kind(what, hint, missing)).add(where, detail)

    def remark(self, what: str, where: str, detail: str = "", hint: str = "") -> None:
        """Counts something that the user should know, and that loses nothing."""
        self.remarks.setdefault(what, Kind(what, hint, False)).add(where, detail)

    @property
    def count(self) -> int:
        """The number of losses of all kinds."""
        return sum(kind.count for kind in self.kinds.values())

    def refused(self, source: str) -> tuple[list[str], BadDataError | MissingInputError] | None:
        """Returns lines for the user and the error to end with; None if nothing is lost, or losses are allowed."""
        if not self.kinds or self.drop:
            return None
        kinds = list(self.kinds.values())
        error = MissingInputError if all(kind.missing for kind in kinds) else BadDataError
        if self.count == 1:
            (where, detail), kind = kinds[0].examples[0], kinds[0]
            what = f"{kind.what}: {detail}" if detail else kind.what
            hint = f"{kind.hint}. --drop leaves it out" if kind.hint else "--drop leaves it out"
            return [], error(what, where=where, hint=hint)
        what = f"{self.count:,} things cannot be carried over, and nothing is written"
        return (
            [line for kind in kinds for line in kind.lines()],
            error(what, where=source, hint="--drop leaves them out"),
        )

    def told(self) -> Iterator[str]:
        """Yields lines about what was dropped on request, and the remarks, for the end of a conversion."""
        for kind in self.kinds.values() if self.drop else ():
            first, *rest = kind.lines()
            yield f"left out: {first}"
            yield from rest
        for kind in self.remarks.values():
            yield kind.line()

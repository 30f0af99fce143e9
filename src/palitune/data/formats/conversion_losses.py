"""What a conversion cannot carry over: counted by kind, told with a few examples, refused unless it may be dropped."""

from collections.abc import Iterator

from palitune.errors import NAMED, BadDataError, MissingInputError, printable


class Kind:
    """One reason, how often it was met, and where first."""

    def __init__(self, what: str, hint: str, missing: bool) -> None:
        self.what, self.hint, self.missing = what, hint, missing
        self.count = 0
        self.examples: list[tuple[str, str]] = []  # where, and what exactly

    def add(self, where: str, detail: str) -> None:
        self.count += 1
        if len(self.examples) < NAMED:
            self.examples.append((where, detail[:300]))

    def lines(self) -> Iterator[str]:
        """The reason with its count and hint, the first examples, and how many more there are."""
        times = f", {self.count:,} times" if self.count > 1 else ""
        yield printable(f"{self.what}{times}" + (f". {self.hint}" if self.hint else ""))
        for where, detail in self.examples:
            yield printable(f"  {where}: {detail}" if detail else f"  {where}")
        if self.count > NAMED:
            yield f"  and {self.count - NAMED:,} more"

    def line(self) -> str:
        """The reason with its count, the first example and the hint."""
        where, detail = self.examples[0]
        first = f"{where}: {detail}" if detail else where
        times = f"{self.count:,} times, first {first}" if self.count > 1 else first
        return printable(f"{self.what} ({times})" + (f". {self.hint}" if self.hint else ""))


class Losses:
    """What was lost, and what is only worth a remark.

    Attributes:
      drop: what cannot be carried over is left out, and said.
    """

    def __init__(self, drop: bool = False) -> None:
        self.drop = drop
        self.kinds: dict[str, Kind] = {}
        self.remarks: dict[str, Kind] = {}

    def add(self, what: str, where: str, detail: str = "", hint: str = "", missing: bool = False) -> None:
        """Counts a loss.

        Args:
          what: its kind, in the same words for all of the kind.
          missing: it is lost because a file is not there.
        """
        self.kinds.setdefault(what, Kind(what, hint, missing)).add(where, detail)

    def remark(self, what: str, where: str, detail: str = "", hint: str = "") -> None:
        """Counts something that loses nothing."""
        self.remarks.setdefault(what, Kind(what, hint, False)).add(where, detail)

    @property
    def count(self) -> int:
        return sum(kind.count for kind in self.kinds.values())

    def refused(self, source: str) -> tuple[list[str], BadDataError | MissingInputError] | None:
        """Lines to be shown, and the error to end with; None where nothing is lost, or may be."""
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
        """What was left out on request, and the remarks, for the end of a conversion."""
        for kind in self.kinds.values() if self.drop else ():
            first, *rest = kind.lines()
            yield f"left out: {first}"
            yield from rest
        for kind in self.remarks.values():
            yield kind.line()

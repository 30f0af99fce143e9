"""Options of a conversion, and the fields of an example as the readers of other formats yield them.

Fields are a dictionary with `image`, `suffix`, `prefix` if there is a question, and whatever else the source has.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from palitune.data.formats.conversion_losses import Losses
from palitune.data.formats.embedded_images import EmbeddedImages
from palitune.errors import BadDataError, MissingInputError

Fields = dict[str, Any]
Lists = dict[str, Iterable[object]]  # the lists of one JSON object, by key
Found = Iterator[tuple[str, Fields]]  # where an example is, for messages, and its fields
OWN = ("image", "prefix", "suffix")


class Options(NamedTuple):
    """What a format may need to be told."""

    image: str | None = None  # columns of a table, or keys of tasks
    label: str | None = None  # also the control of Label Studio
    prefix: str | None = None
    annotations: Path | None = None  # the second file of VQA
    embedded: EmbeddedImages | None = None  # where images go that are inside of the file
    losses: Losses | None = None  # what cannot be carried over is counted here; without it the first one is an error
    majority: bool = False  # of several people's answers the most frequent
    turns: bool = False  # a record for each question of a chat
    encoding: str | None = None
    formulas: bool = False  # cells of a CSV are what they are
    numbers: bool = False  # "id" is the source's own count of its tasks

    def lose(self, what: str, where: str, detail: str = "", hint: str = "", missing: bool = False) -> None:
        """Counts what cannot be carried over. Raises BadDataError or MissingInputError where nobody counts."""
        if self.losses is None:
            error = MissingInputError if missing else BadDataError
            raise error(f"{what}: {detail}" if detail else what, where=where, hint=hint or None)
        self.losses.add(what, where, detail, hint, missing)

    def remark(self, what: str, where: str, detail: str = "", hint: str = "") -> None:
        if self.losses is not None:
            self.losses.remark(what, where, detail, hint)


def lose_rest(fields: Fields, kind: str, room: tuple[str, ...], where: str, options: Options) -> None:
    """Loses what a format has no place for."""
    if fields.get("prefix") and "prefix" not in room:
        options.lose(f"{kind} has no room for questions", where, fields["prefix"][:80])
    more = [key for key in fields if key not in OWN and key not in room]
    if options.numbers and isinstance(fields.get("id"), int) and "id" in more:
        more.remove("id")
        options.remark(f"{kind} has no room for the numbers of tasks", where)
    if more:
        options.lose(f"{kind} has no room for other keys", where, ", ".join(more)[:200])

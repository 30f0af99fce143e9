"""Options of a conversion, and the fields of an example as the readers of other formats yield them.

Fields are a dictionary with `image`, `suffix`, `prefix` if there is a question, and whatever else the source has. In
place of an image, or beside it, there may be a `text`; in place of all, a question alone, or a chat's `messages`. In
place of `suffix` there may be `labels`, an object of several labels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.data.formats.conversion_losses import Losses
from palitune.data.formats.embedded_images import EmbeddedImages
from palitune.data.formats.json_lines import Fields as Fields
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError

Lists = dict[str, Iterable[object]]  # the lists of one JSON object, by key
Found = Iterator[tuple[str, Fields]]  # where an example is, for messages, and its fields
OWN = ("image", "prefix", "suffix")


class Options(NamedTuple):
    """How the columns and answers of a source are read, and what happens to what cannot be carried over.

    Attributes:
      image: the column of a table, or the key of a task, that names the image.
      label: the same for the label; also the control of Label Studio.
      text: the same for a text that a question is about.
      labels: the columns or keys of several labels, which say yes or no.
      prefix: the same for the question.
      annotations: the second file of VQA.
      embedded: where images go that are embedded in the source.
      losses: counts what cannot be carried over; without it, the first loss is an error.
      majority: of several people's answers, take the most frequent one.
      turns: make an example of each question of a chat.
      encoding: the encoding of text files; None recognises it.
      formulas: leave cells of a CSV as they are, also those that look like formulas.
      numbers: whether "id" is the source's own count of its tasks.
      folders: where images are, by which a TSV's first column is an image or a text; None takes all for images.
    """

    image: str | None = None
    label: str | None = None
    prefix: str | None = None
    annotations: Path | None = None
    embedded: EmbeddedImages | None = None
    losses: Losses | None = None
    majority: bool = False
    turns: bool = False
    encoding: str | None = None
    formulas: bool = False
    numbers: bool = False
    text: str | None = None
    labels: tuple[str, ...] = ()
    folders: ImageFolders | None = None

    def lose(self, what: str, where: str, detail: str = "", hint: str = "", missing: bool = False) -> None:
        """Counts something that cannot be carried over. Without `losses`, raises BadDataError or MissingInputError."""
        if self.losses is None:
            error = MissingInputError if missing else BadDataError
            raise error(f"{what}: {detail}" if detail else what, where=where, hint=hint or None)
        self.losses.add(what, where, detail, hint, missing)

    def remark(self, what: str, where: str, detail: str = "", hint: str = "") -> None:
        """Counts something that the user should know, and that loses nothing."""
        if self.losses is not None:
            self.losses.remark(what, where, detail, hint)


def own_keys(fields: Fields) -> tuple[str, ...]:
    """The keys of a record that are its own and not others that it came with."""
    if "suffix" not in fields:
        return (*OWN, "text", "labels", "messages")
    return OWN if "image" in fields else (*OWN, "text")


def lose_rest(fields: Fields, kind: str, room: tuple[str, ...], where: str, options: Options) -> None:
    """Counts as a loss what a format has no room for: the question, and keys other than those in `room`."""
    if fields.get("prefix") and "prefix" not in room:
        options.lose(f"{kind} has no room for questions", where, fields["prefix"][:80])
    own = own_keys(fields)
    more = [key for key in fields if key not in own and key not in room]
    if options.numbers and isinstance(fields.get("id"), int) and "id" in more:
        more.remove("id")
        options.remark(f"{kind} has no room for the numbers of tasks", where)
    if more:
        options.lose(f"{kind} has no room for other keys", where, ", ".join(more)[:200])

"""The lines of a file of answers with their outcomes: true or false, positive or negative."""

from collections.abc import Iterator
from pathlib import Path

from palitune import console
from palitune.data.example_files import Reader
from palitune.errors import BadDataError
from palitune.evaluate.confusion import kind


def outcome_lines(file: Path) -> Iterator[tuple[str | None, bytes]]:
    """Each line's outcome, "tp", "tn", "fp" or "fn" (None without a label), and the line without its end.

    Raises:
      MissingInputError, BadDataError: no such file, or a line without an answer.
    """
    for (_, _, raw), (example, said) in Reader(file, labelled=False).answered():
        if said is None:
            hint = f"Ask a model first: {console.command('inference')} -d FILE | {console.command('filter')}"
            raise BadDataError("no answer here that could be wrong", where=example.where, hint=hint)
        yield (kind(said.text, example.label) if example.label else None), raw

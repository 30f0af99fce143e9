"""The lines of a file of answers with their outcomes: true or false, positive or negative."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from palitune import console
from palitune.data.example_files import Reader
from palitune.data.formats import label_answers
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import answer_labels
from palitune.evaluate.confusion import kind


def outcome_lines(
    file: Path, typed: tuple[str, ...] | None = None, positive: str | None = None
) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Each line's outcomes, of "tp", "tn", "fp" and "fn", and the line without its end.

    A line with one label has one outcome, or none where the label is unknown. One with several labels is "fp", "fn" or
    both where it is wrong, else "tp" where it has one of the labels and "tn" where it has none.

    Args:
      typed: the labels that an answer is one of; by default those that the file tells.
      positive: the label that counts as yes; by default the first of two.

    Raises:
      UsageError: the positive label is none of them.
      MissingInputError, BadDataError: no such file, or a line without an answer.
    """
    known = answer_labels.of_file(file, typed, positive)
    for (_, _, raw), (example, said) in Reader(file, labelled=False).answered():
        if said is not None:
            labels = known or answer_labels.of_line(said, positive)
            yield ((answer_labels.outcome(said.text, example.label, labels),) if example.label else ()), raw
            continue
        several = label_answers.predictions(example)
        if several is None:
            hint = f"Ask a model first: {console.command('inference')} -d FILE | {console.command('filter')}"
            raise BadDataError("no answer here that could be wrong", where=example.where, hint=hint)
        yield _of_several(several), raw


def _of_several(said: Sequence[Prediction]) -> tuple[str, ...]:
    found = {kind(one.text, one.target.answer) for one in said if one.target.answer is not None}
    wrong = tuple(one for one in ("fp", "fn") if one in found)
    return wrong or tuple(one for one in ("tp", "tn") if one in found)[:1]

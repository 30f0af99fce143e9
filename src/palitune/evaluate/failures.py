"""All wrong answers of one or several files of answers, by how sure the model was of them."""

import collections
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.config.model import FolderSettings
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.evaluate import answer_files, several_answers
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.confusion import NEGATIVE, is_right
from palitune.evaluate.label_table import UNKNOWN
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.labels import plain

SHOWN = 10  # pairs that are told on a terminal


class Pair(NamedTuple):
    """A label and a wrong answer to it, as labels are compared.

    Attributes:
      target: the name of what was asked, where an example has several labels; else empty.
    """

    target: str
    label: str
    answer: str

    @property
    def text(self) -> str:
        """The pair in words."""
        named = f"{self.target}: " if self.target else ""
        return f"{named}{self.label} answered {self.answer or '(nothing)'}"


class Failure(NamedTuple):
    """A wrong answer.

    Attributes:
      file: where it was read, as typed.
      probability: of the answer; None where it is unknown.
    """

    file: str
    example: Example
    pair: Pair
    probability: float | None = None

    def as_json(self) -> dict[str, object]:
        """Everything in it as JSON has it."""
        place = {"file": self.file, "where": self.example.where, "subject": self.example.subject}
        return place | {"prompt": self.example.prompt} | self.pair._asdict() | {"probability": self.probability}

    def as_tsv(self) -> str:
        """A line of file, subject, label, answer and probability, and the target's name where it has one."""
        probability = "" if self.probability is None else f"{self.probability:.6f}"
        cells = [self.file, self.example.subject, self.pair.label, self.pair.answer, probability]
        cells += [self.pair.target] if self.pair.target else []
        return "\t".join(re.sub(r"[\t\r\n]+", " ", cell) for cell in cells)


class Counted(NamedTuple):
    """How many answers of a file are wrong, of those that have a label."""

    file: str
    wrong: int
    total: int


class Failures(NamedTuple):
    """The failures of all files, the most confident first.

    Attributes:
      pairs: how often each occurs in all files together, the most frequent first.
    """

    found: list[Failure]
    files: list[Counted]
    pairs: dict[Pair, int]

    def as_json(self) -> dict[str, object]:
        """Everything in it as JSON has it."""
        return {
            "files": [one._asdict() for one in self.files],
            "pairs": [pair._asdict() | {"count": count} for pair, count in self.pairs.items()],
            "failures": [one.as_json() for one in self.found],
        }

    def counts(self) -> list[str]:
        """How many there are, in lines for a person: of each file, then of the most frequent pairs."""
        lines = [f"{one.file}: {one.wrong} of {one.total} answers are wrong" for one in self.files]
        for pair, count in itertools.islice(self.pairs.items(), SHOWN):
            lines.append(f"{count:6,}  {pair.text}")
        if len(self.pairs) > SHOWN:
            lines.append(f"{'':6}  and {len(self.pairs) - SHOWN:,} other pairs of label and answer")
        return lines


def of_files(
    files: Sequence[str],
    *,
    labels: tuple[str, ...] | None = None,
    images: FolderSettings | None = None,
    quiet: bool = False,
) -> Failures:
    """All wrong answers of files.

    Args:
      labels: which there are; by default those that each file tells.
      images: where the images' files are, for a page that shows them; None if they are not needed.
      quiet: write no notes to stderr.

    Raises:
      MissingInputError, BadDataError: as `answer_files.read` and `several_answers.read`.
    """
    for file in files:
        dataset_files.require_data(file)
    found: list[Failure] = []
    counted = []
    for file in files:
        if several_answers.are_in(file):
            several = several_answers.read(Path(file), quiet)
            wrong, total = _wrong_of_several(several, file), int((several.table.truth != UNKNOWN).sum())
        else:
            answers = answer_files.read(Path(file), labels, quiet)
            wrong, total = _wrong(answers, file), len(answers.predictions)
        if images is not None:
            shown = answer_files.located([one.example for one in wrong], Path(file), images)
            wrong = [one._replace(example=example) for one, example in zip(wrong, shown, strict=True)]
        counted.append(Counted(file, len(wrong), total))
        found += wrong
    # Where no probability is known the order is that of the files.
    found.sort(key=lambda one: -1.0 if one.probability is None else one.probability, reverse=True)
    pairs = collections.Counter(one.pair for one in found)
    return Failures(found, counted, dict(pairs.most_common()))


def _wrong(answers: Answers, file: str) -> list[Failure]:
    """The wrong answers of a file, in its order."""
    outcomes = answers.outcomes
    sure = [None] * len(outcomes.labels) if outcomes.confidence is None else outcomes.confidence.tolist()
    return [
        Failure(file, said.example, Pair(said.target.name, label, plain(answer)), probability)
        for said, label, answer, probability, right in zip(
            answers.predictions, outcomes.labels, outcomes.answers, sure, outcomes.right, strict=True
        )
        if not right
    ]


def _wrong_of_several(several: SeveralAnswers, file: str) -> list[Failure]:
    """The wrong answers of a file with several labels of each record, in its order; what is unknown is never wrong."""
    found = []
    for example, answers in several.groups:
        for said in answers:
            label = said.target.answer
            if label is not None and not is_right(said.text, label):
                pair = Pair(said.target.name, plain(label), plain(said.text))
                sure = 1 - said.p_yes if said.p_yes is not None and pair.answer == NEGATIVE else said.p_yes
                found.append(Failure(file, example, pair, sure))
    return found

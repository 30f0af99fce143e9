"""All wrong answers of one or several files of answers, by how sure the model was of them."""

import collections
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.config.model import FolderSettings
from palitune.data import answer_source, dataset_files
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import answer_files, several_answers
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.confusion import NEGATIVE, is_right
from palitune.evaluate.label_table import UNKNOWN
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.labels import UNSURE, plain
from palitune.sentence import Sentence

SHOWN = 10  # pairs that are told on a terminal
LONGEST = 40  # characters of an answer in a pair, which may be free text


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
        label, answer = (f"{one[:LONGEST]}…" if len(one) > LONGEST else one for one in (self.label, self.answer))
        answer = answer or Sentence("(nothing)")
        if self.target:
            return Sentence("%(target)s: %(label)s answered %(answer)s", target=self.target, label=label, answer=answer)
        return Sentence("%(label)s answered %(answer)s", label=label, answer=answer)


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
        unsure = " or unsure" if any(pair.answer == UNSURE for pair in self.pairs) else ""
        lines = [f"{one.file}: {one.wrong} of {one.total} answers are wrong{unsure}" for one in self.files]
        for pair, count in itertools.islice(self.pairs.items(), SHOWN):
            lines.append(f"{count:6,}  {pair.text}")
        if len(self.pairs) > SHOWN:
            lines.append(f"{'':6}  and {len(self.pairs) - SHOWN:,} other pairs of label and answer")
        return lines


def of_files(
    files: Sequence[str],
    *,
    labels: tuple[str, ...] | None = None,
    least: float | None = None,
    images: FolderSettings | None = None,
    quiet: bool = False,
) -> Failures:
    """All wrong answers of files.

    Args:
      labels: which there are; by default those that each file tells.
      least: the probability below which an answer is unsure, and is listed as that whether it is right or wrong.
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
            wrong, total = _wrong_of_several(several, file, least), int((several.table.truth != UNKNOWN).sum())
        elif labels is None and (made := answer_source.read(Path(file), quiet=True)) is not None and not made.labels:
            wrong, total = _of_free_text(file)
        else:
            answers = answer_files.read(Path(file), labels, quiet)
            wrong, total = _wrong(answers, file, least), len(answers.predictions)
        if images is not None:
            shown = answer_files.located([one.example for one in wrong], Path(file), images)
            wrong = [one._replace(example=example) for one, example in zip(wrong, shown, strict=True)]
        counted.append(Counted(file, len(wrong), total))
        found += wrong
    # Where no probability is known the order is that of the files.
    found.sort(key=lambda one: -1.0 if one.probability is None else one.probability, reverse=True)
    pairs = collections.Counter(one.pair for one in found)
    return Failures(found, counted, dict(pairs.most_common()))


def _wrong(answers: Answers, file: str, least: float | None) -> list[Failure]:
    """The wrong and the unsure answers of a file, in its order."""
    outcomes = answers.outcomes
    sure = [None] * len(outcomes.labels) if outcomes.confidence is None else outcomes.confidence.tolist()
    found = []
    for said, label, answer, probability in zip(
        answers.predictions, outcomes.labels, outcomes.answers, sure, strict=True
    ):
        known = probability if answer in outcomes.classes else _rejected(said, outcomes.is_binary)
        found += _failure(file, said, label, answer, known if answer in (*outcomes.classes, UNSURE) else None, least)
    return found


def _rejected(said: Prediction, is_binary: bool) -> float | None:
    """The probability of the label that was too unlikely to be the answer, where it is known."""
    scores = said.example.fields.get("p")
    if isinstance(scores, dict) and scores and all(isinstance(p, (int, float)) for p in scores.values()):
        return float(max(scores.values()))
    return max(said.p_yes, 1 - said.p_yes) if is_binary and said.p_yes is not None else said.p_yes


def _failure(
    file: str, said: Prediction, label: str, answer: str, probability: float | None, least: float | None
) -> list[Failure]:
    """The failure that an answer is, if it is one."""
    if least is not None and probability is not None and probability < least:
        answer = UNSURE
    if is_right(answer, label):
        return []
    return [Failure(file, said.example, Pair(said.target.name, plain(label), plain(answer)), probability)]


def _of_free_text(file: str) -> tuple[list[Failure], int]:
    """The answers of a file that are not their label, and how many have one. Raises as `answer_files.read`."""
    found, total = [], 0
    for _, (example, said) in Reader(Path(file), labelled=False).answered():
        if said is None:
            raise BadDataError("no answer here", where=example.where, hint=answer_files.ask_first())
        if example.label:
            found += _failure(file, said, example.label, said.text, None, None)
            total += 1
    return found, total


def _wrong_of_several(several: SeveralAnswers, file: str, least: float | None) -> list[Failure]:
    """As `_wrong`, of a file with several labels of each record; what is unknown is never wrong."""
    found = []
    for _, answers in several.groups:
        for said in answers:
            if said.target.answer is not None:
                known = said.p_yes
                sure = 1 - known if known is not None and plain(said.text) == NEGATIVE else known
                found += _failure(file, said, said.target.answer, said.text, sure, least)
    return found

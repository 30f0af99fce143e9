"""Files of answers to several labels, as inference writes them, read as a table of labels and answers."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import console
from palitune.data import answer_source, dataset_files
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import label_answers, lines
from palitune.data.formats.lines import STDIN
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError, PalituneError
from palitune.evaluate import label_table
from palitune.evaluate.answer_files import ask_first
from palitune.evaluate.label_table import LabelTable

Groups = list[tuple[Example, list[Prediction]]]


class SeveralAnswers(NamedTuple):
    """The answers of a file to records of which at least one label is known, and the same as a table."""

    name: str
    groups: Groups
    table: LabelTable
    made: MadeWith | None = None

    @property
    def examples(self) -> list[Example]:
        """What the answers are about, in their order."""
        return [example for example, _ in self.groups]

    def take(self, indices: list[int]) -> "SeveralAnswers":
        """The records at these indices, in this order."""
        return SeveralAnswers(self.name, [self.groups[i] for i in indices], self.table.take(indices), self.made)


def are_in(file: str | Path) -> bool:
    """Whether a file's first line has answers to several labels; of standard input it can be read again."""
    path = Path(file)
    try:
        if path == STDIN:
            reader = Reader(path, labelled=False)
            reader.kind = "jsonl"
            example, said = reader.prediction((1, 0, lines.first_of_stdin()))
            return said is None and bool(label_answers.predictions(example))
        for _, (example, said) in Reader(path, labelled=False).answered() if path.is_file() else ():
            return said is None and bool(label_answers.predictions(example))
    except PalituneError:  # which the one who reads it is told
        return False
    return False


def are_in_all(files: Sequence[str]) -> bool:
    """Whether files have answers to several labels, all of them or none.

    Raises:
      MissingInputError, BadDataError: there is no such file, or only some have answers to several labels.
    """
    for file in files:
        dataset_files.require_data(file)
    several = [file for file in files if are_in(file)]
    if several and (others := [file for file in files if file not in several]):
        what = f"these are answers to one label, and those in {several[0]} are to several"
        raise BadDataError(what, where=others[0], hint="Compare answers to the same labels")
    return bool(several)


def read(path: Path, quiet: bool = False) -> SeveralAnswers:
    """The answers of a file.

    Raises:
      MissingInputError, BadDataError: no such file, a line without such answers, or no label is known.
    """
    groups = list(each(example for _, (example, _) in Reader(path, labelled=False).answered()))
    made = answer_source.read(path, quiet)
    return of_groups(str(path), groups, made, quiet)


def each(examples: Iterable[Example]) -> Iterator[tuple[Example, list[Prediction]]]:
    """Every example of a file of answers with its answers. Raises BadDataError as `read`."""
    for example in examples:
        said = label_answers.predictions(example)
        if said is None:
            raise BadDataError("no answers to several labels here", where=example.where, hint=ask_first())
        yield said[0].example, said


def of_groups(name: str, groups: Groups, made: MadeWith | None = None, quiet: bool = False) -> SeveralAnswers:
    """Answers to examples as a table; examples of which nothing is known are left out and counted on stderr.

    Raises:
      BadDataError: no label is known.
    """
    labelled = [(example, said) for example, said in groups if any(one.target.answer is not None for one in said)]
    if len(labelled) < len(groups) and not quiet:
        console.note(f"{name}: {len(groups) - len(labelled)} lines without a label are left out")
    if not labelled:
        raise BadDataError("there are no labels here", where=name, hint="Unlabelled answers: palitune uncertain")
    if made is not None:
        labelled = [(example, [one._replace(made=made) for one in said]) for example, said in labelled]
    table, _ = label_table.of_predictions(labelled)
    return SeveralAnswers(name, labelled, table, made)


def same_records(first: SeveralAnswers, second: SeveralAnswers) -> tuple[SeveralAnswers, SeveralAnswers]:
    """Both in the first's order, without what only one of them has, which is counted on stderr.

    Examples are the same if they ask the same of the same, and their labels are the same.

    Raises:
      BadDataError: they have no record in common, or not the same labels.
    """
    if first.table.names != second.table.names and set(first.table.names) == set(second.table.names):
        second = second._replace(table=second.table.ordered(first.table.names))
    if first.table.names != second.table.names:
        there, here = (", ".join(one.table.names) for one in (first, second))
        what = f"the labels are {here} here and {there} in {first.name}"
        raise BadDataError(what, where=second.name, hint="Compare answers to the same labels")
    places: dict[object, collections.deque[int]] = collections.defaultdict(collections.deque)
    for index, example in enumerate(second.examples):
        places[example.key, second.table.truth[index].tobytes()].append(index)
    pairs = []
    for index, example in enumerate(first.examples):
        if others := places[example.key, first.table.truth[index].tobytes()]:
            pairs.append((index, others.popleft()))
    if not pairs:
        what = f"no record with the same labels is also in {first.name}"
        raise BadDataError(what, where=second.name, hint="Compare answers to the same records")
    for one in (first, second):
        if len(pairs) < len(one.groups):
            console.note(f"{one.name}: {len(one.groups) - len(pairs)} records are not in the other file")
    return first.take([index for index, _ in pairs]), second.take([index for _, index in pairs])

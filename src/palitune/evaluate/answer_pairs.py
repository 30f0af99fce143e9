"""Two files of answers to the same examples, side by side: where they say something else, and where the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data import answer_source, chat_turns
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError, UsageError
from palitune.evaluate import answer_files, blinding, several_answers
from palitune.evaluate.answer_files import Identity
from palitune.evaluate.blinding import Answer
from palitune.labels import plain


class AnswerPair(NamedTuple):
    """An example that two models answered differently.

    Attributes:
      question: that both were asked; empty where none is known, or the example's labels have one each.
      first: what the first said; of several labels, of those that were answered differently.
      second: the same of the second.
      same: of several labels those that both answered the same.
    """

    example: Example
    question: str
    first: Answer
    second: Answer
    same: Answer = ()

    @property
    def id(self) -> str:
        """What tells it from all others."""
        return blinding.id_of(self.example, self.first, self.second)


class AnswerPairs(NamedTuple):
    """The examples that two files have in common.

    Attributes:
      different: those that were answered differently, each once.
      same: how many were answered the same.
      repeated: how many others have the example and both answers of one that is there.
    """

    different: list[AnswerPair]
    same: int
    repeated: int


class _Answered(NamedTuple):
    """A file of answers: examples with what was said of each of their labels."""

    name: str
    examples: list[Example]
    answers: list[Answer]
    made: MadeWith | None


def of_files(first: str, second: str, quiet: bool = False) -> AnswerPairs:
    """The answers of two files to the examples that both have, in the first's order. Labels need not be known.

    Args:
      quiet: write no notes to stderr about the files themselves.

    Raises:
      UsageError: both are standard input.
      MissingInputError, BadDataError: no such file, a line without an answer, or other records or labels.
    """
    if first == second == "-":
        raise UsageError("standard input can be one of the files only")
    are_several = several_answers.are_in_all((first, second))
    both = [_read(file, are_several, quiet) for file in (first, second)]
    _require_same_labels(*both)
    names = both[0].name, both[1].name
    places = answer_files.paired(both[0].examples, both[1].examples, names, _identity)
    said = [str(answer) for answer in both[0].answers]
    answer_files.tell_of_repeated(both[0].name, both[0].examples, said, _identity)
    prompt = _common_prompt([one.made for one in both])
    found: dict[str, AnswerPair] = {}
    same = repeated = 0
    for here, there in places:
        pair = _pair(both[0].examples[here], both[0].answers[here], both[1].answers[there], prompt)
        if not pair.first:
            same += 1
        elif found.setdefault(pair.id, pair) is not pair:
            repeated += 1
    return AnswerPairs(list(found.values()), same, repeated)


def _read(file: str, are_several: bool, quiet: bool) -> _Answered:
    """The answers of a file. Raises as `of_files`."""
    examples: list[Example] = []
    answers: list[Answer] = []
    read = Reader(Path(file), labelled=False).answered()
    if are_several:
        for example, said in several_answers.each(example for _, (example, _) in read):
            examples.append(example)
            answers.append(tuple((one.target.name, one.text) for one in said))
    else:
        for _, (example, one) in read:
            examples.append(example)
            answers.append((("", _required(example, one).text),))
    return _Answered(file, examples, answers, answer_source.read(Path(file), quiet))


def _required(example: Example, said: Prediction | None) -> Prediction:
    if said is None:
        raise BadDataError("no answer here", where=example.where, hint=answer_files.ask_first())
    return said


def _identity(example: Example) -> Identity:
    """What is asked, with all that was said before, and all labels."""
    labels = sorted((one.name, one.answer or "") for one in example.targets)
    return chat_turns.asked(example.messages), ", ".join(f"{name} {label}".strip() for name, label in labels)


def _require_same_labels(first: _Answered, second: _Answered) -> None:
    """Raises BadDataError unless both files have answers to the same labels."""
    here, there = (list(dict.fromkeys(name for said in one.answers for name, _ in said)) for one in (first, second))
    if set(here) != set(there):
        what = f"the labels are {', '.join(there)} here and {', '.join(here)} in {first.name}"
        raise BadDataError(what, where=second.name, hint="Compare answers to the same labels")


def _common_prompt(made: Sequence[MadeWith | None]) -> str:
    """What examples without a question of their own were asked; empty where the files tell of several, or of none."""
    prompts = {one.prompt for one in made if one is not None}
    return prompts.pop() if len(prompts) == 1 else ""


def _pair(example: Example, first: Answer, second: Answer, prompt: str) -> AnswerPair:
    """Both answers to an example, in the first's order of labels."""
    others = dict(second)
    both = [(name, text, others.get(name, "")) for name, text in first]
    both += [(name, "", text) for name, text in second if name not in dict(first)]
    differ = [(name, text, other) for name, text, other in both if plain(text) != plain(other)]
    is_named = any(name for name, _, _ in both)
    return AnswerPair(
        example,
        example.prompt or ("" if is_named else example.asked(prompt)),
        tuple((name, text) for name, text, _ in differ),
        tuple((name, other) for name, _, other in differ),
        tuple((name, text) for name, text, other in both if is_named and plain(text) == plain(other)),
    )

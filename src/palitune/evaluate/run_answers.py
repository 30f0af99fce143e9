"""The answers of runs to the records that they were evaluated on, as far as their folders have them."""

from collections.abc import Sequence

from palitune.errors import PalituneError
from palitune.evaluate import answer_files, several_answers
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.past_run import PastRun
from palitune.evaluate.several_answers import SeveralAnswers

Either = Answers | SeveralAnswers


def read(run: PastRun) -> Either | None:
    """A run's answers; None where it has none that can be read."""
    if run.answers is None:
        return None
    try:
        if several_answers.are_in(run.answers):
            return several_answers.read(run.answers, quiet=True)
        return answer_files.read(run.answers, quiet=True)
    except (PalituneError, OSError):
        return None


def of_same_records(runs: Sequence[PastRun], like: Answers) -> dict[str, Answers]:
    """Answers of runs to the very records of others, in the same order, by the runs' folders; the rest is left out."""
    wanted = _records(like)
    found = {str(run.folder): read(run) for run in runs}
    return {
        folder: one
        for folder, one in found.items()
        if isinstance(one, Answers) and one.outcomes.classes == like.outcomes.classes and _records(one) == wanted
    }


def _records(one: Answers) -> list[tuple[str, str, str]]:
    return [(*example.key, label) for example, label in zip(one.examples, one.outcomes.labels, strict=True)]

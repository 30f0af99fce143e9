"""Summaries of files of answers: one file, or two with answers of different models to the same examples."""

from collections.abc import Sequence
from pathlib import Path

from palitune import console
from palitune.checkpoint.operating_point import Stored
from palitune.config.model import FolderSettings
from palitune.data import answer_source, dataset_files
from palitune.evaluate import answer_files, comparison
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.comparison import Comparison
from palitune.evaluate.report import summary
from palitune.evaluate.report.summary import Learned, Summary
from palitune.sentence import Sentence


def summarize_file(
    file: str,
    before: str | None = None,
    *,
    labels: tuple[str, ...] | None = None,
    positive: str | None = None,
    stored: Stored | None = None,
    learned: Learned | None = None,
    most: int = 60,
    images: FolderSettings | None = None,
    quiet: bool = False,
) -> Summary:
    """The summary of a file of answers.

    Args:
      before: a file with another model's answers to the same examples.
      labels: which there are; by default those that the file tells.
      positive: the one that counts as yes; by default the first of two.
      stored: the threshold of the model that gave the answers.
      learned: how that model was made.
      most: how many wrong answers are listed.
      images: where the images' files are, for a page that shows them; None if they are not needed.
      quiet: write no notes to stderr.

    Raises:
      MissingInputError, BadDataError: as `answer_files.read` and `answer_files.same_records`.
    """
    dataset_files.require_data(file)
    found, earlier = answer_files.read(Path(file), labels, quiet, positive), None
    if before:
        dataset_files.require_data(before)
        earlier = answer_files.read(Path(before), found.outcomes.classes, quiet, positive)
        earlier, found = answer_files.same_records(earlier, found)
    facts: dict[str, str] = {Sentence("answers"): file}
    if before:
        facts[Sentence("before")] = before
    facts |= _facts_of(found)
    threshold = answer_files.threshold_of(found.predictions, found.outcomes.classes)
    if threshold is None:
        threshold = summary.threshold_of(found.outcomes, stored.point.threshold if stored else None)
    if stored is not None:
        facts[Sentence("threshold")] = Sentence(
            "%(threshold).4g (%(chosen)s)"
            if threshold == stored.point.threshold
            else "%(threshold).4g (%(chosen)s) is stored, and is not what these answers were given with",
            threshold=stored.point.threshold,
            chosen=stored.chosen,
        )
    records = found.examples
    if images is not None:
        records = answer_files.located(records, Path(file), images)
    return summary.summarize(
        file, facts, records, found.outcomes, earlier.outcomes if earlier else None, threshold, most, learned
    )


def _facts_of(answers: Answers) -> dict[str, str]:
    """What the answers were made with, in words, where that is known."""
    made = answers.made
    if made is None:
        return {}
    facts: dict[str, str] = {
        Sentence("answered by"): made.model,
        Sentence("labels"): ", ".join(made.labels or ()),
    }
    if made.decode:
        return facts | {Sentence("answers are"): Sentence("written freely")}
    return facts | ({Sentence("threshold"): f"{made.threshold:.4g}"} if answers.outcomes.is_binary else {})


def compare_files(
    files: Sequence[str],
    *,
    labels: tuple[str, ...] | None = None,
    positive: str | None = None,
    quiet: bool = False,
) -> list[tuple[Answers, Answers, Comparison]]:
    """The first file with each of the others: both files' answers to their common examples, and what changed.

    Raises:
      MissingInputError, BadDataError: as `answer_files.read` and `answer_files.same_records`.
    """
    for file in files:
        dataset_files.require_data(file)
    first = answer_files.read(Path(files[0]), labels, quiet, positive)
    others = [answer_files.read(Path(file), first.outcomes.classes, quiet, positive) for file in files[1:]]
    for one in (first, *others):
        _tell_of_known(one, quiet)
    pairs = [answer_files.same_records(first, other) for other in others]
    return [(before, after, comparison.compare(before.outcomes, after.outcomes)) for before, after in pairs]


def _tell_of_known(one: Answers, quiet: bool) -> None:
    """Says on stderr how many of the records the model of some answers has learned from, or was chosen on."""
    if quiet or one.made is None or (seen := answer_source.read_seen(Path(one.name))) is None:
        return
    if said := seen.text("records"):
        console.note(f"{one.name}: {one.made.model} {said}: how it does on them is not how it does on new ones")


def summarize_comparison(before: Answers, after: Answers, images: FolderSettings) -> Summary:
    """The summary of the second answers against the first, with the images' files."""
    records = answer_files.located(after.examples, Path(after.name), images)
    facts: dict[str, str] = {Sentence("before"): before.name, Sentence("after"): after.name}
    threshold = answer_files.threshold_of(after.predictions, after.outcomes.classes)
    threshold = summary.threshold_of(after.outcomes) if threshold is None else threshold
    return summary.summarize(
        against(before.name, after.name), facts, records, after.outcomes, before.outcomes, threshold
    )


def against(before: str, after: str) -> str:
    """The title of a page that compares the second with the first."""
    return Sentence("%(after)s against %(before)s", after=after, before=before)

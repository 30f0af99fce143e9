"""A report about a file of answers, to one label of each record or to several: as text, as JSON, and as a page."""

from pathlib import Path

from palitune.checkpoint.operating_point import Stored
from palitune.config.model import FolderSettings
from palitune.evaluate import several_answers
from palitune.evaluate.report import from_files, page_files, several_report, summary
from palitune.evaluate.report import text as summary_text
from palitune.evaluate.report.several_report import SeveralSummary
from palitune.evaluate.report.summary import Learned, Summary

Report = Summary | SeveralSummary


def of_file(
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
) -> Report:
    """What there is to report of a file of answers. The arguments are as in `from_files.summarize_file`.

    To several labels of each record, which have names and thresholds of their own, `labels`, `positive` and `stored` do
    not matter.

    Raises:
      MissingInputError, BadDataError: a file is not there, or has other answers than it should.
    """
    if several_answers.are_in_all([file, *([before] if before else [])]):
        return several_report.of_file(file, before, learned=learned, most=most, images=images, quiet=quiet)
    return from_files.summarize_file(
        file,
        before,
        labels=labels,
        positive=positive,
        stored=stored,
        learned=learned,
        most=most,
        images=images,
        quiet=quiet,
    )


def text(one: Report) -> str:
    """The report for a terminal."""
    return several_report.text(one) if isinstance(one, SeveralSummary) else summary_text.text(one)


def as_json(one: Report) -> dict[str, object]:
    """Everything in it as JSON has it."""
    return several_report.as_json(one) if isinstance(one, SeveralSummary) else summary.as_json(one)


def write(target: Path, one: Report, lang: str | None, quiet: bool) -> None:
    """Writes the page. Raises ConfigurationError, StorageError as `page_files.write`."""
    if isinstance(one, SeveralSummary):
        several_report.write(target, one, lang, quiet)
    else:
        page_files.write(target, one, lang, quiet)

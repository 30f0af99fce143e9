"""Doubted labels as lines, as a sheet of images, and as a page."""

from pathlib import Path

from palitune import console
from palitune.evaluate import doubtful_labels
from palitune.evaluate.doubtful_labels import Doubts
from palitune.evaluate.report import page_files, plots


def write(
    doubts: Doubts,
    *,
    data: str,
    how: str,
    folds: int,
    sheet: Path | None,
    page: Path | None,
    lang: str | None,
    quiet: bool,
) -> list[str]:
    """Writes the sheet and the page that were asked for; the lines, the most doubtful first, are left to the caller.

    Args:
      data: the name of the examples' file.
      how: what has answered, as `doubtful_labels.summarize` takes it.

    Raises:
      BadDataError: a line cannot hold what is in an example.
      UsageError: a sheet was asked for, and no example is about an image.
      StorageError: a file cannot be written.
    """
    lines = doubtful_labels.answer_lines(doubts)
    if not quiet:
        count = doubts.right.count(False)
        console.note(f"{count} of {len(doubts.records)} labels are not what {how} says out of fold")
    if sheet is not None:
        chosen = [doubts.answers[i]._replace(example=doubts.records[i]) for i in doubts.order]
        plots.write_sheet(sheet, plots.sheet_images(chosen, str(sheet)), str(sheet), lang, quiet=True)
    if page is not None:
        page_files.write(page, doubtful_labels.summarize(doubts, data, how, folds), lang, quiet)
    return lines

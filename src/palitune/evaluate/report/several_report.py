"""A report about answers to several labels: what it says, as text, as JSON and as a page."""

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palitune import __version__, console
from palitune.config.model import FolderSettings
from palitune.data.example import Example
from palitune.errors import printable
from palitune.evaluate import answer_files, several_answers, several_comparison, several_labels
from palitune.evaluate.confusion import NEGATIVE, POSITIVE
from palitune.evaluate.label_table import UNKNOWN, YES
from palitune.evaluate.language import language_of
from palitune.evaluate.report import several_text
from palitune.evaluate.report.from_files import against
from palitune.evaluate.report.summary import Learned, told
from palitune.evaluate.report.text import advice_lines, between, value
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.evaluate.several_comparison import LabelFlip, SeveralComparison
from palitune.evaluate.several_labels import SeveralResult
from palitune.sentence import Sentence
from palitune.storage import atomic_files
from palitune.text_tables import aligned

LISTED = 10  # wrong records on a terminal
MOST_TEXT = 4_000  # characters of a text on a page


@dataclasses.dataclass(frozen=True)
class WrongRecord:
    """A record of which at least one answer is wrong.

    Attributes:
      sure: the highest probability that a wrong answer had; None where none is known.
      wrong: name, label and answer of each wrong one.
    """

    example: Example
    sure: float | None
    wrong: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class ChangedRecord:
    """A record of which at least one answer is another than that of another model."""

    example: Example
    flips: tuple[LabelFlip, ...]


@dataclasses.dataclass(frozen=True)
class SeveralSummary:
    """What a model's answers to several labels are worth.

    Attributes:
      facts: what was run, in words, by name.
      wrong: records with a wrong answer, the most confident first.
      wrong_total: how many there are, of which these are shown.
      comparison: with other answers to the same records, where there are some.
      changed: records with an answer that is another than there, and `changed_total` how many there are.
    """

    title: str
    facts: Mapping[str, str]
    result: SeveralResult
    wrong: Sequence[WrongRecord]
    wrong_total: int
    learned: Learned | None = None
    comparison: SeveralComparison | None = None
    changed: Sequence[ChangedRecord] = ()
    changed_total: int = 0


def of_file(
    file: str,
    before: str | None = None,
    *,
    learned: Learned | None = None,
    most: int = 60,
    images: FolderSettings | None = None,
    quiet: bool = False,
) -> SeveralSummary:
    """The summary of a file of answers. The arguments are as in `from_files.summarize_file`.

    Raises:
      MissingInputError, BadDataError: as `several_answers.read` and `several_answers.same_records`.
    """
    found, earlier = several_answers.read(Path(file), quiet), None
    if before:
        earlier, found = several_answers.same_records(several_answers.read(Path(before), quiet), found)
    facts: dict[str, str] = {Sentence("answers"): file}
    if before:
        facts[Sentence("before")] = before
    if found.made is not None:
        facts[Sentence("answered by")] = found.made.model
    return summarize(file, facts, found, learned, most, images, earlier)


def summarize(
    title: str,
    facts: Mapping[str, str],
    found: SeveralAnswers,
    learned: Learned | None = None,
    most: int = 60,
    images: FolderSettings | None = None,
    before: SeveralAnswers | None = None,
) -> SeveralSummary:
    """The summary of answers.

    Args:
      images: where the images' files are, of a page that shows them; None where they are not needed or known already.
      before: other answers to the same records in the same order.
    """
    comparison = several_comparison.compare(before.table, found.table) if before else None
    wrong, changed = wrong_records(found), changed_records(found, comparison) if comparison else []
    shown, flipped = wrong[:most], changed[:most]
    if images is not None:
        every = [*(one.example for one in shown), *(one.example for one in flipped)]
        placed = iter(answer_files.located(every, Path(found.name), images))
        shown = [dataclasses.replace(one, example=next(placed)) for one in shown]
        flipped = [dataclasses.replace(one, example=next(placed)) for one in flipped]
    return SeveralSummary(
        title,
        told(learned, facts, found.examples),
        several_labels.evaluate(found.table),
        shown,
        len(wrong),
        learned,
        comparison,
        flipped,
        len(changed),
    )


def summarize_comparison(before: SeveralAnswers, after: SeveralAnswers, images: FolderSettings) -> SeveralSummary:
    """The summary of the second answers against the first, with the images' files."""
    facts: dict[str, str] = {Sentence("before"): before.name, Sentence("after"): after.name}
    return summarize(against(before.name, after.name), facts, after, images=images, before=before)


def changed_records(found: SeveralAnswers, comparison: SeveralComparison) -> list[ChangedRecord]:
    """Records with answers that changed, in their order."""
    by_record = itertools.groupby(comparison.flips, key=lambda one: one.record)
    return [ChangedRecord(found.examples[record], tuple(flips)) for record, flips in by_record]


def wrong_records(found: SeveralAnswers) -> list[WrongRecord]:
    """Records of which an answer is wrong, by how sure the model was of it."""
    table = found.table
    wrong = (table.said != (table.truth == YES)) & (table.truth != UNKNOWN)
    sure = np.where(table.said, table.p, 1 - table.p)
    records = []
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        columns = np.flatnonzero(wrong[row]).tolist()
        cells = tuple(
            (table.names[column], *((NEGATIVE, POSITIVE) if table.said[row, column] else (POSITIVE, NEGATIVE)))
            for column in columns
        )
        known = [p for p in sure[row, columns].tolist() if not math.isnan(p)]
        records.append(WrongRecord(found.groups[row][0], max(known, default=None), cells))
    records.sort(key=lambda one: -1.0 if one.sure is None else one.sure, reverse=True)
    return records


def text(one: SeveralSummary) -> str:
    """The block of figures, then the most confident mistakes."""
    parts = [several_text.block(one.title, one.result)]
    parts.append("\n".join(printable(f"{name}: {fact}") for name, fact in one.facts.items()))
    if one.learned is not None and one.learned.next_runs:
        parts.append("\n".join(advice_lines(one.learned.next_runs)))
    if one.comparison is not None:
        lines = [*aligned(several_comparison.rows(one.comparison)), several_comparison.test_line(one.comparison)]
        parts.append("\n".join(lines))
    if one.wrong:
        lines = [f"wrong, most confident first ({min(LISTED, len(one.wrong))} of {one.wrong_total}):"]
        lines += [printable(_line(record)) for record in one.wrong[:LISTED]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(record: WrongRecord) -> str:
    said = ", ".join(f"{name} {answer} (is: {label})" for name, label, answer in record.wrong)
    sure = "" if record.sure is None else f" {record.sure:.4f}"
    return f"  {' '.join(record.example.subject.split())[:60]}: {said}{sure}"


def as_json(one: SeveralSummary) -> dict[str, object]:
    """Everything in it as JSON has it."""
    wrong = [
        {
            "subject": record.example.subject,
            "where": record.example.where,
            "probability": record.sure,
            "wrong": {name: {"label": label, "answer": answer} for name, label, answer in record.wrong},
        }
        for record in one.wrong
    ]
    content = {"title": one.title, "facts": dict(one.facts), **several_text.as_json(one.result), "wrong": wrong}
    if one.comparison is not None:
        content["comparison"] = several_comparison.figures_as_json(one.comparison)
    if one.learned is not None and one.learned.configuration is not None:
        content["configuration"] = dict(one.learned.configuration)
    if one.learned is not None and one.learned.next_runs:
        content["advice"] = [{"what": what, "command": command} for what, command in one.learned.next_runs]
    return content


def write(target: Path, one: SeveralSummary, lang: str | None, quiet: bool) -> None:
    """Writes the page, in a language as `language_of` has it, and its drawings beside it as `NAME-pr.png` and so on.

    Raises:
      ConfigurationError: matplotlib cannot draw.
      StorageError: a file cannot be written.
    """
    console.status("drawing", quiet)
    say = language_of(lang)
    from palitune.evaluate.report import canvas, page, page_files, several_curves  # matplotlib takes a second

    target.parent.mkdir(parents=True, exist_ok=True)
    drawings = several_curves.draw(one.result, say)
    examples = [*(record.example for record in one.wrong), *(record.example for record in one.changed)]
    images = {image.path: example.where for example in examples for image in example.images}
    configuration = one.learned.configuration if one.learned else None
    content = (
        page.environment(say)
        .get_template("several.html")
        .render(
            one=one,
            rows=several_text.rows(one.result),
            cards=_cards(one.result),
            changes=several_comparison.rows(one.comparison) if one.comparison else None,
            test=several_comparison.test_line(one.comparison) if one.comparison else None,
            drawings={name: page.address(drawn, "png") for name, drawn in drawings.items()},
            alternatives=page.ALTERNATIVES,
            losses=page.losses_of(one.learned, say),
            thumbnails={path: page.thumbnail(path, where) for path, where in images.items()},
            configuration=json.dumps(configuration, indent=2, ensure_ascii=False) if configuration else None,
            next_runs=one.learned.next_runs if one.learned else (),
            most_text=MOST_TEXT,
            version=__version__,
        )
    )
    for name, drawn in drawings.items():
        atomic_files.write(page_files.drawing_of(target, name), drawn)
    atomic_files.write(target, content.encode("utf-8", "replace"))
    if why := canvas.reason():
        console.note(f"{target}: {why}")
    if not quiet:
        console.note(f"wrote {target}, {target.stem}-{{{','.join(drawings)}}}.png beside it")


def _cards(result: SeveralResult) -> list[tuple[str, str, str]]:
    """Name, value and interval of what is shown first."""
    named = {
        Sentence("macro F-measure"): result.macro["f_measure"],
        Sentence("micro F-measure"): result.micro["f_measure"],
        Sentence("exact match"): result.exact_match,
        Sentence("macro PR area"): result.macro["average_precision"],
        Sentence("macro recall"): result.macro["recall"],
        Sentence("macro precision"): result.macro["precision"],
    }
    return [(name, value(figure.value), between(figure.low, figure.high)) for name, figure in named.items()]

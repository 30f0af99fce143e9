"""A page about answers of free text: what they are worth, and those that are least like the right ones."""

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from palitune import __version__, console
from palitune.data.prediction import Prediction
from palitune.errors import printable
from palitune.evaluate.confusion import is_right
from palitune.evaluate.language import language_of
from palitune.evaluate.report import summary
from palitune.evaluate.report.summary import Learned
from palitune.storage import atomic_files

MOST = 60  # wrong answers that are shown
COMPARED = 2_000  # characters of an answer that decide how much it is like the right one
MOST_TEXT = 4_000  # characters of a text


@dataclasses.dataclass(frozen=True)
class TextSummary:
    """What a model's free text is worth.

    Attributes:
      facts: what was run, in words, by name.
      blocks: result blocks as they are printed.
      worst: wrong answers, the one least like the right one first, of `wrong` that there are.
      total: answers.
    """

    title: str
    facts: Mapping[str, str]
    blocks: Sequence[str]
    worst: Sequence[Prediction]
    wrong: int
    total: int
    learned: Learned | None = None


def summarize(
    title: str,
    facts: Mapping[str, str],
    blocks: Sequence[str],
    predictions: Sequence[Prediction],
    total: int,
    wrong: int | None = None,
    learned: Learned | None = None,
) -> TextSummary:
    """The summary of answers.

    Args:
      predictions: of all examples, or of some that were answered wrong.
      total: examples.
      wrong: how many were answered wrong; None counts them.
    """
    found = [one for one in predictions if not is_right(one.text, one.example.label)]
    worst = sorted(found, key=_likeness)[:MOST]
    shown = summary.told(learned, facts, [one.example for one in predictions])
    return TextSummary(title, shown, blocks, worst, len(found) if wrong is None else wrong, total, learned)


def _likeness(one: Prediction) -> float:
    """The share of characters that an answer and the right one have in common, 0 to 1, in whatever order."""
    return difflib.SequenceMatcher(
        None, one.text[:COMPARED], one.example.label[:COMPARED], autojunk=False
    ).quick_ratio()


def text(value: str) -> str:
    """A text with its own lines, what is not plain escaped, and at most `MOST_TEXT` characters."""
    return "\n".join(map(printable, value[:MOST_TEXT].splitlines()))


def write(target: Path, one: TextSummary, lang: str | None, quiet: bool) -> None:
    """Writes the page, in a language as `language_of` has it. Raises StorageError."""
    console.status("drawing", quiet)
    say = language_of(lang)
    from palitune.evaluate.report import page  # which imports a library of templates

    learned = one.learned
    images = {image.path: said.example.where for said in one.worst for image in said.example.images}
    configuration = learned.configuration if learned else None
    content = (
        page.environment(say)
        .get_template("text.html")
        .render(
            one=one,
            losses=page.losses_of(learned, say),
            next_runs=learned.next_runs if learned else (),
            thumbnails={path: page.thumbnail(path, where) for path, where in images.items()},
            configuration=json.dumps(configuration, indent=2, ensure_ascii=False) if configuration else None,
            text=text,
            version=__version__,
        )
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(target, content.encode("utf-8", "replace"))
    if not quiet:
        console.note(f"wrote {target}")

"""Failures as one HTML file that needs nothing else, with their texts and images; filters without a script."""

import collections
import itertools
from pathlib import Path

from palitune import __version__, console
from palitune.confidence_interval import wilson_interval
from palitune.errors import printable
from palitune.evaluate.failures import Failures
from palitune.evaluate.language import Language, language_of
from palitune.evaluate.report.page import environment, thumbnail
from palitune.sentence import Sentence
from palitune.storage import atomic_files

MOST_THUMBNAILS = 2_000  # different images that a page holds, some 10 kB each
MOST_PAIRS = 500  # that can be shown alone; free text has a pair for each failure
MOST_TEXT = 4_000  # characters of a text


def html(failures: Failures, say: Language) -> str:
    """The page: counts by file and by pair, then every failure, the most confident first.

    Args:
      say: the language of the page.
    """
    images = list(dict.fromkeys(image.path for one in failures.found for image in one.example.images))
    by_file = collections.Counter((one.file, one.pair) for one in failures.found)
    return (
        environment(say)
        .get_template("failures.html")
        .render(
            found=failures.found,
            files=[(one, wilson_interval(one.wrong, one.total)) for one in failures.files],
            pairs=dict(itertools.islice(failures.pairs.items(), MOST_PAIRS)),
            all_pairs=len(failures.pairs),
            by_file=by_file,
            file_numbers={one.file: number for number, one in enumerate(failures.files)},
            pair_numbers={pair: number for number, pair in enumerate(failures.pairs) if number < MOST_PAIRS},
            thumbnails={path: thumbnail(path) for path in images[:MOST_THUMBNAILS]},
            left_out=max(0, len(images) - MOST_THUMBNAILS),
            text=text,
            version=__version__,
        )
    )


def write(target: Path, failures: Failures, lang: str | None, quiet: bool) -> None:
    """Writes the page, in a language as `language_of` has it. Raises StorageError."""
    console.status("drawing", quiet)
    say = language_of(lang)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(target, html(failures, say).encode("utf-8", "replace"))
    if not quiet:
        console.note(f"wrote {target}")


def text(value: str) -> str:
    """A text as the page shows it: its own lines, what is not plain escaped, and at most `MOST_TEXT` characters."""
    shown = "\n".join(map(printable, value[:MOST_TEXT].splitlines()))
    if len(value) <= MOST_TEXT:
        return shown
    return Sentence("%(text)s … and %(count)s characters more", text=shown, count=f"{len(value) - MOST_TEXT:,}")

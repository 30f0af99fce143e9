"""A page on which people vote for one of two answers, in one HTML file that needs nothing else.

All of its sentences are in its template, `vote.html`, and its script `vote.js` has none.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import __version__, console, randomness
from palitune.config.model import FolderSettings
from palitune.data import chat_turns
from palitune.data.example import Example, Image, Message
from palitune.errors import BadDataError, MissingInputError, printable
from palitune.evaluate import answer_files, answer_pairs, blinding
from palitune.evaluate.answer_pairs import AnswerPair, AnswerPairs
from palitune.evaluate.blinding import Answer, Ballot
from palitune.evaluate.language import Language, language_of
from palitune.evaluate.report.page import environment, thumbnail
from palitune.storage import atomic_files

LONGER_SIDE = 480  # pixels of an image: some 40 kB
TAB = 4  # blanks
SCRIPT = Path(__file__).with_name("vote.js")


class Shown(NamedTuple):
    """What a page shows.

    Attributes:
      images: as data addresses, by their files.
    """

    ballot: Ballot
    pairs: list[AnswerPair]
    images: dict[Path, str]


def write(
    target: Path,
    files: tuple[str, str],
    lang: str | None = None,
    *,
    images: FolderSettings,
    seed: int = 0,
    most: int | None = None,
    quiet: bool = False,
) -> None:
    """Writes the page about two files of answers to the same examples.

    Args:
      lang: the page's language, as `language_of` has it.
      images: where the images' files are.
      seed: of the order of the examples, and of which answer is on the left.
      most: how many examples, drawn at random; None is all.
      quiet: write no notes to stderr about what is on the page.

    Raises:
      MissingInputError: there is no such file, or no image is found.
      BadDataError: as `answer_pairs.of_files`, or all answers are the same.
      StorageError: the page cannot be written.
    """
    pairs = answer_pairs.of_files(*files, quiet)
    if not pairs.different:
        what = f"all {pairs.same} answers are the same in both files, so there is nothing to vote on"
        raise BadDataError(what, where=files[1])
    chosen = drawn(pairs.different, seed, most)
    beside = Path(next(file for file in files if file != "-"))
    located = answer_files.located([one.example for one in chosen], beside, images)
    console.status("drawing", quiet)
    chosen = [pair._replace(example=example) for pair, example in zip(chosen, located, strict=True)]
    shown = show(chosen, seed)
    if not shown.pairs:
        raise MissingInputError("no image is found", where=files[1], hint="-i FOLDER names their folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(target, html(shown, language_of(lang)).encode("utf-8", "replace"))
    if not quiet:
        _tell(target, pairs, len(chosen), len(shown.pairs))


def drawn(pairs: Sequence[AnswerPair], seed: int, most: int | None = None) -> list[AnswerPair]:
    """At most so many pairs in an order that the seed and their content tell, whatever the order in their files."""
    known = sorted(pairs, key=lambda one: one.id)
    order = randomness.generator(seed, "order of votes").permutation(len(known))
    return [known[place] for place in order[:most]]


def show(pairs: Sequence[AnswerPair], seed: int) -> Shown:
    """What a page shows of pairs: those whose images can be read."""
    places = {image.path: pair.example.where for pair in pairs for image in _images(pair.example)}
    images = {path: made for path, where in places.items() if (made := thumbnail(path, where, LONGER_SIDE)) is not None}
    there = [pair for pair in pairs if all(image.path in images for image in _images(pair.example))]
    return Shown(Ballot(seed, tuple(pair.id for pair in there)), there, images)


def html(shown: Shown, say: Language) -> str:
    """The page, in a language: nothing in it says which file an answer is of, nor the names of both."""
    numbers = {path: number for number, path in enumerate(shown.images)}
    script = SCRIPT.read_text("utf-8")
    source = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content = {
        "format": blinding.FORMAT,
        "version": blinding.VERSION,
        "page": shown.ballot.page,
        "seed": shown.ballot.seed,
        "records": [_record(pair, shown.ballot.seed, numbers) for pair in shown.pairs],
        "images": list(shown.images.values()),
    }
    return (
        environment(say)
        .get_template("vote.html")
        .render(
            content=content,
            count=len(shown.pairs),
            script=script,
            script_source=f"sha256-{source}",
            choices=blinding.CHOICES,
            version=__version__,
        )
    )


def _images(example: Example) -> list[Image]:
    return [part for message in chat_turns.asked(example.messages) for part in message.parts if isinstance(part, Image)]


def _record(pair: AnswerPair, seed: int, numbers: dict[Path, int]) -> dict[str, object]:
    """An example as the page's script reads it, with its answers in their places."""
    left, right = pair.first, pair.second
    if not blinding.first_is_left(seed, pair.id):
        left, right = right, left
    messages = chat_turns.asked(pair.example.messages)
    turns = [_turn(message, message.text, numbers) for message in messages]
    if len(messages) == 1:
        turns = [_turn(messages[0], pair.question, numbers)]
    answers = {"left": _texts(left), "right": _texts(right), "same": _texts(pair.same)}
    return {"id": pair.id, "turns": turns, **answers}


def _turn(message: Message, text: str, numbers: dict[Path, int]) -> dict[str, object]:
    images = [numbers[part.path] for part in message.parts if isinstance(part, Image)]
    return {
        "role": message.role,
        "images": images,
        "about": list(map(plain_lines, message.contents)),
        "text": plain_lines(text),
    }


def _texts(answer: Answer) -> list[tuple[str, str]]:
    return [(printable(name), plain_lines(text)) for name, text in answer]


def plain_lines(text: str) -> str:
    """A text with its own lines, and what is not plain escaped."""
    return "\n".join(map(printable, text.expandtabs(TAB).splitlines()))


def _tell(target: Path, pairs: AnswerPairs, chosen: int, shown: int) -> None:
    """Says what is on the page, and what is not."""
    console.note(f"wrote {target}: {shown} of {len(pairs.different)} examples that were answered differently")
    if pairs.same:
        console.note(f"{pairs.same} examples are left out: both answers are the same")
    if pairs.repeated:
        console.note(f"{pairs.repeated} examples are left out: another has the same question and the same two answers")
    if chosen > shown:
        console.note(f"{chosen - shown} examples are left out: their image cannot be read")
    if len(pairs.different) > chosen:
        console.note(f"{len(pairs.different) - chosen} examples are left out, at random: --most N takes more")

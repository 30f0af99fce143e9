"""Asking a model about records and counting its answers."""

import collections
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.images.decoder import Decoding, frames_to_score
from palitune.data.images.loader import ImageRequest, ImageSource, raise_all
from palitune.data.tokens import Text
from palitune.errors import PalituneError, UsageError
from palitune.evaluate import answers, confusion, metrics
from palitune.evaluate.answers import Answer
from palitune.evaluate.metrics import Judged
from palitune.infer.answering import Answering
from palitune.infer.decoding import Writer
from palitune.infer.loading import Model
from palitune.infer.scoring import Scorer

MOST_FRAMES = 5


def tell_of_questions(sets: Iterable[Sequence[Example]], prompt: str | None, quiet: bool) -> None:
    """Says on stderr that a --prompt is asked by no record, because each has a question of its own."""
    if prompt is not None and not quiet and all(record.prompt for found in sets for record in found):
        print("--prompt has no effect: every record asks a question of its own", file=sys.stderr)


def located(
    asked: Iterable[Example], images: ImageFolders, on_bad: Callable[[PalituneError], None] | None = None
) -> Iterator[Example]:
    """Records with their pictures' files; `on_bad` as in `Judge.stream`."""
    for record in asked:
        try:
            yield record.with_image(path=images.locate(record.image.name, record.where))
        except PalituneError as error:
            _tell(error, on_bad)


def picture_problems(
    asked: Iterable[Example], images: ImageFolders, pictures: ImageSource, frames: "Frames"
) -> list[PalituneError]:
    """What is wrong with records' pictures, by line; the device is left alone."""
    found: list[PalituneError] = []
    expanded = _wanted(located(asked, images, found.append), frames, found.append)
    found += list(pictures.problems(one for _, several in expanded for one in several))
    return sorted(found, key=lambda problem: int((problem.where or "0").rpartition(":")[2]))


class Verdict(NamedTuple):
    """Answers in the order of their records."""

    labels: list[str]
    answers: list[Answer]
    classes: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        return [answer.text for answer in self.answers]

    @property
    def judged(self) -> Judged:
        return metrics.judged(self.labels, self.texts, [answer.p_yes for answer in self.answers], self.classes)

    @property
    def confusion(self) -> confusion.Confusion:
        """Of two classes."""
        return confusion.count(self.labels, self.texts, self.classes)


class Frames(NamedTuple):
    """Which frames of an animated picture are judged, and which of them counts."""

    how: Decoding
    most: int | None = None  # evenly spaced ones; None is the one that `how` says
    pool: str = "worst"  # worst (least sure of yes), mean or best


def check_pictures(sets: Iterable[Sequence[Example]], pictures: ImageSource, frames: Frames | None = None) -> None:
    """Looks at every picture of some sets, so that nothing is found out halfway.

    Raises:
      MissingInputError, BadDataError: naming all pictures that cannot be used.
    """
    problems: list[PalituneError] = []
    asked = (record for found in sets for record in found)
    wanted = [one for _, several in _wanted(asked, frames, problems.append) for one in several]
    raise_all(problems)
    pictures.check(wanted)


def frames_of(
    how: Decoding, frames: str | None = None, most_frames: int | None = None, pool: str | None = None
) -> Frames:
    """Which frames of animated images are used: one, or with `frames` "all" up to `most_frames` of them, pooled.

    Raises:
      UsageError: the number of frames or the pooling is given without `frames` "all".
    """
    if frames != "all" and (most_frames or pool):
        raise UsageError("--most-frames and --pool are for --frames all")
    return Frames(how, (most_frames or MOST_FRAMES) if frames == "all" else None, pool or "worst")


class Judge:
    """Judges parameters of one model on any records, with one compiled program."""

    def __init__(
        self,
        model: Model,
        pictures: ImageSource,
        prompt: str,
        quiet: bool,
        frames: Frames | None = None,
        batch_size: int = 8,
        answering: Answering | None = None,
    ) -> None:
        self.answering = answering or Answering()
        self.scorer = Scorer(model.sizes, model.tokenizer, self.answering.labels, model.dtype, batch_size)
        self.writer = Writer(model.sizes, model.tokenizer, model.dtype, batch_size) if self.answering.decode else None
        self.tokenizer, self.pictures, self.prompt, self.frames = model.tokenizer, pictures, prompt, frames
        self.source = model.path
        self.tokenizer.prompt(prompt, "the question of records that have none")  # refused now if it is too long
        self.silent = quiet or not sys.stderr.isatty()

    def __call__(self, params: Mapping[str, Any], asked: Sequence[Example]) -> Verdict:
        answering = self.stream(params, asked)
        bar = tqdm(answering, "validating", len(asked), unit="pictures", leave=False, disable=self.silent)
        return Verdict([record.label for record in asked], [said for _, said in bar], self.answering.labels)

    def stream(
        self,
        params: Mapping[str, Any],
        asked: Iterable[Example],
        on_bad: Callable[[PalituneError], None] | None = None,
    ) -> Iterator[tuple[Example, Answer]]:
        """Records with answers, in order, as soon as their batch is done; keeps a few batches of them at a time.

        Args:
          on_bad: takes what is wrong with a picture, whose record is left out then; without it that is raised.
        """
        ahead, listed = itertools.tee(_wanted(asked, self.frames, on_bad))
        shown = self.pictures.prefetch(wanted for _, all_wanted in ahead for wanted in all_wanted)
        pending: collections.deque[tuple[Example, int]] = collections.deque()

        def questions() -> Iterator[tuple[Any, Text]]:
            for record, wanted in listed:
                found = [next(shown) for _ in wanted]
                sound = [one for one in found if not isinstance(one, PalituneError)]
                if len(sound) < len(found):
                    problem = next(one for one in found if isinstance(one, PalituneError))
                    _tell(problem, on_bad)
                    continue
                prompt = self.tokenizer.prompt(record.prompt or self.prompt, record.where)
                pending.append((record, len(sound)))
                for one in sound:
                    yield one, prompt

        labels, decode, point = self.answering
        pool = self.frames.pool if self.frames else "worst"
        for_scores, for_texts = itertools.tee(questions())
        texts = self.writer(params, for_texts) if self.writer else itertools.repeat("")
        both = zip(self.scorer(params, for_scores), texts, strict=False)
        for first in both:
            record, count = pending.popleft()
            found, written = zip(first, *(next(both) for _ in range(count - 1)), strict=True)
            scores, said = np.stack(found), [text for text in written if text is not None]
            is_whole = len(said) == len(written)  # None is written of logits that are no numbers
            answers.require_numbers(scores if is_whole else np.full(1, np.nan), record, self.source)
            p = answers.pooled(answers.probabilities(scores, point.temperature), pool)
            yield record, answers.answer(p, labels, point, said if decode else ())


def _wanted(
    asked: Iterable[Example], frames: Frames | None, on_bad: Callable[[PalituneError], None] | None
) -> Iterator[tuple[Example, list[ImageRequest]]]:
    """Every record with the picture, or frames of it, that it is judged by."""
    for record in asked:
        try:
            numbers = frames_to_score(record.image.path, record.where, frames.how, frames.most) if frames else [None]
        except PalituneError as error:
            _tell(error, on_bad)
            continue
        yield record, [ImageRequest(record.image.path, record.where, number) for number in numbers]


def _tell(problem: PalituneError, on_bad: Callable[[PalituneError], None] | None) -> None:
    if on_bad is None:
        raise problem
    on_bad(problem)

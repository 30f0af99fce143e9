"""What is asked of a model together: examples with their targets, and the images, or frames of them, they are about."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.config.model import ALL_FRAMES, EvaluatedImageSettings
from palitune.data.encode import Encoded
from palitune.data.example import Example, Target
from palitune.data.image_folders import ImageFolders
from palitune.data.images.decoder import Decoding, frames_to_score
from palitune.data.images.loader import ImageRequest, ImageSource, raise_all
from palitune.data.templates import SharedBeginning, Template
from palitune.errors import PalituneError
from palitune.infer.opening import decoding

MOST_FRAMES = 5


class Frames(NamedTuple):
    """Which frames of an animated image are scored, and which of them counts."""

    how: Decoding
    most: int | None = None  # evenly spaced ones; None is the one that `how` says
    pool: str = "worst"  # worst (least sure of yes), mean or best


class Asked(NamedTuple):
    """What goes through the model together: an example with one target, or with several questions about its beginning.

    Attributes:
      questions: of the targets; None where the prompt is the only one.
      block: of the example, where examples are asked about in blocks.
    """

    example: Example
    targets: tuple[Target, ...]
    choices: tuple[str, ...] | None
    questions: tuple[str, ...] | None = None
    block: int = 0

    def prompt(self, template: Template, default: str) -> Encoded:
        """What is asked, or the beginning of several questions. Raises as `Template.prompt`."""
        if self.questions is not None and isinstance(template, SharedBeginning):
            return template.beginning(self.example)
        return template.prompt(self.example.only(self.targets[0]), default)


def asked_of(
    examples: Iterable[Example],
    template: Template,
    default: str,
    on_bad: Callable[[PalituneError], None] | None,
    block_size: int | None = None,
) -> Iterator[Asked]:
    """Every example with its targets; those of the same choices together where the template can.

    Args:
      block_size: examples that make a block, by their numbers.
    """
    for example in examples:
        block = 0 if block_size is None else example.number // block_size
        try:
            template.require(example)
        except PalituneError as error:
            tell(error, on_bad)
            continue
        if len(example.targets) == 1 or not isinstance(template, SharedBeginning):
            yield from (Asked(example, (target,), target.choices, block=block) for target in example.targets)
            continue
        for choices, several in itertools.groupby(example.targets, key=lambda target: target.choices):
            targets = tuple(several)
            questions = tuple(example.only(target).asked(default) for target in targets)
            yield Asked(example, targets, choices, questions, block)


def requests(
    asked: Iterable[Asked], frames: Frames | None, on_bad: Callable[[PalituneError], None] | None
) -> Iterator[tuple[Asked, list[ImageRequest]]]:
    """What is asked with the image, or frames of it, that is scored; with none where it has none."""
    for one in asked:
        example = one.example
        if not example.images:
            yield one, []
            continue
        image = example.image
        try:
            numbers = frames_to_score(image.path, example.where, frames.how, frames.most) if frames else [None]
        except PalituneError as error:
            tell(error, on_bad)
            continue
        yield one, [ImageRequest(image.path, example.where, number) for number in numbers]


def tell(problem: PalituneError, on_bad: Callable[[PalituneError], None] | None) -> None:
    """Gives a problem to who takes it, or raises it."""
    if on_bad is None:
        raise problem
    on_bad(problem)


def tell_of_questions(sets: Iterable[Sequence[Example]], prompt: str | None, quiet: bool) -> None:
    """Says on stderr that a --prompt is asked by no record, because each has a question of its own."""
    if prompt is not None and not quiet and all(record.prompt for found in sets for record in found):
        print("--prompt has no effect: every record asks a question of its own", file=sys.stderr)


def located(
    asked: Iterable[Example], images: ImageFolders, on_bad: Callable[[PalituneError], None] | None = None
) -> Iterator[Example]:
    """Examples with their images' files; `on_bad` as in `Predictor.predict`."""
    for record in asked:
        try:
            yield images.placed(record)
        except PalituneError as error:
            tell(error, on_bad)


def image_problems(
    asked: Iterable[Example], images: ImageFolders, source: ImageSource, frames: Frames
) -> list[PalituneError]:
    """What is wrong with examples' images, by line; the device is not used."""
    found: list[PalituneError] = []
    expanded = requests(_whole(located(asked, images, found.append)), frames, found.append)
    found += list(source.problems(one for _, several in expanded for one in several))
    return sorted(found, key=lambda problem: int((problem.where or "0").rpartition(":")[2]))


def _whole(examples: Iterable[Example]) -> Iterator[Asked]:
    """Each example once, whatever is asked of it."""
    return (Asked(example, example.targets, None) for example in examples)


def check_images(sets: Iterable[Sequence[Example]], source: ImageSource, frames: Frames | None = None) -> None:
    """Checks every image of some sets, so that nothing is found out halfway.

    Raises:
      MissingInputError, BadDataError: naming all images that cannot be used.
    """
    problems: list[PalituneError] = []
    asked = _whole(record for found in sets for record in found)
    wanted = [one for _, several in requests(asked, frames, problems.append) for one in several]
    raise_all(problems)
    source.check(wanted)


def frames_of(source: Path, images: EvaluatedImageSettings) -> Frames:
    """Which frames of animated images are scored: one, or several that are pooled.

    Args:
      source: the model's checkpoint, which knows the frame that is used where the settings name none.
    """
    several = images.frames == ALL_FRAMES
    return Frames(
        decoding(source, images), (images.most_frames or MOST_FRAMES) if several else None, images.pool or "worst"
    )

"""What options take: texts to values, with a line for what cannot be one. Imports nothing heavy."""

import argparse
import math
import re

from palitune import path_patterns
from palitune.data.formats.lines import LONGEST
from palitune.data.labels import LABELS, plain_set

AUGMENTATIONS = ("flip", "crop", "color")
LARGEST = 10**9
MOST_CHUNKS = 1024
MOST_FOLDS = 100


def positive_int(text: str) -> int:
    """Returns a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is more than {LARGEST}")
    return value


def non_negative_int(text: str) -> int:
    """Returns a whole number from 0."""
    return 0 if text == "0" else positive_int(text)


def prompt(text: str) -> str:
    """Returns a prompt that is not too long."""
    if len(text) > LONGEST:
        raise argparse.ArgumentTypeError(f"{len(text)} characters, {LONGEST} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not UTF-8 text") from None
    return text


def seed(text: str) -> int:
    """Returns a seed from 0 to 2³² - 1."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**32 - 1}")
    return value


def positive_float(text: str) -> float:
    """Returns a number above 0 that float32 can hold."""
    value = float(text)
    if not 1.2e-38 < value < 3.4e38:  # float32 has no room for others
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 that can be computed with")
    return value


def folds(text: str) -> int:
    """Returns a number of folds."""
    value = positive_int(text)
    if not 2 <= value <= MOST_FOLDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 2 and {MOST_FOLDS}")
    return value


def chunks(text: str) -> int:
    """Returns a number of chunks of a batch."""
    value = positive_int(text)
    if value > MOST_CHUNKS:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST_CHUNKS}")
    return value


def share(text: str) -> float:
    """Returns a share of at least 0 and below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0 and below 1")
    return value


def probability(text: str) -> float:
    """Returns a probability from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def labels(text: str) -> tuple[str, ...]:
    """Returns two or more different labels, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    names = [name.lower() if name.lower() in LABELS else name for name in names]  # as records are read
    if len(names) < 2 or not all(names) or len(plain_set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} are not two or more different labels with commas between them")
    for name in names:
        prompt(name)
    return tuple(names)


def augmentations(text: str) -> tuple[str, ...]:
    """Returns kinds of augmentation, separated by commas."""
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(AUGMENTATIONS)}")
    return kinds


def frames(text: str) -> str:
    """Returns which frame of an animated image is used."""
    if text not in ("first", "middle", "last") and not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no frame: first, middle, last or a number from 0")
    return text


def any_frames(text: str) -> str:
    """Returns which frame of an animated image is used, or "all"."""
    try:
        return text if text == "all" else frames(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or all") from None


def expression(text: str) -> str:
    """Returns a regular expression that Python can compile."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression ({error})") from None
    return text


def path_expression(text: str) -> str:
    """Of parameter paths: what `patterns` takes."""
    try:
        path_patterns.compiled(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no regular expression over paths ({error})") from None
    return text


def rule(text: str) -> tuple[str, float]:
    """`REGEX=VALUE`, or a value alone, for all paths."""
    pattern, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor REGEX=NUMBER") from None
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{value} is not a number of at least 0")
    return path_expression(pattern) or ".*", number

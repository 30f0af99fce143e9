"""What options take: kinds of values as types of argparse, which shows their messages. Imports nothing heavy."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from palitune.config.answering import Labels
from palitune.config.value_kinds import (
    COUNT,
    POSITIVE,
    POSITIVE_NUMBER,
    PROBABILITY,
    SEED,
    SHARE,
    Expression,
    Kind,
    PathExpression,
    Prompt,
    Whole,
)

T = TypeVar("T")
MOST_FOLDS = 100


def typed(kind: Kind[T]) -> Callable[[str], T]:
    """A kind as argparse takes it."""

    def parse(text: str) -> T:
        try:
            return kind.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


positive_int = typed(POSITIVE)
non_negative_int = typed(COUNT)
positive_float = typed(POSITIVE_NUMBER)
seed = typed(SEED)
share = typed(SHARE)
probability = typed(PROBABILITY)
folds = typed(Whole(2, MOST_FOLDS))
prompt = typed(Prompt())
labels = typed(Labels())
expression = typed(Expression())
path_expression = typed(PathExpression())

"""Asking a model about records and counting its answers, as `learn` and `validate` do it."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from palitune.cli.model import Model
from palitune.data import records
from palitune.data.pictures import Pictures
from palitune.data.records import Record
from palitune.data.tokens import Text
from palitune.infer.decoding import Answerer
from palitune.infer.features import Features
from palitune.judge import confusion


def load_records(path: Path, args: argparse.Namespace) -> list[Record]:
    """A file's records, each with a yes/no label.

    Raises:
      MissingInputError, BadDataError: naming the line.
    """
    found = records.read(path, Path(args.images) if args.images else None)
    records.require_labels(found)
    return found


def check_pictures(sets: Iterable[Sequence[Record]], pictures: Pictures | Features) -> None:
    """Looks at every picture of some sets, so that nothing is found out halfway.

    Raises:
      MissingInputError, BadDataError: naming all pictures that cannot be used.
    """
    pictures.check((record.image, record.where) for found in sets for record in found)


class Verdict(NamedTuple):
    """Answers in the order of their records."""

    answers: list[str]
    confusion: confusion.Confusion


class Judge:
    """Judges parameters of one model on any records, with one compiled program."""

    def __init__(self, model: Model, pictures: Pictures | Features, prompt: str, quiet: bool) -> None:
        self.answerer = Answerer(model.sizes, model.tokenizer, model.dtype)
        self.tokenizer, self.pictures, self.prompt = model.tokenizer, pictures, prompt
        self.silent = quiet or not sys.stderr.isatty()

    def __call__(self, params: Mapping[str, Any], asked: Sequence[Record]) -> Verdict:
        def questions() -> Iterator[tuple[Any, Text]]:
            for record in asked:
                prompt = self.tokenizer.prompt(record.prefix or self.prompt)
                yield self.pictures(record.image, record.where), prompt

        answering = self.answerer(params, questions())
        bar = tqdm(answering, "validating", len(asked), unit="pictures", leave=False, disable=self.silent)
        answers = list(bar)
        return Verdict(answers, confusion.count([record.suffix for record in asked], answers))

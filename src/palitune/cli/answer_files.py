"""Files of answers, as inference writes them, made ready to be judged."""

import argparse
import collections
import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.cli.judging import folders
from palitune.data import records
from palitune.data.records import LABELS, Record
from palitune.errors import BadDataError, PalituneError
from palitune.judge import metrics
from palitune.judge.metrics import Judged

MOST_CLASSES = 50
ASK = "Ask a model first: ./13-inference.py -d FILE > OUT"


class Answers(NamedTuple):
    """Labelled records with answers, and the same to be judged."""

    name: str
    records: list[Record]
    judged: Judged


def read(path: Path, args: argparse.Namespace) -> Answers:
    """The labelled answers of a file, with their pictures where they are found.

    Raises:
      MissingInputError, BadDataError: no such file, no answers, or labels that are none of `args.labels`.
    """
    found, unlabelled = [], 0
    for record in records.stream(path, labelled=False):
        if record.answer is None:
            raise BadDataError("no answer here", where=record.where, hint=ASK)
        if record.suffix:
            found.append(record)
        else:
            unlabelled += 1
    if unlabelled:
        print(f"{path}: {unlabelled} lines without a label are left out", file=sys.stderr)
    if not found:
        raise BadDataError("there are no labels here", where=str(path), hint="Unlabelled answers: palitune uncertain")
    return Answers(str(path), found, judge(found, classes_of(found, args)))


def classes_of(found: Sequence[Record], args: argparse.Namespace) -> tuple[str, ...]:
    """The labels as typed, or yes and no, or those that the lines tell.

    Raises:
      BadDataError: a label is none of those that were typed, or there are too many of them.
    """
    typed: tuple[str, ...] | None = args.labels
    there = collections.Counter(record.suffix for record in found)
    if typed is None and set(there) <= set(LABELS):
        return LABELS
    if typed is None:
        scores = found[0].fields.get("p")
        if isinstance(scores, dict) and len(scores) > 1 and set(there) <= set(scores):
            return tuple(scores)  # in the order in which the model was asked
        if len(there) > MOST_CLASSES:
            what = f"{len(there)} different labels: this is text and no choice"
            raise BadDataError(what, where=found[0].where.rpartition(":")[0], hint="--labels A,B,C names them")
        return tuple(sorted(there)) if len(there) > 1 else (*there, "(other)")
    for record in found:
        if record.suffix not in typed:
            what = f'label "{record.suffix[:40]}" is none of {", ".join(typed)}'
            raise BadDataError(what, where=record.where, hint="--labels names others")
    return typed


def judge(found: Sequence[Record], classes: tuple[str, ...]) -> Judged:
    answers = [record.answer or "" for record in found]
    return metrics.judged([record.suffix for record in found], answers, [record.p_yes for record in found], classes)


def located(found: Iterable[Record], path: Path, args: argparse.Namespace) -> list[Record]:
    """Records with their pictures' files; says once how many pictures are not there."""
    images, missing, result = folders(path, args), [], []
    for record in found:
        with contextlib.suppress(PalituneError):  # it is shown as missing
            record = record._replace(image=images.locate(record.name, record.where))
        if not record.image.is_file():
            missing.append(record)
        result.append(record)
    if missing:
        what = f"{len(missing)} of {len(result)} pictures are not found, the first is {missing[0].name}"
        print(f"{path}: {what}; -i FOLDER names their folder", file=sys.stderr)
    return result


def same_records(first: Answers, second: Answers) -> tuple[Answers, Answers]:
    """Both in the first's order, without what only one of them has, which is counted on stderr.

    Raises:
      BadDataError: they have no record in common, or labels differ.
    """
    places: dict[tuple[str, str], collections.deque[int]] = collections.defaultdict(collections.deque)
    for index, record in enumerate(second.records):
        places[record.name, record.prefix].append(index)
    pairs = []
    for index, record in enumerate(first.records):
        if others := places[record.name, record.prefix]:
            other = others.popleft()
            pairs.append((index, other))
            if second.records[other].suffix != record.suffix:
                where = second.records[other].where
                raise BadDataError(f'its label is "{record.suffix}" at {record.where}', where=where)
    if not pairs:
        raise BadDataError(f"no picture is also in {first.name}", where=second.name)
    for one in (first, second):
        if len(pairs) < len(one.records):
            print(f"{one.name}: {len(one.records) - len(pairs)} records are not in the other file", file=sys.stderr)
    return tuple(  # type: ignore[return-value]
        Answers(one.name, kept := [one.records[i] for i in indices], judge(kept, first.judged.classes))
        for one, indices in ((first, [i for i, _ in pairs]), (second, [j for _, j in pairs]))
    )

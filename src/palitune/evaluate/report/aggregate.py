"""The result block of a file of answers, counted line by line, so that the file may be of any length."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import label_answers
from palitune.data.label_sets import LabelSet
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import answer_labels, free_text, per_class
from palitune.evaluate.class_counts import counts_of_pairs
from palitune.evaluate.confusion import is_right, plain
from palitune.evaluate.free_text import Check
from palitune.evaluate.report import result_block
from palitune.labels import LABELS, MOST_OF_DATA, are_text

MOST_PAIRS = 100_000  # different labels with answers
Answered = tuple[Example, Prediction | None]


class Wanted(NamedTuple):
    """What is counted beside the answers themselves.

    Attributes:
      typed: the labels that an answer is one of; None is those that the file tells.
      positive: the label that counts as yes; None is the first of two.
      least: the probability below which an answer is unsure; None is only where it says so.
      schema: whether a value meets a JSON schema, as `free_text.read_schema` makes it; answers are free text then.
    """

    typed: tuple[str, ...] | None = None
    positive: str | None = None
    least: float | None = None
    schema: Check | None = None


def block_of(path: Path, wanted: Wanted | None = None) -> str:
    """The block of a file of answers; of labels alone, what always saying the same would score.

    Raises:
      MissingInputError, BadDataError: as `example_files.stream`; or only some lines have an answer, or none has any.
    """
    lines = (answered for _, answered in Reader(path, labelled=False).answered())
    first = next(lines)
    every = itertools.chain([first], lines)
    if first[1] is None and label_answers.predictions(first[0]) is not None:
        return _of_several(path, every, (wanted or Wanted()).least)
    if first[1] is None and first[0].target.name:
        return _of_labels_alone(path, every)
    return _of_one(path, every, wanted or Wanted())


def _of_several(path: Path, lines: Iterable[Answered], least: float | None) -> str:
    from palitune.evaluate import several_answers, several_labels
    from palitune.evaluate.report import several_text

    found = several_answers.of_groups(str(path), list(several_answers.each(example for example, _ in lines)))
    block = several_text.block(str(path), several_labels.evaluate(found.table, resamples=0), title="Aggregate")
    if least is None:
        return block
    known = [one for _, group in found.groups for one in group if one.target.answer]
    sure = [one for one in known if _probability(one) >= least]
    right = sum(is_right(one.text, one.target.answer or "") for one in sure)
    return f"{block}\n{result_block.unsure_line(len(known) - len(sure), right, len(known), least)}"


def _of_labels_alone(path: Path, lines: Iterable[Answered]) -> str:
    """The block of records with several labels and no answers: what always saying the same would score of each.

    Raises:
      BadDataError: a line has an answer, or a single label.
    """
    known: dict[str, Counter[str]] = {}
    unknown: Counter[str] = Counter()
    for example, said in lines:
        if said is not None or label_answers.predictions(example) is not None:
            raise BadDataError("an answer here, and there is none above", where=example.where)
        if not example.target.name:
            raise BadDataError("one label here, and several above", where=example.where)
        for one in example.targets:
            counts = known.setdefault(one.name, Counter())
            if one.answer:
                counts[one.answer] += 1
            else:
                unknown[one.name] += 1
    return "\n".join(
        result_block.aggregate_block(f"{path}, {name}", {}, counts, unknown[name]) for name, counts in known.items()
    )


def _probability(one: Prediction) -> float:
    """Of an answer of yes or no; 0 where it is unknown."""
    p = one.p_yes
    return 0.0 if p is None else p if plain(one.text) == LABELS[0] else 1 - p


def _of_one(path: Path, lines: Iterator[Answered], wanted: Wanted) -> str:
    texts: Counter[tuple[str, str]] = Counter()  # answers with their labels, as they are written
    kinds: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()  # labels and answers
    sure: Counter[bool] = Counter()  # whether answers that are likely enough are right
    known = answer_labels.of_file(path, wanted.typed, wanted.positive)
    labels: Counter[str] = Counter()
    alone: Counter[str] = Counter()  # answers without a label
    unlabelled = 0
    for example, said in lines:
        if said is None and (kinds or alone):
            raise BadDataError("no answer here, and there are some above", where=example.where)
        if not example.label:
            unlabelled += 1
            if said is not None:
                alone[said.text] += 1
            continue
        labels[example.label] += 1
        if said is not None:
            known = known or answer_labels.of_line(said, wanted.positive)
            kinds[answer_labels.outcome(said.text, example.label, known)] += 1
            if len(pairs) < MOST_PAIRS:
                pairs[plain(example.label), plain(said.text)] += 1
            texts[said.text, example.label] += 1
            if not answer_labels.is_unsure(said, known, wanted.least):
                sure[is_right(said.text, example.label)] += 1
    if not labels and not alone:
        raise BadDataError("neither answers nor labels are here", where=str(path))
    if 0 < kinds.total() < labels.total():
        raise BadDataError("some lines have an answer and some have none", where=str(path))
    classes = _classes(pairs, known) if kinds else ()
    block = result_block.aggregate_block(str(path), kinds, labels or alone, unlabelled, classes[:2])
    if texts and (wanted.schema is not None or (not classes and are_text(labels))):
        answers, right = zip(*texts.elements(), strict=True)
        return "\n".join([block, *free_text.measure(answers, right, wanted.schema).lines()])
    if len(classes) > 2:
        block = _of_classes(path, pairs, LabelSet(classes, known.positive if known else ""), unlabelled)
    if (unsure := kinds.total() - sure.total()) or (kinds and wanted.least is not None):
        block += "\n" + result_block.unsure_line(unsure, sure[True], kinds.total(), wanted.least)
    return block


def _classes(pairs: Counter[tuple[str, str]], known: LabelSet | None) -> tuple[str, ...]:
    """The labels as they are known, or else those that are there, where they are few and come again; else none."""
    there = sorted({label for label, _ in pairs})
    own = tuple(map(plain, known.classes)) if known is not None else ()
    if set(there) <= set(own):
        return own
    if len(there) > MOST_OF_DATA or 2 * len(there) > pairs.total():
        return ()
    return tuple(there) if len(there) > 2 else ()


def _of_classes(path: Path, pairs: Counter[tuple[str, str]], labels: LabelSet, unlabelled: int) -> str:
    """The block of three or more classes, with precision, recall and F-measure of each."""
    counts = counts_of_pairs(pairs, labels.classes)
    block = result_block.counts_block(str(path), counts, title="Aggregate", positive=plain(labels.positive))
    block += f"\n{per_class.of_counts(counts).rstrip()}"
    return f"{block}\n  without a label: {unlabelled}" if unlabelled else block

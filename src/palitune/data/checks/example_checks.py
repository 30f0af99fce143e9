"""What is wrong with examples, as their lines alone show it: duplicates, contradictions, leaks and odd labels."""

import collections
import shlex
import unicodedata
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.confidence_interval import wilson_interval
from palitune.data.example import Example
from palitune.data.formats import error_hints
from palitune.data.invisible_characters import UNSEEN, shown
from palitune.data.split import line_index, subset_names
from palitune.errors import listed
from palitune.labels import LABELS, plain

LEVELS = ("error", "warning", "note")
MOST_SHOWN = 60  # characters of a text
LOPSIDED = 0.8  # share of one label above which weights help


class Finding(NamedTuple):
    """Something that the user should know about data.

    Attributes:
      level: one of LEVELS.
      check: the name of the check.
      where: `file:line`, or a file.
      what: what was found.
      others: `file:line` of other examples that it is about.
    """

    level: str
    check: str
    where: str
    what: str
    others: tuple[str, ...] = ()


def is_training(path: Path) -> bool:
    """Returns whether a file is for training, by its name."""
    return subset_names.of([path])[path] == subset_names.TRAIN


def thing_of(example: Example) -> Hashable:
    """What two examples of different files must not have in common: an image's file, or else a text or a chat."""
    if example.images:
        return example.image.path
    return line_index.thing_of(example)


def _name(example: Example) -> str:
    """An image's name, or the start of a text in quotes."""
    return example.image.name if example.images else shown(example.subject, MOST_SHOWN)


def check_examples(
    files: Mapping[Path, Sequence[Example]], identity: Callable[[Example], Hashable]
) -> Iterator[Finding]:
    """Yields findings about repeated images or texts, contradictory labels, leaks, and labels that cannot be learned.

    Args:
      files: the examples of each file.
      identity: returns a key that is equal for examples with the same image or text.
    """
    first: dict[Hashable, tuple[Path, Example]] = {}  # of each image or text
    asked: dict[Hashable, Example] = {}  # of each of them and prompt
    for path, examples in files.items():
        for example in examples:
            thing = identity(example)
            home, earlier = first.setdefault(thing, (path, example))
            if home != path:
                things = "images" if example.images else "texts"
                what = f"{_name(example)} is also in {earlier.where}: evaluation needs other {things} than training"
                yield Finding("error", "leak", example.where, what)
            before = asked.setdefault((thing, example.prompt), example)
            if before is not example and (differing := _contradiction(example, before)):
                what = f'{_name(example)} is "{differing[0]}" here and "{differing[1]}" in {before.where}'
                yield Finding("error", "two labels", example.where, what)
            elif before is not example and home == path:
                what = f"{_name(example)} is there already, in {before.where}"
                yield Finding("warning", "twice", example.where, what)
        yield from _of_labels(path, examples)


def _contradiction(example: Example, other: Example) -> tuple[str, str] | None:
    """Two labels that cannot both be right; an answer in a chat may be one of many."""
    if example.target.choices is None:
        said = example.label, other.label
        return None if said[0] == said[1] or not has_one_label(example) else said
    before = {one.name: one.answer for one in other.targets}
    for one in example.targets:
        if one.answer and (answer := before.get(one.name)) and answer != one.answer:
            return f"{one.name}: {one.answer}", f"{one.name}: {answer}"
    return None


def has_one_label(example: Example) -> bool:
    """Whether an example has a single label, and neither several nor an answer in a chat."""
    return example.target.choices is None and len(example.messages) == 1


def _of_several(path: Path, examples: Sequence[Example]) -> Iterator[Finding]:
    """What cannot be learned of several labels."""
    for name, counts in _known(examples).items():
        if len(counts) == 1 and counts.total() > 1:
            (answer,) = counts
            what = f'every known label of {name} is "{answer}": there is nothing to tell apart'
            yield Finding("error", "one label", str(path), what)


def _known(examples: Sequence[Example]) -> dict[str, collections.Counter[str]]:
    """How often each answer is there, by the names of several labels."""
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for example in examples:
        for one in example.targets:
            if one.choices is not None and one.answer:
                found[one.name][one.answer] += 1
    return found


def _of_labels(path: Path, records: Sequence[Example]) -> Iterator[Finding]:
    yield from _of_several(path, records)
    examples = [example for example in records if has_one_label(example)]
    labels = collections.Counter(example.label for example in examples)
    spellings = collections.defaultdict(list)
    for label in labels:
        spellings[_seen(label)].append(label)
    for several in spellings.values():
        if len(several) > 1:
            named = listed([f"{shown(label)} ({labels[label]})" for label in several])
            what = f"labels that differ in case, blanks, width or unseen characters alone: {named}"
            yield Finding("warning", "spelling", str(path), what)
    strange = [label for label in labels if label not in LABELS]
    names = error_hints.of_labels(labels)
    if strange and len(strange) < len(labels):
        for example in examples:
            if example.label not in LABELS:
                what = f"{shown(example.label)} is neither yes nor no, as other labels are: learning refuses it"
                yield Finding("error", "label", example.where, f"{what} without {names}" if names else what)
    elif names:
        named = listed([shown(label) for label in strange])
        command = f"palitune learn -d {shlex.quote(str(path))} {names}"
        what = (
            f"the labels are {named}: learning takes them as they are, or by names that say what they mean: {command}"
        )
        yield Finding("warning", "label", str(path), what)
    if len(labels) == 1 and len(examples) > 1:
        (label,) = labels
        yield Finding("error", "one label", str(path), f'every label is "{label}": there is nothing to tell apart')


def _seen(label: str) -> str:
    """Returns a label as people see it: without its case, its width, and invisible characters."""
    wide = UNSEEN.sub(" ", label) if not label.isascii() else label
    return plain(unicodedata.normalize("NFKC", wide)).casefold()


def expectations(
    files: Mapping[Path, Sequence[Example]], is_for_training: Callable[[Path], bool] = is_training
) -> list[str]:
    """Returns what a model can show on each file, by the shares of its labels and the number of its examples.

    Args:
      is_for_training: returns whether a file is for training; then its size says nothing about accuracy.
    """
    lines = []
    for path, records in files.items():
        for name, counts in _known(records).items():
            share = 100 * counts[LABELS[0]] / counts.total()
            lines.append(f"{path}: {name}: {share:.0f} % yes of {counts.total()} known")
        examples = [example for example in records if has_one_label(example)]
        if not examples:
            continue
        label, count = collections.Counter(example.label for example in examples).most_common(1)[0]
        share = count / len(examples)
        advice = " (--balance weights helps)" if LOPSIDED <= share < 1 and label in LABELS else ""
        lines.append(
            f'{path}: {100 * share:.0f} % {label}: a model that always says "{label}" scores {share:.2f}{advice}'
        )
        if not is_for_training(path):
            right = round(0.9 * len(examples))
            low, high = wilson_interval(right, len(examples))
            of, ones = "records" if len(examples) > 1 else "record", "right ones" if right > 1 else "right one"
            what = f"of {len(examples)} {of}, {right} {ones} would mean an accuracy from {low:.2f} to {high:.2f}"
            lines.append(f"{path}: {what}")
    return lines

"""Files of answers, as inference writes them, read as answers beside labels."""

import collections
import contextlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune import console
from palitune.config.model import FolderSettings
from palitune.data import answer_source, example_files, label_sets
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.invisible_characters import shown
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError, PalituneError
from palitune.evaluate import metrics
from palitune.evaluate.metrics import Outcomes
from palitune.evaluate.outcomes import Floats
from palitune.labels import LABELS, plain, plain_set

MOST_CLASSES = 64
MOST_NAMED = 200  # characters of a text in a message
Identity = tuple[Hashable, str]  # what an example is about, and its label


def ask_first() -> str:
    """What to do about a file that has no answers yet."""
    return f"Ask a model first: {console.command('inference')} -d FILE > OUT"


class Answers(NamedTuple):
    """The labelled predictions of a file, and the same to be evaluated."""

    name: str
    predictions: list[Prediction]
    outcomes: Outcomes
    made: MadeWith | None = None

    @property
    def examples(self) -> list[Example]:
        """What the predictions are about, in their order."""
        return [one.example for one in self.predictions]


def read(
    path: Path, labels: tuple[str, ...] | None = None, quiet: bool = False, positive: str | None = None
) -> Answers:
    """The labelled answers of a file.

    Args:
      labels: which there are; by default those that the file tells.
      positive: the one that counts as yes; by default the first of two, or as the answers were made with.
      quiet: write no notes to stderr.

    Raises:
      MissingInputError, BadDataError: no such file, no answers, or a label that is none of those.
    """
    found, unlabelled = [], 0
    for _, (example, said) in example_files.Reader(path, labelled=False).answered():
        if said is None:
            raise BadDataError("no answer here", where=example.where, hint=ask_first())
        if example.label:
            found.append(said)
        else:
            unlabelled += 1
    if unlabelled and not quiet:
        console.note(f"{path}: {unlabelled} lines without a label are left out")
    if not found:
        raise BadDataError("there are no labels here", where=str(path), hint="Unlabelled answers: palitune uncertain")
    made = answer_source.read(path, quiet)
    if made is not None:
        found = [one._replace(made=made) for one in found]
    classes = classes_of(found, labels, quiet, positive)
    return Answers(str(path), found, outcomes_of(found, classes, str(path), positive), made)


def classes_of(
    found: Sequence[Prediction], typed: tuple[str, ...] | None, quiet: bool, positive: str | None = None
) -> tuple[str, ...]:
    """The labels as typed, or yes and no, or those that the lines tell; of two the positive one comes first.

    Where none is named, that is the one that p_yes is of.

    Raises:
      BadDataError: a label is none of those that were typed, or there are too many of them.
      UsageError: the positive label is none of them.
    """
    classes = _classes_of(found, typed, quiet or positive is not None)
    return classes if positive is None else label_sets.with_positive(classes, positive).classes


def _classes_of(found: Sequence[Prediction], typed: tuple[str, ...] | None, quiet: bool) -> tuple[str, ...]:
    there = plain_set(one.example.label for one in found if one.example.label)
    if typed is not None:
        known = plain_set(typed)
        for one in found:
            if one.example.label and plain(one.example.label) not in known:
                what = f"label {shown(one.example.label)} is none of {', '.join(typed)}"
                raise BadDataError(what, where=one.example.where, hint="--labels names others")
        return tuple(map(plain, typed))
    if (made := made_with(found)) is not None and there <= plain_set(made.labels or ()):
        return tuple(dict.fromkeys(map(plain, made.labels or ())))
    if there <= set(LABELS) and (there or {plain(one.text) for one in found} <= set(LABELS)):
        return LABELS
    scores = found[0].example.fields.get("p")
    if isinstance(scores, dict) and len(scores) > 1 and there <= (asked := plain_set(scores)) and "" not in asked:
        return tuple(dict.fromkeys(map(plain, scores)))  # in the order in which the model was asked
    names = sorted(there | {plain(one.text) for one in found if one.text})
    if len(names) > MOST_CLASSES:
        where = found[0].example.where.rpartition(":")[0]
        what = f"{len(names)} different labels and answers: this is text and no choice"
        raise BadDataError(what, where=where, hint="--labels A,B,C names the labels")
    if len(names) == 2 and _is_of_second(found, names):
        names.reverse()
    if len(names) == 2 and not quiet and any(one.text for one in found):
        console.note(f"labels {','.join(names)}, the first is the positive one; --labels says otherwise")
    return tuple(names) if len(names) > 1 else (*names, "(other)")


def made_with(found: Sequence[Prediction]) -> MadeWith | None:
    """What all predictions were made with; None where that is unknown, as in files without a file beside them."""
    return found[0].made if found else None


def threshold_of(found: Sequence[Prediction], classes: Sequence[str]) -> float | None:
    """The threshold on the probability of the first of two classes that predictions were made with, if it is known."""
    made = made_with(found)
    if made is None or made.decode or len(made.labels or ()) != 2:
        return None
    labels = tuple(map(plain, made.labels or ()))
    if labels == tuple(classes):
        return made.threshold
    return 1 - made.threshold if labels == tuple(classes)[::-1] else None


def _is_reversed(found: Sequence[Prediction], classes: Sequence[str], answers: Sequence[str]) -> bool:
    """Whether p_yes is the probability of the second of two classes: as is known, or else as the answers tell."""
    made = made_with(found)
    if made is not None and made.labels:
        return plain(made.labels[0]) == classes[1]
    return set(classes) <= set(answers) and _is_of_second(found, classes)


def _is_of_second(found: Sequence[Prediction], classes: Sequence[str]) -> bool:
    """Whether p_yes is that of the second of two classes, which the answers tell: they are the likelier ones."""
    shares: list[list[float]] = [[], []]
    for one in found:
        if one.p_yes is not None and plain(one.text) in classes:
            shares[classes.index(plain(one.text))].append(one.p_yes)
    first, second = shares
    if first and second:
        return sum(first) / len(first) < sum(second) / len(second)
    return sum(first) < len(first) / 2 if first else sum(second) > len(second) / 2


def outcomes_of(
    found: Sequence[Prediction], classes: tuple[str, ...], name: str, positive: str | None = None
) -> Outcomes:
    """Answers beside their labels.

    Where p_yes is the probability of the second label, it becomes that of the first. Where the answers do not follow
    from p_yes, it is left out.

    Args:
      name: of the file, for a note on stderr about that.
      positive: of more than two labels the one that counts as yes; by default as the answers were made with.

    Raises:
      BadDataError: a class has a probability that is none.
    """
    answers = [plain(one.text) for one in found]
    p_yes = [one.p_yes for one in found]
    known = made_with(found)
    if len(classes) > 2:
        own = known.positive if known is not None else ""
        told = own if positive is None or plain(positive) == plain(own) else ""
        labels = [one.example.label for one in found]
        p_yes = p_yes if told or not own else [None] * len(found)  # it is that of another label
        return metrics.outcomes_of(labels, answers, p_yes, classes, shares=_shares(found, classes), positive=told)
    if known is not None and len(known.labels or ()) > 2:
        p_yes = [None] * len(found) if len(classes) == 2 else p_yes  # it is the answer's, whichever that is
    elif len(classes) == 2 and _is_reversed(found, classes, answers):
        p_yes = [None if p is None else 1 - p for p in p_yes]
    made = metrics.outcomes_of([one.example.label for one in found], answers, p_yes, classes)
    if made.p is None or (known is not None and not known.decode) or not _contradicts(made):
        return made
    console.note(f"{name}: answers do not follow from p_yes, which is left out; was it asked with more --labels?")
    return metrics.outcomes_of(made.labels, answers, [None] * len(found), classes)


def _shares(found: Sequence[Prediction], classes: tuple[str, ...]) -> Floats | None:
    """The probability of every class, float64[N, C], where each line has it."""
    rows = []
    for one in found:
        scores = one.example.fields.get("p")
        if not isinstance(scores, dict):
            return None
        own = {plain(name): value for name, value in scores.items()}
        if set(own) != set(classes) or not all(type(value) in (int, float) for value in own.values()):
            return None
        for name, value in own.items():
            if not 0 <= value <= 1:
                what = f"the probability of {shown(name)} is {value}, and one is from 0 to 1"
                raise BadDataError(what, where=one.example.where, hint="Probabilities are no scores or logarithms")
        rows.append([own[name] for name in classes])
    return np.array(rows, float)


def _contradicts(made: Outcomes) -> bool:
    """Whether any threshold of p_yes would give other answers to more than one in twenty records."""
    assert made.p is not None
    known = np.array([answer in made.classes for answer in made.answers])
    said = np.array([answer == made.classes[0] for answer in made.answers])[known]
    order = np.argsort(made.p[known], kind="stable")
    # Behind so many of the least likely: yes answers before the threshold and no answers after it are wrong.
    yes_before, no_before = (np.concatenate([[0], np.cumsum(one[order])]) for one in (said, ~said))
    wrong = yes_before + (~said).sum() - no_before
    return bool(len(said) and wrong.min() > len(said) / 20)


def located(found: Iterable[Example], path: Path, where: FolderSettings) -> list[Example]:
    """Examples with their images' files; says once how many images are not there."""
    folders, missing, count, result = ImageFolders.of(path, where), [], 0, []
    for one in found:
        example = one
        with contextlib.suppress(PalituneError):  # it is shown as missing
            example = folders.placed(one)
        count += len(example.images)
        missing += [image for image in example.images if not image.path.is_file()]
        result.append(example)
    if missing:
        what = f"{len(missing)} of {count} images are not found, the first is {missing[0].name}"
        console.note(f"{path}: {what}; -i FOLDER names their folder")
    return result


def same_records(first: Answers, second: Answers) -> tuple[Answers, Answers]:
    """Both in the first's order, without what only one of them has, which is counted on stderr. As `paired`."""
    pairs = paired(first.examples, second.examples, (first.name, second.name))
    tell_of_repeated(first.name, first.examples, [one.text for one in first.predictions])
    return _some(first, [index for index, _ in pairs]), _some(second, [index for _, index in pairs])


def of_example(example: Example) -> Identity:
    """What two examples with one label have in common that are the same: image or text, and prompt; and the label."""
    return example.key, example.label


def paired(
    first: Sequence[Example],
    second: Sequence[Example],
    names: tuple[str, str],
    identity: Callable[[Example], Identity] = of_example,
) -> list[tuple[int, int]]:
    """The places in both of each example that both have, in the first's order; the others are counted on stderr.

    Args:
      names: of the files that they are from.
      identity: what examples have in common that are the same, and what is right of them.

    Raises:
      BadDataError: they have no record in common, or labels differ.
    """
    places: dict[Identity, collections.deque[int]] = collections.defaultdict(collections.deque)
    labels: dict[Hashable, tuple[str, str]] = {}
    for index, record in enumerate(second):
        key, label = identity(record)
        places[key, plain(label)].append(index)
        labels[key] = label, record.where
    pairs = []
    for index, record in enumerate(first):
        key, label = identity(record)
        if others := places[key, plain(label)]:
            pairs.append((index, others.popleft()))
        elif (other := labels.get(key)) and plain(other[0]) != plain(label):
            name = record.subject[:MOST_NAMED]
            what = f'the label of {name} is "{other[0]}" here and "{label}" at {record.where}'
            raise BadDataError(what, where=other[1], hint="Compare answers to the same records")
    if not pairs:
        subjects = {record.subject for record in first} & {record.subject for record in second}
        thing = "image" if any(record.images for record in second) else "text"
        what = f"no {'question about an ' if subjects else ''}{thing} is also in {names[0]}"
        raise BadDataError(what, where=names[1], hint="Compare answers to the same records, both TSV or both JSONL")
    for name, every in zip(names, (first, second), strict=True):
        if len(pairs) < len(every):
            console.note(f"{name}: {len(every) - len(pairs)} records are not in the other file")
    return pairs


def _some(found: Answers, indices: Sequence[int]) -> Answers:
    return Answers(
        found.name, [found.predictions[index] for index in indices], found.outcomes.take(indices), found.made
    )


def tell_of_repeated(
    name: str,
    examples: Sequence[Example],
    answers: Sequence[str],
    identity: Callable[[Example], Identity] = of_example,
) -> None:
    """Says that examples of a file cannot be told apart, if one image or text has several answers."""
    said: dict[Identity, set[str]] = collections.defaultdict(set)
    subjects: dict[Identity, str] = {}
    for example, answer in zip(examples, answers, strict=True):
        key, label = identity(example)
        said[key, plain(label)].add(plain(answer))
        subjects[key, plain(label)] = example.subject
    if several := [one for one, texts in said.items() if len(texts) > 1]:
        things = "images" if any(one.images for one in examples) else "texts"
        first = subjects[several[0]][:MOST_NAMED]
        what = f"{len(several)} {things} come more than once with different answers, the first is {first}"
        console.note(f"{name}: {what}; they are paired in order (JSONL also tells questions apart)")

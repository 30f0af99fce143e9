"""Which labels there are: as somebody says, as a model knows them, or as labelled examples have them."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from palitune.config.answering import Labels, LabelSettings
from palitune.data.example import Example
from palitune.errors import BadDataError, MissingInputError, UsageError, listed
from palitune.labels import LABELS, are_text, plain, plain_set
from palitune.storage import files

MEANS_YES = ("true", "1", "1.0")  # of two labels
MOST_BYTES = 1 << 20  # of a file of labels


@dataclasses.dataclass(frozen=True)
class LabelSet:
    """What an answer is one of.

    Attributes:
      labels: of two the first is the positive one; None where answers are free text.
      positive: of more than two, the one that figures, thresholds and p_yes are of; empty where none is.
    """

    labels: tuple[str, ...] | None = LABELS
    positive: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels; none where answers are free text."""
        return self.labels or ()

    @property
    def is_several(self) -> bool:
        """Whether there are more than two."""
        return len(self.classes) > 2


YES_NO = LabelSet()


def typed(settings: LabelSettings) -> tuple[str, ...] | None:
    """The labels that --labels or the file of --labels-from names; None where neither was given.

    Raises:
      MissingInputError, BadDataError: the file is not there, or has no two different labels.
    """
    if settings.labels_from is None:
        return settings.labels
    path = Path(settings.labels_from)
    try:
        text = files.read(path, MOST_BYTES).decode("utf-8-sig")
        return Labels().check([line for line in text.splitlines() if line.strip()])
    except FileNotFoundError:
        raise MissingInputError("no such file", where=str(path), hint="--labels A,B names labels here") from None
    except UnicodeDecodeError:
        raise BadDataError("not UTF-8 text", where=str(path), hint="Save it as UTF-8, a label a line") from None
    except ValueError as error:
        what = str(error).replace(" with commas between them", ", one a line")
        raise BadDataError(what, where=str(path)) from None
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def of_examples(examples: Iterable[Example]) -> tuple[str, ...] | None:
    """The labels of examples, the most frequent first, then by alphabet: yes and no where one of these is there.

    Of 1 and 0, and of true and false, the one that means yes comes first.

    A label that is written in several ways is one, as most have it. None is free text: more than `MOST_OF_DATA`
    different ones, or hardly any of them twice.
    """
    written = Counter(target.answer for one in examples for target in one.targets if target.answer)
    counts: Counter[str] = Counter()
    for text, count in written.items():
        counts[plain(text)] += count
    if len(counts) < 2 or plain_set(LABELS) & counts.keys():  # of one label there is nothing to tell apart
        return LABELS
    if are_text(counts):
        return None
    spelled: dict[str, str] = {}
    for text, _ in sorted(written.items(), key=lambda pair: (-pair[1], pair[0])):
        spelled.setdefault(plain(text), text)
    ordered = sorted(counts, key=lambda label: (-counts[label], spelled[label]))
    if len(ordered) == 2 and ordered[1].lower() in MEANS_YES:
        ordered.reverse()
    return tuple(spelled[label] for label in ordered)


def with_positive(labels: tuple[str, ...] | None, positive: str | None) -> LabelSet:
    """Labels of which one is the positive one: of two it comes first.

    Raises:
      UsageError: it is none of them.
    """
    if positive is None or labels is None:
        if positive is not None:
            raise UsageError("--positive is for labels, and answers are free text here: --labels names some")
        return LabelSet(labels)
    chosen = next((label for label in labels if plain(label) == plain(positive)), None)
    if chosen is None:
        raise UsageError(f"--positive {positive} is none of the labels {listed(list(labels))}")
    if len(labels) == 2:
        return LabelSet((chosen, *(label for label in labels if label != chosen)))
    return LabelSet(labels, chosen)


def spelled(examples: Iterable[Example], labels: Collection[str]) -> list[Example]:
    """Examples whose answers are written as the labels are, where they are the same but for blanks and Unicode."""
    own = {plain(label): label for label in labels}
    found = []
    for example in examples:
        if any(target.answer is not None and target.answer not in labels for target in example.targets):
            targets = tuple(
                one if one.answer is None else one._replace(answer=own.get(plain(one.answer), one.answer))
                for one in example.targets
            )
            example = example._replace(targets=targets)
        found.append(example)
    return found

"""Which labels answers are one of, as they are read line by line, and what each answer is then."""

from pathlib import Path

from palitune.data import answer_source
from palitune.data.label_sets import LabelSet, with_positive
from palitune.data.prediction import Prediction
from palitune.evaluate.confusion import is_right, kind, plain
from palitune.labels import LABELS, UNSURE, plain_set


def of_file(path: Path, typed: tuple[str, ...] | None = None, positive: str | None = None) -> LabelSet | None:
    """The labels of the answers in a file: as typed, or as the file beside it tells; None where nothing tells.

    Raises:
      UsageError: the positive label is none of them.
    """
    if typed is not None:
        return with_positive(typed, positive)
    made = answer_source.read(path, quiet=True)
    if made is None or not made.labels:
        return None
    return with_positive(made.labels, positive or made.positive or None)


def of_line(said: Prediction, positive: str | None = None) -> LabelSet:
    """The labels whose probabilities a line has, in its order; of a line without any, yes and no.

    Raises:
      UsageError: the positive label is none of them.
    """
    scores = said.example.fields.get("p")
    if not isinstance(scores, dict) or len(scores) < 2 or len(known := plain_set(scores)) < len(scores) or "" in known:
        return with_positive(LABELS, positive)
    return with_positive(tuple(map(str, scores)), positive)


def outcome(answer: str, label: str, labels: LabelSet) -> str:
    """One of "tp", "tn", "fp" and "fn", as `confusion.kind` of two labels.

    Of more a right answer is "tp" if it is the positive one, else "tn"; a wrong one is "fp" if it is the positive one,
    else "fn". Where none is positive a right answer is "tp" and a wrong one "fn".
    """
    if labels.is_several and not labels.positive:
        return kind(answer, label)
    if not labels.is_several:
        return kind(answer, label, labels.classes)
    right, positive = is_right(answer, label), plain(answer) == plain(labels.positive)
    return ("tp" if positive else "tn") if right else ("fp" if positive else "fn")


def is_unsure(said: Prediction, labels: LabelSet, least: float | None) -> bool:
    """Whether an answer was rejected, or has a probability below the least one.

    Of two labels p_yes is that of the first; of more it is the answer's own, unless it is that of the positive one.
    """
    if plain(said.text) == UNSURE and UNSURE not in plain_set(labels.classes):
        return True
    if least is None:
        return False
    scores = said.example.fields.get("p")
    if isinstance(scores, dict) and isinstance(own := scores.get(said.text), (int, float)):
        return own < least
    if said.p_yes is None:
        return False
    if not labels.is_several:
        return (said.p_yes if plain(said.text) == plain(labels.classes[0]) else 1 - said.p_yes) < least
    if labels.positive and plain(said.text) != plain(labels.positive):
        return 1 - said.p_yes < least  # all others together
    return said.p_yes < least

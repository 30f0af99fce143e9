"""Prompts of a file, and which of them does best on the same labelled examples."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.data.example import Example
from palitune.data.formats.lines import LONGEST
from palitune.errors import BadDataError, MissingInputError, UsageError
from palitune.evaluate import comparison, metrics, threshold
from palitune.evaluate.metrics import Figure, Outcomes

LABEL = "{label}"  # in a prompt, of several labels the name of the one that is asked for


class Prompt(NamedTuple):
    """A prompt with the answer words that stand for the labels, of two for the positive one first."""

    text: str
    words: tuple[str, ...]


class Scored(NamedTuple):
    """A prompt with the answers to it."""

    prompt: Prompt
    outcomes: Outcomes


class Row(NamedTuple):
    """How a prompt did, and how far it is from the best one."""

    figure: Figure
    behind: Figure | None  # difference from the best with its interval; None of the best
    is_noise: bool
    yes: int  # answers that are the positive label


def answer_words(text: str, count: int = 2) -> tuple[str, ...]:
    """Answer words like `yes/no`, a different one for each label. Raises ValueError for anything else."""
    words = tuple(word.strip() for word in text.split("/"))
    if len(words) != count or not all(words) or len(set(words)) < count:
        wanted = "two words like yes/no" if count == 2 else f"{count} different words with / between them"
        raise ValueError(f"{text!r} are not {wanted}")
    return words


def read_prompts(file: str, tried: Sequence[tuple[str, ...]]) -> list[Prompt]:
    """The prompts of a file, one a line, each with its own answer words (behind a tab) or with all that are tried.

    Empty lines and those that begin with # are left out. `-` is standard input.

    Args:
      tried: answer words, as many as there are labels.

    Raises:
      MissingInputError, BadDataError: no such file, no prompts in it, or a line that is none.
    """
    try:
        lines = _content(file).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        place = error.object.count(b"\n", 0, error.start) + 1
        raise BadDataError("not UTF-8 text", where=f"{file}:{place}", hint="Save the file as UTF-8") from None
    found: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        text, _, own = line.partition("\t")
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        try:
            if "\0" in line:
                raise ValueError("the line has a NUL character")
            if len(text) > LONGEST:
                raise ValueError(f"{len(text)} characters, {LONGEST} are allowed")
            found += [Prompt(text, words) for words in ([answer_words(own, len(tried[0]))] if own.strip() else tried)]
        except ValueError as error:
            raise BadDataError(str(error), where=f"{file}:{number}") from None
    if not found:
        raise BadDataError("no prompts here", where=file, hint="It needs one a line")
    return list(dict.fromkeys(found))


def _content(file: str) -> bytes:
    if file == "-":
        if sys.stdin is None:
            raise MissingInputError("standard input is closed", hint="Name a file")
        return sys.stdin.buffer.read()
    try:
        if Path(file).is_dir():
            hint = "Name a file with a prompt a line"
            raise MissingInputError("cannot be read: it is a folder", where=file, hint=hint)
        return Path(file).read_bytes()
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=file) from None


def require_names(prompts: Sequence[Prompt], records: Sequence[Example]) -> None:
    """Raises UsageError: a prompt has no place for the name of one of several labels that records have."""
    if any(record.target.name for record in records) and not all(LABEL in prompt.text for prompt in prompts):
        raise UsageError(f"records have several labels: write {LABEL} in each prompt where a label's name is to stand")


def ranked(scored: Sequence[Scored], metric: str) -> tuple[list[int], list[Row]]:
    """Indices of the prompts, the best first, with rows in that order.

    Ties go to the lower log loss, then to what comes first. Differences from the best have intervals of a paired
    bootstrap; where the interval holds 0, the difference is noise.

    Args:
      metric: one of `metrics.NAMES`.
    """
    figures = [metrics.with_intervals(one.outcomes, only=metric)[metric] for one in scored]
    losses = [_log_loss(one.outcomes) for one in scored]

    def rank(i: int) -> tuple[float, float]:
        figure = figures[i].value
        return (2.0 if figure is None else -figure, losses[i])  # what has none comes last

    order = sorted(range(len(scored)), key=rank)
    others = comparison.differences(scored[order[0]].outcomes, [scored[i].outcomes for i in order[1:]], metric)
    rows = []
    for place, i in enumerate(order):
        behind = others[place - 1] if place else None
        noise = behind is not None and (behind.high is None or behind.high >= 0)
        outcomes = scored[i].outcomes
        rows.append(Row(figures[i], behind, noise, sum(said == outcomes.classes[0] for said in outcomes.answers)))
    return order, rows


def _log_loss(outcomes: Outcomes) -> float:
    if outcomes.shares is not None:
        places = [outcomes.classes.index(label) for label in outcomes.labels]
        own = outcomes.shares[np.arange(len(places)), places]
        return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean())
    assert outcomes.p is not None  # prompts are scored, and never decoded
    return threshold.log_loss(outcomes.p, np.array([label == outcomes.classes[0] for label in outcomes.labels]))

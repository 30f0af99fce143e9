"""Which labels the records of a file have and how often, and how many of them are chats."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palitune.data.chat_turns import is_chat
from palitune.data.checks.label_counts import MISSING
from palitune.data.checks.label_tables import share_counts, share_table
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.labels import LABELS, MOST_OF_DATA, plain
from palitune.text_tables import aligned


class Census(NamedTuple):
    """The records of a file, counted.

    Attributes:
      records: how many there are.
      labels: how often each label is there, as most records write it; none of chats and of several labels.
      several: of records with several labels, whether each label is there: 1, 0, or `label_counts.MISSING`.
      chats: how many records are chats.
      turns: of users and assistants in these.
      answers: of the assistant alone.
      unlearned: of these, those with the weight 0.
    """

    records: int
    labels: dict[str, int]
    several: dict[str, list[int]]
    chats: int
    turns: int
    answers: int
    unlearned: int

    @property
    def names(self) -> list[str]:
        """The names of several labels."""
        return list(self.several)

    @property
    def values(self) -> NDArray[np.int8]:
        """The several labels of each record, int8[N, C] as in `label_counts.Table`."""
        return np.array(list(self.several.values()), np.int8).T


def take(reader: Reader) -> Census:
    """Counts the records of a file. Raises MissingInputError, BadDataError as `Reader` does."""
    written: Counter[str] = Counter()
    several: dict[str, list[int]] = {}
    records = chats = turns = answers = unlearned = 0
    for _, example in reader.examples():
        records += 1
        if example.target.name:
            _add(several, example, records)
        elif is_chat(example):
            chats += 1
            said = [one for one in example.messages if one.role == "assistant"]
            turns += sum(one.role != "system" for one in example.messages)
            answers += len(said)
            unlearned += sum(not one.weight for one in said)
        else:
            written[example.label] += 1
    for column in several.values():
        column += [MISSING] * (records - len(column))
    return Census(records, _spelled(written), several, chats, turns, answers, unlearned)


def _add(several: dict[str, list[int]], example: Example, number: int) -> None:
    """Adds the labels of record `number` to the columns of all records."""
    for target in example.targets:
        column = several.setdefault(target.name, [])
        column += [MISSING] * (number - 1 - len(column))
        column.append(MISSING if target.answer is None else int(target.answer == LABELS[0]))


def _spelled(written: Counter[str]) -> dict[str, int]:
    """Labels by how often they are there, those together that are compared as the same."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for text, count in written.most_common():
        names.setdefault(plain(text), text)
        counts[plain(text)] += count
    return {names[one]: count for one, count in counts.most_common()}


def lines(found: Census) -> list[str]:
    """The counts as text: the most frequent labels, and how many others there are."""
    made = [share_table(found.names, found.values)] if found.several else []
    if found.labels:
        total = sum(found.labels.values())
        shown = list(found.labels.items())[:MOST_OF_DATA]
        rows = [["label", "records", "share"]]
        rows += [[name or "(none)", str(count), f"{count / total:.3f}"] for name, count in shown]
        made += aligned(rows, 1)
        if more := len(found.labels) - len(shown):
            rest = total - sum(count for _, count in shown)
            made.append(f"and {more:,} other labels of {rest:,} records")
        made.append(f"{total:,} records")
    if found.chats:
        unlearned = f", {found.unlearned:,} of these of weight 0" if found.unlearned else ""
        made.append(f"{found.chats:,} chats: {found.turns:,} turns, {found.answers:,} of the assistant{unlearned}")
    return made


def as_json(found: Census) -> dict[str, object]:
    """The counts as JSON has them; keys of what is not there are left out."""
    made: dict[str, object] = {"records": found.records}
    if found.several:
        made["columns"] = share_counts(found.names, found.values)
    if found.labels:
        made["labels"] = dict(list(found.labels.items())[:MOST_OF_DATA])
        made["different"] = len(found.labels)
    if found.chats:
        made |= {"chats": found.chats, "turns": found.turns, "answers": found.answers, "unlearned": found.unlearned}
    return made

"""Tables of counts, for people."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from palitune.data.chat_turns import is_chat
from palitune.data.example import Example
from palitune.text_tables import aligned

MOST_LABELS = 20  # shown of one file


def share_table(names: Sequence[str], before: NDArray[np.int8], after: NDArray[np.int8] | None = None) -> str:
    """Counts of yes and no by column, and what they become. Values are int8[N, C] as in `label_counts.Table`."""
    head = ["column", "yes", "no", "other", "yes share"]
    both = [before] if after is None else [before, after]
    rows = [head if after is None else [*head, "->", *head[1:]]]
    for number, name in enumerate(names):
        row = [name]
        for part, values in enumerate(both):
            column = values[:, number]
            yes, no = int((column == 1).sum()), int((column == 0).sum())
            share = f"{yes / (yes + no):.3f}" if yes + no else "-"
            row += ["->"] * (part > 0) + [str(yes), str(no), str(len(column) - yes - no), share]
        rows.append(row)
    lines = aligned(rows)
    lines.append(" -> ".join(f"{len(values)} records" for values in both))
    return "\n".join(lines)


def share_counts(names: Sequence[str], values: NDArray[np.int8]) -> dict[str, dict[str, int]]:
    """Numbers of yes, no and other values by column, as JSON has them. Values are as in `share_table`."""
    return {
        name: {"yes": int((column == 1).sum()), "no": int((column == 0).sum()), "other": int((column < 0).sum())}
        for name, column in zip(names, values.T, strict=True)
    }


def labels_of(example: Example) -> list[str]:
    """What is known to be right of an example, as tables count it: of several labels each with its name."""
    if example.target.name:
        return [f"{one.name}: {one.answer or '(unknown)'}" for one in example.targets]
    return ["(chat)"] if is_chat(example) else [example.label]


def label_table(sets: Mapping[str, Sequence[Example]]) -> str:
    """How often each label is there, by file, and in which share of its records."""
    rows = [["file", "label", "records", "share"]]
    for name, examples in sets.items():
        counts = collections.Counter(label for example in examples for label in labels_of(example)).most_common()
        for label, count in counts[:MOST_LABELS]:
            rows.append([name, label[:40], str(count), f"{count / len(examples):.3f}"])
        if len(counts) > MOST_LABELS:
            rest = sum(count for _, count in counts[MOST_LABELS:])
            rows.append([name, f"({len(counts) - MOST_LABELS} more)", str(rest), f"{rest / len(examples):.3f}"])
    return "\n".join(aligned(rows))

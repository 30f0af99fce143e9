"""The demo data of each job on texts as the files that people have: JSONL, TSV, CSV, and chats as `messages`."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from palitune.data.demo import chat, emoji, sentiment, toxicity


class Drawn(NamedTuple):
    """A data set that has been drawn.

    Attributes:
      files: content by name; the first is the data.
      note: what it consists of, in one line.
    """

    files: dict[str, bytes]
    note: str


class TextTask(NamedTuple):
    """One job, and how its data is drawn.

    Attributes:
      file: the name of the data's file.
      records: how many are drawn where nobody says it.
      draw: the data of so many records.
    """

    file: str
    records: int
    draw: Callable[[int, np.random.Generator], Drawn]


def _json_lines(records: Iterable[object]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _lines(places: Sequence[int]) -> str:
    """The numbers of lines, from 1, or "none"."""
    return ", ".join(str(place + 1) for place in places) or "none"


def _sentiment(count: int, rng: np.random.Generator) -> Drawn:
    reviews = sentiment.draw(count, rng)
    labels = Counter(label for _, label in reviews.records)
    shares = ", ".join(f"{labels[label]} of {label}" for label in sentiment.SHARES)
    faults = f"copies of earlier lines: {_lines(reviews.copies)}; wrong labels: {_lines(reviews.mislabelled)}"
    content = _json_lines({"text": text, "label": label} for text, label in reviews.records)
    return Drawn({SENTIMENT.file: content}, f"{count} reviews: {shares}; {faults}")


def _emoji(count: int, rng: np.random.Generator) -> Drawn:
    tweets = emoji.draw(count, rng)
    content = "".join(f"{text}\t{label}\n" for text, label in tweets).encode()
    classes = len({label for _, label in tweets})
    return Drawn({EMOJI.file: content}, f"{count} tweets, each answered by one of {classes} emoji")


def _toxicity(count: int, rng: np.random.Generator) -> Drawn:
    posts = toxicity.draw(count, rng)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["text", *toxicity.LABELS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(posts)
    questions = "".join(f"{name}\t{question}\n" for name, question in toxicity.QUESTIONS.items())
    shares = ", ".join(f"{sum(post[name] == '1' for post in posts)} {name}" for name in toxicity.LABELS)
    unknown = sum(post[name] == "" for post in posts for name in toxicity.LABELS)
    files = {TOXICITY.file: table.getvalue().encode(), "questions.tsv": questions.encode()}
    return Drawn(files, f"{count} posts: {shares}; {unknown} labels are missing")


def _chat(count: int, rng: np.random.Generator) -> Drawn:
    chats = chat.draw(count, rng)
    turns = [turn for one in chats for turn in one["messages"] if turn["role"] == "assistant"]
    bad = sum(turn.get("weight") == 0 for turn in turns)
    note = f"{count} chats with {len(turns)} turns of the assistant, {bad} of them of weight 0"
    return Drawn({CHAT.file: _json_lines(chats)}, note)


SENTIMENT = TextTask("data.jsonl", 600, _sentiment)
EMOJI = TextTask("data.tsv", emoji.EACH * len(emoji.TOPICS), _emoji)
TOXICITY = TextTask("data.csv", 800, _toxicity)
CHAT = TextTask("data.jsonl", 300, _chat)
TASKS = {"toxicity": TOXICITY, "emoji": EMOJI, "sentiment": SENTIMENT, "chat": CHAT}

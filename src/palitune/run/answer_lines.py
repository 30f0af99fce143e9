"""Predictions as lines of answers, on standard output or added to a file."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from palitune import streams
from palitune.data.formats import label_answers
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.tsv import to_answer
from palitune.data.prediction import Prediction
from palitune.errors import UsageError
from palitune.evaluate.confusion import is_right
from palitune.labels import LABELS, plain, plain_set
from palitune.storage import append_file, files


def answer_line(one: Prediction, labels: tuple[str, ...] | None, jsonl: bool) -> str:
    """A prediction as a line of TSV or, with all keys of its example, of JSONL."""
    example, p_yes = one.example, one.p_yes or 0.0
    correct = is_right(one.text, example.label) and (labels is None or plain(one.text) in plain_set(labels))
    if not jsonl:
        return to_answer(example, correct, p_yes, one.text)
    suffix = {"suffix": example.label} if example.label else {}
    fields = dict(example.fields) or {"image" if example.images else "text": example.subject, **suffix}
    marked = {"correct": correct} if example.label else {}
    said: dict[str, object] = {"p_yes": None if one.p_yes is None else round(p_yes, 6), "answer": one.text}
    if labels not in (None, LABELS):
        said["p"] = {label: round(p, 6) for label, p in zip(labels, one.probabilities or (), strict=True)}
    return to_json(fields | marked | said)


def line_of(predictions: Sequence[Prediction], labels: tuple[str, ...] | None, jsonl: bool) -> str:
    """The line of one example's predictions."""
    several = bool(predictions[0].target.name)  # which TSV has no columns for
    said = label_answers.to_line(predictions[0].example, predictions) if several else None
    return said or answer_line(predictions[0], labels, jsonl)


class LineWriter:
    """Takes lines: standard output, or a file to which they are added and which is on disk when it is left."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self.file = file

    def __enter__(self) -> Callable[[str], None]:
        return self.write

    def write(self, line: str) -> None:
        """Writes one line, given without its end."""
        if self.file is None:
            streams.line(line)
        else:
            self.file.write(line.encode("utf-8", "surrogateescape") + b"\n")

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            with files.optional():
                os.fsync(self.file.fileno())


def continued_file(resume: str | None, data: str) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    """The file that answers are added to, which is this process's alone from here on; None for standard output.

    Args:
      data: the file of the examples.

    Raises:
      UsageError: it is no file, or the one that is asked about.
      OutputExistsError: another process is writing it.
    """
    if not resume:
        return contextlib.nullcontext()
    path, asked = Path(resume), Path(data)
    if (path.exists() and not path.is_file()) or resume == "-":
        raise UsageError(f"--resume {path} is no file")
    if path.exists() and asked.exists() and path.samefile(asked):
        raise UsageError(f"--resume {path} is the file that is asked about")
    return append_file.exclusive(path)

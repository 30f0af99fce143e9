"""A file of answers that was cut off: which examples have their line, so that inference goes on behind them."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import label_answers
from palitune.data.formats.tsv import flat, to_tsv
from palitune.errors import BadDataError


def resume(
    path: Path,
    out: IO[bytes],
    examples: Callable[[], Iterator[Example]],
    jsonl: bool,
    may_skip: bool,
    left_out: list[int] | None = None,
) -> tuple[int, int]:
    """Counts the lines that are there, and the examples up to the last of them; half a line at the end is cut off.

    The file is not changed before all of its lines are understood.

    Args:
      out: the file at `path`, open.
      examples: reads the examples that are asked about, from the first one.
      jsonl: whether answers are JSONL, and not TSV.
      may_skip: examples may have no line, because their images cannot be used.
      left_out: takes the numbers of those that have none before the last line.

    Raises:
      BadDataError: the lines are no answers, or answers to other examples.
    """
    if os.fstat(out.fileno()).st_size == 0:
        return 0, 0
    content_end = _last_line_end(path)
    done = passed = 0
    waiting = enumerate(examples(), 1)
    other = BadDataError(
        "this is no answer to the records that are asked about",
        where=f"{path}:1",
        hint="Name another file with --resume, or remove this one",
    )
    reader = Reader(path, labelled=False)
    for line in reader:
        other.where = f"{path}:{line[0]}"
        is_half = line[1] >= content_end
        if is_half:
            if not _begins(line[2], (record for _, record in waiting), jsonl):
                raise other
            break
        answer, said = reader.prediction(line)
        is_several = said is None and label_answers.predictions(answer) is not None
        if not is_several and (said is None or (reader.kind == "jsonl") != jsonl):
            raise other
        for number, record in waiting:
            named = record.subject if jsonl or record.images else flat(record.subject)
            if (named, record.label) == (answer.subject, answer.label) and answer.prompt in ("", record.prompt):
                passed = number
                break
            if not may_skip:
                raise other
            if left_out is not None:
                left_out.append(record.number)
        else:
            raise other
        done += 1
    os.ftruncate(out.fileno(), content_end)
    return done, passed


def _begins(half: bytes, records: Iterable[Example], jsonl: bool) -> bool:
    """Whether half a line is of one of the records that follow: those before it may have been left out."""
    starts = (
        (b"{" if jsonl or record.target.name else to_tsv(record).rpartition("\t")[0].encode()) for record in records
    )
    return any(half.startswith(start) or start.startswith(half) for start in starts)


def _last_line_end(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0

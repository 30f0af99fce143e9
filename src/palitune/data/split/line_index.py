"""Where the lines of a data file are, and what a split needs to know about each of them."""

import array
import contextlib
import re
import sys
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats.lines import KINDS
from palitune.data.image_folders import ImageFolders
from palitune.data.split.regex_timeout import TimedSearch
from palitune.errors import BadDataError
from palitune.labels import plain

MOST_COMPARED = 100_000  # lines above which images are compared only on request


class LineIndex(NamedTuple):
    """The lines of a file as arrays, one element a line; some 30 bytes a line.

    Attributes:
      offsets: int64[N], where each line starts in the file, in bytes.
      lengths: int32[N], the length of each line in bytes, without its end.
      labels: int32[N], a number for each different label.
      groups: int64[N]; lines with the same number stay together, and a line with 0 belongs to no group.
      images: int64[N]; lines with the same number have the same image, or the same text.
      kind: "jsonl", "tsv" or "csv".
      names: the names of the images, if they are to be compared for near-duplicates; empty for a text.
      head: the header of a table, with the line's end.
    """

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]
    labels: NDArray[np.int32]
    groups: NDArray[np.int64] | None
    images: NDArray[np.int64] | None
    kind: str
    names: list[str] | None
    head: bytes = b""


def index_lines(
    source: Path, spool: IO[bytes] | None, group: str | None, near: str, images: ImageFolders | None = None
) -> LineIndex:
    """Reads every line of a file once.

    Args:
      source: a file, or `-` for standard input.
      spool: takes a copy of the lines of a source that cannot be read twice.
      group: a key of the examples, or image:REGEX, by which lines stay together.
      near: whether images are compared: "together", "ignore", or "auto" for up to `MOST_COMPARED` lines.
      images: where they are.

    Raises:
      BadDataError: a line is not an example, or an example does not have the key.
      UsageError: the regular expression takes too long.
    """
    with _group_key(group) as key:
        return _index_of(Reader(source, folders=images), spool, None if group is None else key, near)


def thing_of(example: Example) -> Hashable:
    """What stays in one part: an image, or else a chat, or a text as texts are compared."""
    if example.images:
        return example.subject
    return example.about if len(example.messages) > 1 else plain(example.subject)


def _index_of(
    reader: Reader, spool: IO[bytes] | None, key: Callable[[Example], str | None] | None, near: str
) -> LineIndex:
    names: list[str] | None = None if near == "ignore" else []
    most = MOST_COMPARED if near == "auto" else sys.maxsize
    offsets, lengths, labels = array.array("q"), array.array("i"), array.array("i")
    groups, images = array.array("q"), array.array("q")
    numbers: dict[str, int] = {}
    written = 0
    for (_, offset, raw), example in reader.examples():
        if spool is not None:
            spool.write(raw)
            offset, written = written, written + len(raw)
        offsets.append(offset)
        lengths.append(len(raw))
        labels.append(numbers.setdefault(example.label, len(numbers)))
        images.append(hash(thing_of(example)))
        if names is not None:
            names.append(example.image.name if example.images else "")
            if len(names) > most:
                names = None
        if key is not None:
            value = key(example)
            groups.append(0 if value is None else hash(value) or 1)
    return LineIndex(
        offsets=np.frombuffer(offsets, np.int64),
        lengths=np.frombuffer(lengths, np.int32),
        labels=np.frombuffer(labels, np.int32),
        groups=np.frombuffer(groups, np.int64) if key is not None else None,
        images=np.frombuffer(images, np.int64),
        kind=reader.kind or KINDS[0],
        names=names,
        head=b"" if reader.table is None else reader.table.head,
    )


@contextlib.contextmanager
def _group_key(group: str | None) -> Iterator[Callable[[Example], str | None]]:
    """Provides a function that returns what an example is grouped by, or None for an example of no group."""
    if group is None:
        yield lambda example: None
        return
    what, colon, expression = group.partition(":")
    if what == "image" and colon:
        pattern = re.compile(expression)  # it searches the name as the line has it, with its folders

        with TimedSearch(pattern, f"--group {group}") as search:

            def part_of_name(example: Example) -> str | None:
                found = search(example.image.name) if example.images else None
                return None if found is None else found.group(1 if pattern.groups else 0)

            yield part_of_name
        return

    def value(example: Example) -> str | None:
        if group not in example.fields:
            hint = None if example.fields else "A TSV has no keys: --group image:REGEX takes a part of the image's name"
            raise BadDataError(f'the record has no "{group}" to group by', where=example.where, hint=hint)
        found = example.fields[group]
        return None if found is None else repr(found)

    yield value

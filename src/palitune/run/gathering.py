"""The answers of all shards put together in the order of the records, where none is missing and none is there twice."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tqdm import tqdm

from palitune.config.sharding import Shard
from palitune.data import answer_shards, dataset_files
from palitune.data.answer_shards import Facts
from palitune.data.answer_source import AnswerSource
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, ResumableError, listed
from palitune.storage import atomic_files

PIECE = 1 << 16  # bytes of each shard that are in memory
AGAIN = "Start {} with the same command as before: what is there is not asked again"


class ShardLines:
    """The lines of one shard's answers, read once, a piece at a time; the file is open only while a piece is read."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.rest = path, 0, b""
        self.digest = hashlib.sha256()
        self.waiting: Iterator[bytes] = iter(())

    def read(self) -> bytes:
        """The next line with its end. Raises BadDataError: there is none."""
        found = next(self.waiting, None)
        while found is None:
            if not (piece := self._piece()):
                raise BadDataError("answers are missing at the end", where=str(self.path), hint=_redo(self.path))
            whole, _, rest = (self.rest + piece).rpartition(b"\n")
            self.rest = rest
            if whole or piece.endswith(b"\n"):
                self.waiting = iter([line + b"\n" for line in whole.split(b"\n")])
            found = next(self.waiting, None)
        return found

    def check_end(self, expected: str | None) -> None:
        """Raises BadDataError: there are more lines, or others than the shard had when it was finished."""
        is_over = next(self.waiting, None) is None and not self.rest and not self._piece()
        if not is_over or self.digest.hexdigest() != expected:
            raise BadDataError("the answers have changed since", where=str(self.path), hint=_redo(self.path))

    def _piece(self) -> bytes:
        if not self.path.exists():  # of a shard without any answer
            return b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            piece = file.read(PIECE)
        self.offset += len(piece)
        self.digest.update(piece)
        return piece


def gather(out: Path, data: Path | None = None, *, overwrite: bool = False, quiet: bool = False) -> None:
    """Writes the answers of all shards of `out` into it, whole or not at all, and what they were made with beside it.

    Args:
      data: the file of records that they have to be answers to; None is any, the same for all shards.

    Raises:
      OutputExistsError: there is a file at `out`.
      MissingInputError: a shard is not there.
      ResumableError: a shard is not finished.
      BadDataError: shards are of other records or settings than others, or have changed since they were finished.
      StorageError: `out` cannot be written; nothing is changed.
    """
    if out.exists() and not overwrite:
        raise OutputExistsError("this file exists", where=str(out), hint="--overwrite replaces it")
    shards = _finished(out)
    if data is not None:
        dataset_files.require_data(str(data))
        if answer_shards.sha256(data) != shards[0].source:
            raise BadDataError(f"the shards are no answers to {data} as it is now", where=str(out))
    with atomic_files.replacing(out) as file:
        count = _write(file, out, shards, quiet or not sys.stderr.isatty())
    AnswerSource(out).write(shards[0].made_with())
    if not quiet:
        left_out = sum(len(one.left_out) for one in shards)
        more = f"; {left_out} records are left out" if left_out else ""
        shards_are = "1 shard" if len(shards) == 1 else f"{len(shards)} shards"
        print(f"{out}: {count} answers of {shards_are}, each record has one{more}", file=sys.stderr)


def _finished(out: Path) -> list[Facts]:
    """The facts of all shards, in order. Raises as `gather`."""
    counts = answer_shards.counts_of(out)
    if not counts:
        hint = "palitune inference --resume OUT --shard I/N writes one"
        raise MissingInputError("there is no shard of these answers", where=str(out), hint=hint)
    if len(counts) > 1:
        what = f"there are shards of {' and of '.join(map(str, counts))}"
        raise BadDataError(what, where=str(out), hint="Remove those that are not meant, with what is beside them")
    paths = [answer_shards.path_of(out, Shard(number, counts[0])) for number in range(1, counts[0] + 1)]
    read = [(path, answer_shards.read(path)) for path in paths]
    missing = [path.name for path, facts in read if facts is None]
    if missing:
        what = f"{len(missing)} of {counts[0]} shards are missing: {listed(missing)}"
        raise MissingInputError(what, where=str(out), hint="Copy them here, or start them")
    found = [(path, facts) for path, facts in read if facts is not None]
    for number, (path, facts) in enumerate(found, 1):
        if facts.shard != (number, counts[0]):
            raise BadDataError(f"this is shard {facts.shard} under another name", where=str(path))
        facts.require_same(found[0][1], path, paths[0].name)
    unfinished = [str(facts.shard) for _, facts in found if facts.records is None]
    if unfinished:
        what = f"{len(unfinished)} of {counts[0]} shards are not finished: {listed(unfinished)}"
        raise ResumableError(what, where=str(out), hint=AGAIN.format("them" if len(unfinished) > 1 else "it"))
    for path, facts in found:
        if facts.records != found[0][1].records:
            raise BadDataError(f"this has counted other records than {paths[0].name}", where=str(path))
        if not all(map(facts.deal.has, facts.left_out)) or facts.left_out != sorted(set(facts.left_out)):
            raise BadDataError("records of another shard are left out", where=str(path), hint=_redo(path))
    return [facts for _, facts in found]


def _write(file: IO[bytes], out: Path, shards: Sequence[Facts], silent: bool) -> int:
    """The number of lines, each of which has been read from the shard that its record was dealt to.

    Raises:
      BadDataError: a shard has other lines than when it was finished.
    """
    lines = [ShardLines(answer_shards.path_of(out, facts.shard)) for facts in shards]
    records, block = shards[0].records or 0, shards[0].block
    count = 0
    for number in tqdm(range(records), "gathering", unit="records", leave=False, disable=silent):
        turn = number // block % len(shards)
        if not shards[turn].is_left_out(number):
            file.write(lines[turn].read())
            count += 1
    for one, facts in zip(lines, shards, strict=True):
        one.check_end(facts.answers)
    if count != sum(facts.lines for facts in shards):
        raise BadDataError("the shards have other numbers of answers than of records", where=str(out))
    return count


def _redo(path: Path) -> str:
    return f"Remove {path.name} and {answer_shards.beside(path).name}, and run this shard again"

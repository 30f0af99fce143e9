"""Shards of a file of answers: which records each has, and what stands beside its answers so that it is known again.

Records are dealt in blocks of as many as are scored together: of N shards the first has blocks 1, N + 1 and so on. A
block shares no batch with another, so that every answer is the same as where all records are answered by one process.

`OUT.tsv` has the shards `OUT.03-of-64.tsv`. Beside each is `OUT.03-of-64.tsv.shard.json`, which is there before the
first answer: the SHA-256 of the records' file, and all that answers depend on. What is known at the end joins it: how
many records there are, which of them are left out, and the SHA-256 of the answers.
"""

import bisect
import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from palitune.config.sharding import MOST, Shard
from palitune.data import answer_source
from palitune.data.prediction import MadeWith
from palitune.errors import BadDataError
from palitune.storage import atomic_files, files

VERSION = 1
MOST_RECORDS = 1 << 48
LARGEST = 64 << 20  # bytes of what stands beside a shard: numbers of records that are left out
SUFFIX = ".shard.json"
OTHER = "Name another output, or remove this one"
THOSE = "Name another output, or remove the shards that are there, with what is beside them"
WEIGHTS = "the model's weights are others than in"


class Deal(NamedTuple):
    """Which records a shard has. Records are numbered from 0.

    Attributes:
      shard: which one.
      block: records that are dealt together.
    """

    shard: Shard
    block: int

    def has(self, number: int) -> bool:
        """Whether a record is one of the shard's."""
        return number // self.block % self.shard.of == self.shard.number - 1

    def nth(self, place: int) -> int:
        """The number of the record that is the shard's own at a place, from 0."""
        block, rest = divmod(place, self.block)
        return (block * self.shard.of + self.shard.number - 1) * self.block + rest

    def count(self, records: int) -> int:
        """How many of the first records are the shard's."""
        blocks, rest = divmod(records, self.block)
        rounds, more = divmod(blocks, self.shard.of)
        own = rounds + (more >= self.shard.number)
        return own * self.block + (rest if more == self.shard.number - 1 else 0)


@dataclasses.dataclass
class Facts:
    """What is known of a shard.

    Attributes:
      shard: which one.
      block: records that are dealt together.
      source: the SHA-256 of the file of records.
      made: all that answers depend on beside the records: the model, the prompt, labels, settings.
      records: of the whole file; None while the shard is not finished, as the two below.
      left_out: the numbers of its records that have no answer, because of their images, in ascending order.
      answers: the SHA-256 of its answers.
    """

    shard: Shard
    block: int
    source: str
    made: dict[str, Any]
    records: int | None = None
    left_out: list[int] = dataclasses.field(default_factory=list)
    answers: str | None = None

    @property
    def deal(self) -> Deal:
        """Which records it has."""
        return Deal(self.shard, self.block)

    @property
    def lines(self) -> int:
        """How many answers a finished shard has."""
        return self.deal.count(self.records or 0) - len(self.left_out)

    def made_with(self) -> MadeWith:
        """What its answers are made with. Raises as `answer_source.made_with`."""
        return answer_source.made_with(self.made)

    def is_left_out(self, number: int) -> bool:
        """Whether a record has no answer."""
        place = bisect.bisect_left(self.left_out, number)
        return place < len(self.left_out) and self.left_out[place] == number

    def write(self, path: Path) -> None:
        """Writes it beside the answers at `path`. Raises as `atomic_files.write`."""
        content = {"version": VERSION, **dataclasses.asdict(self)}
        atomic_files.write(beside(path), json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")

    def require_same(self, other: "Facts", where: Path, whose: str, remedy: str = OTHER) -> None:
        """Raises BadDataError where another shard, or this one before it was interrupted, has other beginnings.

        Args:
          where: the answers of this one.
          whose: what the other one is, in the message.
          remedy: what to do where both are meant to be different.
        """
        if self.source != other.source:
            raise BadDataError(f"these are answers to other records than {whose}", where=str(where), hint=remedy)
        if self.block != other.block:
            what = f"-b is {self.block}, and {other.block} in {whose}"
            raise BadDataError(what, where=str(where), hint="Use the same -b for all shards")
        both = [(name, self.made.get(name), other.made.get(name)) for name in sorted({**self.made, **other.made})]
        differences = [
            f"{name} is {str(own)[:60]!r}, and {str(its)[:60]!r} in {whose}" if name != "mark" else f"{WEIGHTS} {whose}"
            for name, own, its in both
            if own != its
        ]
        if differences:
            hint = f"Use the same model and settings. {remedy}"
            raise BadDataError("; ".join(differences), where=str(where), hint=hint)


def beside(path: Path) -> Path:
    """Where the facts of the answers at a path are."""
    return path.with_name(path.name + SUFFIX)


def path_of(out: Path, shard: Shard) -> Path:
    """Where a shard's answers are, of which all together will be at `out`."""
    number = str(shard.number).zfill(len(str(shard.of)))
    return out.with_name(f"{out.stem}.{number}-of-{shard.of}{out.suffix}")


def counts_of(out: Path) -> list[int]:
    """Of how many shards there are any beside `out`: one number, unless there are shards of several divisions."""
    name = re.compile(rf"{re.escape(out.stem)}\.\d+-of-(\d+){re.escape(out.suffix)}{re.escape(SUFFIX)}")
    found = (name.fullmatch(path.name) for path in out.parent.iterdir()) if out.parent.is_dir() else ()
    return sorted({int(one[1]) for one in found if one is not None and 1 <= int(one[1]) <= MOST})


def read(path: Path) -> Facts | None:
    """The facts of the answers at a path; None where there are none.

    Raises:
      BadDataError: they are damaged, or of another version.
    """
    side = beside(path)
    try:
        content = json.loads(files.read(side, LARGEST))
        if content.pop("version") != VERSION:
            raise BadDataError("this is of another version of palitune", where=str(side), hint="Update palitune")
        found = Facts(**content)
        found.shard = Shard(*map(int, found.shard))
        found.made_with()
        whole = [found.block, 0 if found.records is None else found.records, *found.left_out]
        if any(type(one) is not int or not 0 <= one < MOST_RECORDS for one in whole) or found.block == 0:
            raise ValueError("a value is of another kind")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        hint = "Remove it together with its answers, and run this shard again"
        raise BadDataError(f"this tells nothing of a shard ({error})", where=str(side), hint=hint) from None
    return found


def sha256(path: Path) -> str:
    """Of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def begin(path: Path, facts: Facts, has_answers: bool) -> None:
    """Says beside answers what they are, before the first of them, or checks that those that are there are the same.

    Raises:
      BadDataError: the answers that are there, or those of another shard, are of other records or settings, or nothing
        tells what they are.
      StorageError: it cannot be written.
    """
    known = read(path) if has_answers else None
    if has_answers and known is None:
        what = "these answers are of no shard that is known"
        raise BadDataError(what, where=str(path), hint=f"{beside(path).name} has to be beside them. {OTHER}")
    if known is not None:
        if known.shard != facts.shard:
            raise BadDataError(f"this is shard {known.shard}, not {facts.shard}", where=str(path), hint=OTHER)
        known.require_same(facts, path, "what is asked now")
    else:
        _require_like_others(path, facts)
    facts.write(path)


def _require_like_others(path: Path, facts: Facts) -> None:
    """Raises BadDataError where shards of the same output are there that could not be gathered with this one."""
    out = path.with_name(f"{path.stem.rpartition('.')[0]}{path.suffix}")
    if others := [count for count in counts_of(out) if count != facts.shard.of]:
        what = f"there are shards of {others[0]} already, and this is {facts.shard}"
        raise BadDataError(what, where=str(path), hint=THOSE)
    if (near := _another(path, out, facts.shard)) is not None:
        facts.require_same(near[1], path, near[0].name, THOSE)


def _another(path: Path, out: Path, shard: Shard) -> tuple[Path, Facts] | None:
    """Another shard of the same answers, if one is here; what is wrong with it `palitune gather` tells."""
    for number in range(1, shard.of + 1):
        other = path_of(out, Shard(number, shard.of))
        with contextlib.suppress(BadDataError):
            if other != path and (found := read(other)) is not None:
                return other, found
    return None


def require_deal(path: Path, deal: Deal) -> None:
    """Raises BadDataError where the answers that are there were begun with records dealt otherwise."""
    known = read(path) if path.stat().st_size else None
    if known is not None and known.block != deal.block:
        what = f"this shard has been begun with -b {known.block}, and not {deal.block}"
        raise BadDataError(what, where=str(path), hint=f"Use -b {known.block} for all shards")


def finish(path: Path, facts: Facts, records: int, left_out: Iterable[int]) -> None:
    """Says beside answers that all of them are there. Raises StorageError: it cannot be written."""
    facts.records, facts.left_out = records, list(left_out)
    facts.answers = sha256(path) if path.exists() else hashlib.sha256().hexdigest()
    facts.write(path)

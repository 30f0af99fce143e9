"""Shards: parts of a file of records, each of which is answered by a process of its own."""

import dataclasses
import re
from typing import NamedTuple

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import Kind

MOST = 10_000  # shards of a file


class Shard(NamedTuple):
    """One of the parts of a file of records.

    Attributes:
      number: from 1.
      of: how many parts there are.
    """

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class ShardOf(Kind[Shard]):
    """A shard's number, and how many there are: `I/N`."""

    def describe(self) -> str:
        return "`1/N` to `N/N`"

    def parse(self, text: str) -> Shard:
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None:
            raise ValueError(f"{text!r} is not I/N, such as 3/64 for the third of 64 shards")
        return self.check((int(found[1]), int(found[2])))

    def check(self, value: object) -> Shard:
        is_pair = isinstance(value, (list, tuple)) and len(value) == 2
        if not is_pair or not all(type(one) is int for one in value):  # type: ignore[attr-defined]
            raise ValueError(f"{value!r} is not a shard's number and how many there are")
        shard = Shard(*value)  # type: ignore[misc]
        if not 1 <= shard.of <= MOST:
            raise ValueError(f"{shard} has {shard.of} shards, and 1 to {MOST:,} are possible")
        if not 1 <= shard.number <= shard.of:
            raise ValueError(f"{shard} is none of the shards 1/{shard.of} to {shard.of}/{shard.of}: they count from 1")
        return shard


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardSettings(Settings):
    """Which part of the records is answered."""

    shard: tuple[int, int] | None = setting(
        None,
        ShardOf(),
        "answer part I of N, from 1/N to N/N, into a file of its own beside OUT; `palitune gather OUT` puts the N "
        "parts together",
        metavar="I/N",
        shown="all records",
    )

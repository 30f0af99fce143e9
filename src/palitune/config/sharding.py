"""Shards: parts of a file of records, each of which is answered by a process of its own."""

import dataclasses
import re
from typing import NamedTuple

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import Choice, File, Flag, Kind, Number, Whole
from palitune.errors import UsageError

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
    """What is answered, where the answers go, and which part is answered here or by which workers."""

    data: str | None = setting(
        None,
        File(),
        "records, JSONL, TSV, CSV or Parquet, or an address such as s3://; - is standard input",
        "-d",
        metavar="FILE",
    )
    batch_size: int = setting(8, Whole(), "records that are answered at a time", "-b", metavar="N")
    on_bad_image: str = setting(
        "stop",
        Choice(("stop", "skip")),
        "stop before the model is asked, naming all of them, or leave their records out",
    )
    resume: str | None = setting(
        None,
        File(),
        "write to OUT instead of standard output, after the lines that an interrupted run left there",
        metavar="OUT",
    )
    output: str | None = setting(
        None,
        File(),
        "write to OUT when all answers are there, to an address such as s3:// too; OUT.parquet is a table",
        metavar="OUT",
    )
    jsonl: bool = setting(False, Flag(), "write JSONL: all keys of a record, with correct, p_yes and answer")
    shard: tuple[int, int] | None = setting(
        None,
        ShardOf(),
        "answer part I of N, from 1/N to N/N, into a file of its own beside OUT; `palitune gather OUT` puts the N "
        "parts together",
        metavar="I/N",
        shown="all records",
    )
    ray_workers: int | None = setting(
        None,
        Whole(1, MOST),
        "deal shards to so many workers of a Ray cluster, that of RAY_ADDRESS or one of this machine, and gather OUT",
        metavar="N",
    )
    ray_gpus: float = setting(0.0, Number(0, 64, "from 0 to 64"), "GPUs of each of them, as 1 or 0.5", metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard is not None and self.ray_workers is not None:
            raise UsageError("--ray-workers deals all shards, and --shard is one of them: leave one out")

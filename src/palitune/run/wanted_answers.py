"""What is answered, and how the answers are written."""

from typing import NamedTuple

from palitune.config.sharding import Shard, ShardSettings
from palitune.data.answer_shards import Deal


class Wanted(NamedTuple):
    """What is answered, and how the answers are written.

    Attributes:
      data: a file of examples, JSONL, TSV or a table, or its address; "-" is standard input.
      skip_bad_images: leave out examples whose images cannot be used, instead of stopping before the model runs.
      resume: a file that answers are added to; None writes to standard output.
      jsonl: write JSONL instead of TSV.
      batch_size: examples that are answered at a time.
      ray_workers, ray_gpus: of a cluster, for `ray_pipeline`.
      output: a file that appears when all answers are there, Parquet by its ending; or an address, as s3://.
      shard: the part of the examples that is answered, with a file of its own beside `resume`; None is all of them.
    """

    data: str
    skip_bad_images: bool = False
    resume: str | None = None
    jsonl: bool = False
    batch_size: int = 8
    quiet: bool = False
    shard: Shard | None = None
    output: str | None = None
    ray_workers: int | None = None
    ray_gpus: float = 0.0

    @classmethod
    def of(cls, parts: ShardSettings, quiet: bool) -> "Wanted":
        """What settings say."""
        shard = Shard(*parts.shard) if parts.shard else None
        skip, ray = parts.on_bad_image == "skip", (parts.ray_workers, parts.ray_gpus)
        return cls(
            parts.data or "-", skip, parts.resume, parts.jsonl, parts.batch_size, quiet, shard, parts.output, *ray
        )

    @property
    def deal(self) -> Deal:
        """Which examples are answered, in blocks that share no batch."""
        return Deal(self.shard or Shard(), self.batch_size)

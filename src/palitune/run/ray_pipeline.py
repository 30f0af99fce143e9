"""A model's answers from all workers of a Ray cluster, through Ray Data; a worker that ends is replaced. Needs ray.

Its unit is a shard, as of `palitune inference --shard`: a worker reads the shard's records and answers them, and what
comes of it is written as that shard's file. A run that was interrupted asks only about the shards that have none, and
what is gathered at the end is what one process would have written.
"""

import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from palitune import errors
from palitune.config.predictor_config import PredictorConfig
from palitune.config.sharding import MOST, Shard
from palitune.data import answer_shards
from palitune.data.answer_shards import Facts
from palitune.data.formats.lines import require_file
from palitune.data.image_folders import ImageFolders
from palitune.data.long_chats import Shortener
from palitune.errors import ConfigurationError, OutputExistsError, PalituneError, UsageError
from palitune.infer.asked import located
from palitune.infer.predictor import Predictor
from palitune.run.answer_lines import line_of
from palitune.run.gathering import gather
from palitune.run.inference import Asked, of_examples, rejected_below
from palitune.run.wanted_answers import Wanted
from palitune.storage import append_file, atomic_files

INSTALL = "Install it: pip install 'palitune[ray]'"
SHARDS_OF_A_WORKER = 8  # so that all workers end at about the same time, and one that is replaced repeats little


class ShardAnswerer:
    """A worker: a model that answers one shard after another."""

    def __init__(self, config: PredictorConfig, wanted: Wanted, count: int, folder: str) -> None:
        """Args:
        count: how many shards there are.
        folder: that paths are relative to, the same on all machines.
        """
        os.chdir(folder)
        self.config, self.wanted, self.count = config, wanted, count
        self.predictor = Predictor.of(config, batch_size=wanted.batch_size, quiet=True)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The lines of the shards whose numbers are in `batch`, and what is known of each, or is wrong with it."""
        found = []
        for number in batch["number"]:
            try:
                content, told = self.answered(Shard(int(number), self.count))
            except PalituneError as error:  # it would be asked again
                content, told = b"", {"error": [type(error).__name__, error.what, error.where, error.hint]}
            found.append((int(number), content, json.dumps(told)))
        return dict(zip(("number", "content", "told"), map(list, zip(*found, strict=True)), strict=True))

    def answered(self, shard: Shard) -> tuple[bytes, dict[str, Any]]:
        """One shard's lines, and what is known of them. Raises as `Predictor.predict`."""
        wanted, made = self.wanted._replace(shard=shard), self.predictor.made
        folders = ImageFolders.of(Path(wanted.data), self.config)

        def left_out(problem: PalituneError) -> None:
            if not wanted.skip_bad_images:
                raise problem

        with Asked(wanted, None, folders) as asked:
            examples = Shortener(self.predictor.template)(located(asked, folders, left_out))
            found = self.predictor.predict(examples, left_out, block_size=wanted.batch_size)
            each = of_examples(asked.new(rejected_below(found, self.config.min_p)))
            lines = [line_of(one, made.labels, wanted.jsonl) + "\n" for one in each]
            asked.finish()
            facts = asked.known(made, self.config)
        content = "".join(lines).encode("utf-8", "surrogateescape")
        told = {"block": facts.block, "source": facts.source, "made": facts.made}
        return content, told | {"left_out": asked.gaps, "records": asked.records}


def answer(config: PredictorConfig, wanted: Wanted) -> None:
    """Writes the answers to `wanted.resume`, whole or not at all; the shards' files beside it stay.

    Raises:
      ConfigurationError: ray is not installed, or a worker has failed.
      OutputExistsError: there is a file already, or another process is at work on it.
      MissingInputError, BadDataError, UsageError: as `run.inference.answer` and `gathering.gather`.
    """
    ray = _ray()
    if not wanted.resume or wanted.output:
        raise UsageError("--ray-workers needs --resume OUT, and no --output: the shards' answers go beside OUT")
    out, workers = Path(wanted.resume), wanted.ray_workers or 1
    if out.exists():
        raise OutputExistsError("this file exists", where=str(out), hint="Remove it, or name another one")
    count = answer_shards.counts_of(out)[:1] or [min(MOST, workers * SHARDS_OF_A_WORKER)]
    require_file(Path(wanted.data))
    atomic_files.check_writable(out)
    with append_file.exclusive(out.with_name(f".{out.name}.ray")):
        shards = [Shard(number, count[0]) for number in range(1, count[0] + 1)]
        missing = [one for one in shards if not _is_finished(answer_shards.path_of(out, one))]
        if missing:
            _answer_missing(ray, config, wanted, missing)
        gather(out, Path(wanted.data), quiet=wanted.quiet)


def _ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigurationError("--ray-workers needs ray, which is not installed", hint=INSTALL) from None
    return ray


def _is_finished(path: Path) -> bool:
    facts = answer_shards.read(path)
    return facts is not None and facts.records is not None


def _answer_missing(ray: ModuleType, config: PredictorConfig, wanted: Wanted, missing: list[Shard]) -> None:
    """Has workers answer shards, and writes the file of each as it comes. Raises what a worker has raised."""
    workers = wanted.ray_workers or 1
    if not ray.is_initialized():
        own = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": max(os.cpu_count() or 1, workers + 1)}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, **own)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    numbers = [{"number": one.number} for one in missing]
    told = {"config": config, "wanted": wanted._replace(resume=None), "count": missing[0].of, "folder": os.getcwd()}
    options = {"num_gpus": wanted.ray_gpus} if wanted.ray_gpus else {"num_cpus": 1}
    answered = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        ShardAnswerer, batch_size=1, fn_constructor_kwargs=told, concurrency=min(workers, len(numbers)), **options
    )
    silent = wanted.quiet or not sys.stderr.isatty()
    try:
        for row in tqdm(answered.iter_rows(), "answering", len(numbers), unit="shards", leave=False, disable=silent):
            _keep(Path(str(wanted.resume)), Shard(int(row["number"]), missing[0].of), row)
    except ray.exceptions.RayError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
        raise ConfigurationError(f"a worker has failed: {line}", hint="Ray's own logs tell more") from None


def _keep(out: Path, shard: Shard, row: dict[str, Any]) -> None:
    """Writes a shard's answers, and what is known of them beside. Raises what was wrong with it."""
    path, told = answer_shards.path_of(out, shard), json.loads(row["told"])
    if "error" in told:
        name, what, where, hint = told["error"]
        raise getattr(errors, name)(what, where=where, hint=hint)
    facts = Facts(shard, told["block"], told["source"], told["made"])
    facts.write(path)
    atomic_files.write(path, row["content"])
    answer_shards.finish(path, facts, told["records"], told["left_out"])

"""What a run left beside its checkpoint about the data that it learned from and what the result is worth."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune.checkpoint import manifest
from palitune.errors import PalituneError
from palitune.evaluate import metrics
from palitune.evaluate.confusion import NEGATIVE, POSITIVE, Confusion
from palitune.evaluate.label_figures import LabelFigures, SetFigures
from palitune.evaluate.metrics import NAMES, Figure
from palitune.evaluate.outcomes import outcomes_of
from palitune.evaluate.report.result_block import Block, read_blocks
from palitune.run import run_reading
from palitune.run.folder import EVALUATED, LONGEST_LINE, UNTRAINED, RunFolder, read_config
from palitune.storage import files

MOST = 8 << 20  # bytes of the result blocks
EVENT = f'"event": "{EVALUATED}"'.encode()


class Evaluated(NamedTuple):
    """A data set with the figures before and after learning.

    Attributes:
      is_validation: whether no model that was evaluated on a record has learned from it.
      after: figures by their titles.
      before: the same before learning; empty where they are not known.
      labels: figures of each label, where it has several or there are more than two; else empty.
      is_out_of_fold: whether they are those of the folds, after which all records were learned from.
    """

    examples: int
    is_validation: bool
    after: Mapping[str, Figure]
    before: Mapping[str, Figure]
    labels: Mapping[str, LabelFigures] = {}
    is_out_of_fold: bool = False


class RunResults(NamedTuple):
    """Of a run: how many examples it learned from, and its last evaluation."""

    trained_on: int | None = None
    evaluated: Evaluated | None = None


class OwnRun(NamedTuple):
    """The folder of the run that made a checkpoint, and its configuration."""

    folder: RunFolder
    content: Mapping[str, Any]


def own_run(checkpoint: Path) -> OwnRun | None:
    """The run of a checkpoint; None where there is none, or where the one of its name made another checkpoint."""
    folder = RunFolder(checkpoint)
    if checkpoint.is_dir() or not folder.config.is_file():
        return None
    try:
        known, content = manifest.read(checkpoint), read_config(folder.config)
        kept = run_reading.told(folder.metrics).settings  # of the best of several trials
    except PalituneError:
        return None
    base = known.get("base") or {}
    made = {**content["config"], **kept}
    # The training on all records behind the folds is evaluated at its end alone.
    own = () if run_reading.in_folds(content) is None else ("evaluate_every",)
    same = _given(made, own) == _given(known.get("config", {}), own)
    return OwnRun(folder, content) if same and content["base"].get("hash") == base.get("hash") else None


def _given(config: Mapping[str, object], leave_out: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in config.items() if value is not None and name not in leave_out}


def of_checkpoint(checkpoint: Path) -> RunResults:
    """What the run of a checkpoint left; nothing where there is none, or where it made another checkpoint."""
    own = own_run(checkpoint)
    if own is None:
        return RunResults()
    folder, content = own
    try:
        blocks = read_blocks(files.read(folder.blocks, MOST).decode())
    except (OSError, ValueError):
        return RunResults()
    parts = [part for part in content["data"].values() if isinstance(part.get("file"), str)]
    counts = [part["records"] for part in parts if type(part.get("records")) is int]
    if not parts or len(counts) < len(parts):
        return RunResults()
    folds = run_reading.in_folds(content)
    name, is_validation = (
        Path(parts[-1]["file"]).name if folds is None else folds.name,
        folds is not None or len(parts) > 1,
    )
    found = _evaluated(blocks, name, is_validation) or _written_down(folder.metrics, name, is_validation)
    if folds is None:
        return RunResults(counts[0], found)
    return RunResults(folds.records, None if found is None else found._replace(is_out_of_fold=True))


def _evaluated(blocks: list[Block], name: str, is_validation: bool) -> Evaluated | None:
    """The last evaluation of a file, and the first if that was before learning."""
    found = [block for block in blocks if Path(block.path).name == name]
    if not found or found[-1].label == UNTRAINED:
        return None
    last, first = found[-1].confusion, found[0]
    before = _figures(first.confusion) if first.label == UNTRAINED else {}
    return Evaluated(last.tp + last.tn + last.fp + last.fn, is_validation, _figures(last), before)


def _written_down(metrics_file: Path, name: str, is_validation: bool) -> Evaluated | None:
    """As `_evaluated`, of what a run's metrics tell where its result blocks are no counts of yes and no."""
    found: list[tuple[str, SetFigures]] = []
    try:
        with files.open_to_read(metrics_file) as file:
            while line := file.readline(LONGEST_LINE):
                if EVENT in line:
                    row = json.loads(line)
                    if row.get("data") == name:
                        found.append((str(row["label"]), SetFigures.from_json(row)))
    except (PalituneError, OSError, ValueError, KeyError, AttributeError, RecursionError):
        return None
    if not found or found[-1][0] == UNTRAINED:
        return None
    last, (label, first) = found[-1][1], found[0]
    return Evaluated(
        last.records, is_validation, last.figures, first.figures if label == UNTRAINED else {}, last.labels
    )


def _figures(counts: Confusion) -> dict[str, Figure]:
    """The figures of a confusion matrix; each record's own answer does not matter to them."""
    groups = (
        (counts.tp, POSITIVE, POSITIVE),
        (counts.tn, NEGATIVE, NEGATIVE),
        (counts.fp, NEGATIVE, POSITIVE),
        (counts.fn, POSITIVE, NEGATIVE),
    )
    labels = [label for count, label, _ in groups for _ in range(count)]
    answers = [answer for count, _, answer in groups for _ in range(count)]
    outcomes = outcomes_of(labels, answers, [None] * len(labels), (POSITIVE, NEGATIVE))
    return {NAMES[name]: one for name, one in metrics.with_intervals(outcomes).items() if one.value is not None}

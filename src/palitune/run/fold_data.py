"""What a run in folds learns from: the records of a data set, which folds they are in, and what is left untouched."""

import hashlib
import itertools
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune import console
from palitune.config.run_config import GREEDY, RunConfig
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.errors import BadDataError, UsageError, printable
from palitune.run import folds
from palitune.run.folds import Places
from palitune.run.reproduce import MARKS

MOST_NAMED = 80  # characters of what a record is about


class FoldData(NamedTuple):
    """The records of a run in folds.

    Attributes:
      examples: that are learned from.
      places: those of each fold in `examples`.
      untouched: examples that nothing is chosen by, for the end.
    """

    examples: list[Example]
    places: list[Places]
    untouched: list[Example]


def files_of(config: RunConfig) -> list[Path]:
    """The files of the folds that a split was made into; empty where a run is not of such a split.

    Raises:
      UsageError: another number of folds was asked for.
    """
    found = dataset_files.folds_of(config.data)
    if found and config.folds not in (None, len(found)):
        raise UsageError(f"--folds {config.folds}: {config.data} has {len(found)} folds", hint="Leave --folds out")
    if found and config.nested:
        what = f"--nested parts the records itself, and {config.data} has been split into folds"
        raise UsageError(what, hint="Name the data file with -d, and the number of folds with --folds")
    return found


def require_effect(config: RunConfig) -> None:
    """Raises UsageError for settings that have no effect with folds, or without."""
    if config.folds is None:
        if config.nested:
            raise UsageError("--nested is for --folds: add it, or leave --nested out")
        return
    if config.second_pass:
        raise UsageError("--folds chooses the steps of one pass: leave out -2")
    if config.valid_data:
        raise UsageError("--folds evaluates on the records themselves: leave out --valid-data")
    if config.patience:
        raise UsageError("--folds compares all folds after the same steps: leave out --patience")
    if config.combine == GREEDY and config.repeat == 1:
        what = "--combine greedy-soup asks for records that no fold has learned from, and there are none"
        raise UsageError(what, hint="--combine soup or ensemble joins the models of the folds")


def parted(sets: Mapping[Path, Sequence[Example]], config: RunConfig, count: int, *, by_files: bool) -> FoldData:
    """The records of some files in folds.

    Args:
      count: of the folds.
      by_files: each file is a fold.

    Raises:
      UsageError, BadDataError: as `folds.parts`, and of files that have the same.
    """
    examples = [one for found in sets.values() for one in found]
    if by_files:
        ends = [0]
        for found in sets.values():
            ends.append(ends[-1] + len(found))
        _require_apart(sets)
        return FoldData(examples, [list(range(*pair)) for pair in itertools.pairwise(ends)], [])
    if any(one.images for one in examples):
        console.status(f"comparing the images of {len(examples)} records", config.quiet)
    places = folds.parts(examples, count + config.nested, config.seed, quiet=config.quiet)
    untouched = places.pop() if config.nested else []
    kept = sorted(set(range(len(examples))) - set(untouched))
    at = {place: number for number, place in enumerate(kept)}
    return FoldData(
        [examples[place] for place in kept],
        [[at[place] for place in part] for part in places],
        [examples[place] for place in untouched],
    )


def _require_apart(sets: Mapping[Path, Sequence[Example]]) -> None:
    """Raises BadDataError if two folds are about the same: it would be learned from where it is held out."""
    known: dict[Hashable, tuple[Path, str]] = {}
    for path, examples in sets.items():
        for one in examples:
            other, where = known.setdefault(one.about, (path, one.where))
            if other != path:
                what = f"{printable(one.subject[:MOST_NAMED])} is in two folds, here and at {where}"
                hint = "palitune split --folds makes folds that have nothing in common"
                raise BadDataError(f"{what}: it would be learned from where it is held out", where=one.where, hint=hint)


def together(files: Sequence[Path]) -> Path:
    """The name of the records of all files together, which is no file: `dataset/set1/train.jsonl + valid.jsonl`.

    Args:
      files: one, the two parts of a split, or the folds of one.
    """
    if len(files) == 1:
        return files[0]
    folder = Path(os.path.commonpath([path.parent for path in files]))
    if len(files) > 2:
        return folder / "fold*"
    return folder / " + ".join("-".join(path.relative_to(folder).parts) for path in files)


def facts(config: RunConfig, data: FoldData, files: Mapping[str, Mapping[str, Any]], name: Path) -> dict[str, Any]:
    """What `config.json` has of the folds: how many, and the records that they are evaluated on, like those of a file.

    Args:
      files: what it has of each file.
      name: of their records together.
    """
    if len(files) == 1 and not data.untouched:
        return {"count": config.folds, **next(iter(files.values()))}
    found: dict[str, Any] = {"count": config.folds, "file": str(name), "records": len(data.examples)}
    # Of the same files others are left untouched by other numbers.
    some = f" {config.folds} {config.seed}" if data.untouched else ""
    for key in MARKS:
        found[key] = hashlib.sha256((" ".join(one[key] for one in files.values()) + some).encode()).hexdigest()
    return found

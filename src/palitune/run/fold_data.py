"""What a run in folds learns from: the records of a data set, which folds they are in, and what is left untouched."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.config.run_config import GREEDY, RunConfig
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.errors import UsageError
from palitune.run import folds
from palitune.run.folds import Places


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
    if config.folds < 2:
        raise UsageError("--folds takes 2 or more")
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
      UsageError, BadDataError: as `folds.parts`.
    """
    examples = [one for found in sets.values() for one in found]
    if by_files:
        ends = [0]
        for found in sets.values():
            ends.append(ends[-1] + len(found))
        return FoldData(examples, [list(range(*pair)) for pair in itertools.pairwise(ends)], [])
    places = folds.parts(examples, count + config.nested, config.seed)
    untouched = places.pop() if config.nested else []
    kept = sorted(set(range(len(examples))) - set(untouched))
    at = {place: number for number, place in enumerate(kept)}
    return FoldData(
        [examples[place] for place in kept],
        [[at[place] for place in part] for part in places],
        [examples[place] for place in untouched],
    )

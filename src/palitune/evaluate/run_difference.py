"""Two runs: settings and data that differ, what both are worth, and whether the difference is more than chance."""

import collections
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from palitune.config.model import FolderSettings
from palitune.config.settings import settings_of
from palitune.data import example_files
from palitune.data.image_folders import ImageFolders
from palitune.errors import PalituneError
from palitune.evaluate import answer_files, comparison, run_answers, run_settings, several_answers, several_comparison
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.comparison import Comparison
from palitune.evaluate.past_run import DataFile, PastRun
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.evaluate.several_comparison import SeveralComparison
from palitune.labels import plain

Labels = dict[tuple[str, ...], list[object]]  # of records, by what they ask about what


class Records(NamedTuple):
    """Records of the second of two files against those of the first, by what they ask about what."""

    added: int
    removed: int
    relabelled: int


class DataDifference(NamedTuple):
    """A file of both runs: what it is to them, whether it is the same, and if not what its records differ in.

    Attributes:
      records: None where the files are the same, or no longer what they were.
      gone: the file that is no longer what it was, or is not there.
    """

    what: str
    first: DataFile
    second: DataFile
    is_same: bool
    records: Records | None = None
    gone: str = ""


class Paired(NamedTuple):
    """Answers of both runs to records that both were evaluated on, in the same order, and what changed."""

    before: Answers
    after: Answers
    found: Comparison


class PairedSeveral(NamedTuple):
    """As `Paired`, of several labels of each record."""

    before: SeveralAnswers
    after: SeveralAnswers
    found: SeveralComparison


class RunDifference(NamedTuple):
    """The second of two runs against the first.

    Attributes:
      settings: both values of those that differ.
      tested: None where the runs have no answers to the same records.
      why: then, the reason.
    """

    first: PastRun
    second: PastRun
    settings: Mapping[str, tuple[object, object]]
    data: list[DataDifference]
    tested: Paired | PairedSeveral | None
    why: str


def compare(first: PastRun, second: PastRun) -> RunDifference:
    """The difference of two runs."""
    hashes = (run_settings.TRAINING, run_settings.VALIDATION)
    changed = {name: pair for name, pair in run_settings.changes(first, second).items() if name not in hashes}
    data = [
        _data(run_settings.TRAINING, first, second, first.trained_on, second.trained_on),
        _data(run_settings.VALIDATION, first, second, first.evaluated_on, second.evaluated_on),
    ]
    tested, why = _tested(first, second)
    return RunDifference(first, second, changed, data, tested, why)


def _data(what: str, first: PastRun, second: PastRun, one: DataFile, other: DataFile) -> DataDifference:
    if one.sha256 == other.sha256:
        return DataDifference(what, one, other, one.images == other.images)
    sets = []
    for run, data in ((first, one), (second, other)):
        found: Labels = collections.defaultdict(list)
        files = run.sets if data is run.in_folds else (data,)
        if data is run.in_folds and data.records != sum(file.records or 0 for file in files):
            return DataDifference(what, one, other, False, gone=f"a part of {data.file}")
        for file in files:
            known = _labels_of(run, file)
            if known is None:
                return DataDifference(what, one, other, False, gone=file.file)
            for key, labels in known.items():
                found[key] += labels
        sets.append(found)
    old, new = sets
    added = sum(max(0, len(labels) - len(old.get(key, ()))) for key, labels in new.items())
    removed = sum(max(0, len(labels) - len(new.get(key, ()))) for key, labels in old.items())
    relabelled = 0
    for key in old.keys() & new.keys():
        kept = (collections.Counter(old[key]) & collections.Counter(new[key])).total()
        relabelled += min(len(old[key]), len(new[key])) - kept
    return DataDifference(what, one, other, False, Records(added, removed, relabelled))


def _labels_of(run: PastRun, data: DataFile) -> Labels | None:
    """The labels of a file's records by what they ask about what; None where the file is not what it was."""
    path = Path(data.file)
    try:
        with path.open("rb") as file:
            if not data.sha256 or hashlib.file_digest(file, "sha256").hexdigest() != data.sha256:
                return None
        known = {one.name for one in settings_of(FolderSettings)}
        given = {name: value for name, value in run.settings.items() if name in known}
        folders = ImageFolders.of(path, FolderSettings.of(given))
        found: Labels = collections.defaultdict(list)
        for one in example_files.stream(path, labelled=False, folders=folders):
            label = tuple((target.name, plain(target.answer or "")) for target in one.targets)
            found[one.key].append(label)
    except (PalituneError, OSError, ValueError):
        return None
    return dict(found)


def _tested(first: PastRun, second: PastRun) -> tuple[Paired | PairedSeveral | None, str]:
    """What changed in the answers to the same records; else None, and why."""
    pair = []
    for run in (first, second):
        if run.answers is None:
            return None, f"{run.name} has no answers of its own to the records that it was evaluated on"
        if (read := run_answers.read(run)) is None:
            return None, f"the answers of {run.name} cannot be read ({run.answers})"
        pair.append(read)
    before, after = pair
    try:
        if isinstance(before, SeveralAnswers) and isinstance(after, SeveralAnswers):
            both = several_answers.same_records(before, after)
            return PairedSeveral(*both, several_comparison.compare(both[0].table, both[1].table)), ""
        if isinstance(before, Answers) and isinstance(after, Answers):
            same = answer_files.same_records(before, after)
            return Paired(*same, comparison.compare(same[0].outcomes, same[1].outcomes)), ""
    except PalituneError as error:
        return None, f"{error.what}: they have no answers to the same records"
    return None, "one of them has one label for each record, and the other several"

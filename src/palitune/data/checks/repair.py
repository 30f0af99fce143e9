"""What can be repaired of data, written anew."""

import collections
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import atomic_files
from palitune.data.checks.lint import Report, Set
from palitune.data.example import Example
from palitune.data.formats.json_lines import to_json
from palitune.data.labels import LABELS
from palitune.data.split import subset_names
from palitune.errors import OutputExistsError, UsageError


def targets(out: str, paths: Sequence[Path], overwrite: bool) -> dict[Path, Path]:
    """Where the repaired form of each file goes: `out` itself for one file, else a folder of that name.

    Raises:
      UsageError: one of the files would be written over.
      OutputExistsError: a file is there, and `overwrite` is false.
    """
    place = Path(out)
    found = {paths[0]: place} if len(paths) == 1 else {path: place / path.name for path in paths}
    if len(set(found.values())) < len(paths):  # as in train/annotations.jsonl and valid/annotations.jsonl
        shared = os.path.commonpath([path.absolute().parent for path in paths])
        found = {path: place / os.path.relpath(path.absolute(), shared) for path in paths}
    for path, target in found.items():
        if target.exists() and path.exists() and target.samefile(path):
            raise UsageError(f"--fix {target} is the file that is looked at", hint="Name another place")
        if target.exists() and not overwrite:
            raise OutputExistsError("this exists", where=str(target), hint="Name another place, or use --overwrite")
    return found


class Repair(NamedTuple):
    """What was done to a file."""

    kept: int
    renamed: int
    dropped: dict[str, int]  # lines by the reason


def repair(report: Report, targets: dict[Path, Path]) -> dict[Path, Repair]:
    """Writes every file of a report without what spoils a run.

    Lines that are no records, whose picture cannot be used, that say the same again, or that contradict each other are
    left out; of a picture in several files only the one that judges keeps it, else the first. Image names that can only
    mean one file become its name. All other lines are copied byte for byte.

    Args:
      targets: where each file goes.

    Raises:
      StorageError: one cannot be written.
    """
    labels: dict[Hashable, set[str]] = collections.defaultdict(set)
    homes: dict[Hashable, Path] = {}
    for one in sorted(report.sets, key=lambda one: subset_names.keeps_first(one.part)):
        for _, record in one.entries:
            labels[report.identity(record), record.prompt].add(record.label)
            homes.setdefault(report.identity(record), one.path)
    return {one.path: _written(one, report, labels, homes, targets[one.path]) for one in report.sets if one.entries}


def _written(
    one: Set, report: Report, labels: dict[Hashable, set[str]], homes: dict[Hashable, Path], target: Path
) -> Repair:
    dropped: collections.Counter[str] = collections.Counter()
    dropped["no record"] = one.broken
    seen: set[Hashable] = set()
    has_labels = any(record.label in LABELS for _, record in one.entries)
    kept = renamed = 0
    with atomic_files.replacing(target) as file:
        for (_, _, raw), record in one.entries:
            picture = report.identity(record)
            other = report.repaired.get((one.path, record.image.name))
            if record.image.path in report.unusable and other is None:
                dropped["picture"] += 1
            elif record.label not in LABELS and has_labels:
                dropped["label"] += 1
            elif len(labels[picture, record.prompt]) > 1:
                dropped["two labels"] += 1
            elif homes[picture] != one.path:
                dropped["leak"] += 1
            elif (picture, record.prompt) in seen:
                dropped["twice"] += 1
            else:
                seen.add((picture, record.prompt))
                kept += 1
                renamed += other is not None
                file.write((raw if other is None else _renamed(raw, record, other)) + b"\n")
    return Repair(kept, renamed, {reason: count for reason, count in dropped.items() if count})


def _renamed(raw: bytes, record: Example, name: str) -> bytes:
    if record.fields:
        return to_json({**record.fields, "image": name}).encode()
    return b"\t".join([name.encode(), *raw.split(b"\t")[1:]])


def told(report: Report, targets: Mapping[Path, Path], repaired: Mapping[Path, Repair]) -> Iterator[str]:
    """Lines about what was repaired in each file, and about what cannot be."""
    for path, done in repaired.items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in done.dropped.items())
        yield f"{path} -> {targets[path]}: {done.kept} records, {done.renamed} renamed, left out: {dropped or 'none'}"
    if remaining := sum(finding.check == "near leak" for finding in report.findings):
        yield f"near leaks that remain: {remaining}; a new split keeps what looks alike together"

"""Data files repaired: written again without the lines that lint has found to spoil a run."""

import collections
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data.checks.lint import LintReport
from palitune.data.checks.linted_file import LintedFile
from palitune.data.example import Example
from palitune.data.formats import table_rows
from palitune.data.formats.json_lines import to_json
from palitune.data.split import subset_names
from palitune.errors import OutputExistsError, UsageError
from palitune.labels import LABELS
from palitune.storage import atomic_files


def targets(out: str, paths: Sequence[Path], overwrite: bool) -> dict[Path, Path]:
    """Returns where each repaired file goes: to `out` itself if there is one file, else into a folder of that name.

    Raises:
      UsageError: a file would be replaced by its repaired form.
      OutputExistsError: a file exists, and `overwrite` is false.
    """
    place = Path(out)
    found = {paths[0]: place} if len(paths) == 1 else {path: place / path.name for path in paths}
    if len(set(found.values())) < len(paths):  # as in train/annotations.jsonl and valid/annotations.jsonl
        shared = os.path.commonpath([path.absolute().parent for path in paths])
        found = {path: place / os.path.relpath(path.absolute(), shared) for path in paths}
    for path, target in found.items():
        if target.exists() and path.exists() and target.samefile(path):
            raise UsageError(f"--fix {target} is the file that is checked", hint="Name another place")
        if target.exists() and not overwrite:
            raise OutputExistsError("this exists", where=str(target), hint="Name another place, or use --overwrite")
    return found


class Repair(NamedTuple):
    """What was done to a file.

    Attributes:
      kept: the number of lines that were written.
      renamed: the number of those with a corrected image name.
      dropped: the numbers of lines that were left out, by the reason.
    """

    kept: int
    renamed: int
    dropped: dict[str, int]


def repair(report: LintReport, targets: dict[Path, Path]) -> dict[Path, Repair]:
    """Writes every file of a report again, without the lines that would spoil a run.

    Left out are lines that are not examples, whose image cannot be used, that are repeated, or that contradict each
    other. An image in several files stays in the one for validation or test, or else in the first one. An image name
    that can only mean one file is replaced by the name of that file. All other lines are copied byte for byte.

    Args:
      targets: where each file goes.

    Raises:
      StorageError: a file cannot be written.
    """
    labels: dict[Hashable, set[str]] = collections.defaultdict(set)
    homes: dict[Hashable, Path] = {}
    for one in sorted(report.files, key=lambda one: subset_names.keeps_first(one.subset)):
        for _, example in one.entries:
            labels[report.identity(example), example.prompt].add(example.label)
            homes.setdefault(report.identity(example), one.path)
    return {one.path: _written(one, report, labels, homes, targets[one.path]) for one in report.files if one.entries}


def _written(
    one: LintedFile, report: LintReport, labels: dict[Hashable, set[str]], homes: dict[Hashable, Path], target: Path
) -> Repair:
    dropped: collections.Counter[str] = collections.Counter()
    dropped["no record"] = one.broken
    seen: set[Hashable] = set()
    has_labels = any(example.label in LABELS for _, example in one.entries)
    kept = renamed = 0
    with atomic_files.replacing(target) as file:
        file.write(one.table.head if one.table is not None else b"")
        for (_, _, raw), example in one.entries:
            shown = report.identity(example)
            other = report.repaired.get((one.path, example.image.name)) if example.images else None
            if other is None and example.images and example.image.path in report.unusable:
                dropped["picture"] += 1
            elif example.label not in LABELS and has_labels:
                dropped["label"] += 1
            elif len(labels[shown, example.prompt]) > 1:
                dropped["two labels"] += 1
            elif homes[shown] != one.path:
                dropped["leak"] += 1
            elif (shown, example.prompt) in seen:
                dropped["twice"] += 1
            else:
                seen.add((shown, example.prompt))
                kept += 1
                renamed += other is not None
                file.write((raw if other is None else _renamed(raw, example, other, one)) + b"\n")
    return Repair(kept, renamed, {reason: count for reason, count in dropped.items() if count})


def _renamed(raw: bytes, example: Example, name: str, file: LintedFile) -> bytes:
    if file.table is not None and file.image_column is not None:
        cells = table_rows.cells_of(raw.decode(), file.table.separator, example.where)
        cells[file.table.columns.index(file.image_column)] = name
        return table_rows.row_of(cells, file.table.separator)
    if example.fields:
        return to_json({**example.fields, "image": name}).encode()
    return b"\t".join([name.encode(), *raw.split(b"\t")[1:]])


def told(report: LintReport, targets: Mapping[Path, Path], repaired: Mapping[Path, Repair]) -> Iterator[str]:
    """Lines about what was repaired in each file, and about what cannot be."""
    for path, done in repaired.items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in done.dropped.items())
        yield f"{path} -> {targets[path]}: {done.kept} records, {done.renamed} renamed, left out: {dropped or 'none'}"
    if remaining := sum(finding.check == "near leak" for finding in report.findings):
        yield f"near leaks that remain: {remaining}; a new split keeps near-duplicates together"

"""Splits the lines of a data file into training, validation and test sets, or into folds.

Lines that belong together stay in one subset: those of one image, of near-duplicate images, and of one group.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from palitune import randomness
from palitune.data.formats.lines import STDIN, is_copied
from palitune.data.image_folders import ImageFolders
from palitune.data.split import atomic_folder
from palitune.data.split.grouping import groups_of
from palitune.data.split.line_index import LineIndex, index_lines
from palitune.data.split.stratified_partition import Ints, partition
from palitune.errors import BadDataError, StorageError, UsageError
from palitune.storage import atomic_files

CHUNK = 1 << 16  # lines that are copied at once


class Amount(NamedTuple):
    """A number of examples, or a percentage of all examples."""

    value: float
    is_percent: bool = False

    def of(self, total: int) -> int:
        """Returns the number of examples, of `total`."""
        return round(total * self.value / 100) if self.is_percent else int(self.value)

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.is_percent else f"{int(self.value)}"


class SplitOptions(NamedTuple):
    """How examples are split.

    Attributes:
      validation: the size of the validation set.
      test: the size of the test set.
      folds: a number of folds, instead of one validation set; each example is in one of them.
      stratify: whether every subset has the same shares of the labels as the whole.
      group: a key of the examples, or image:REGEX; examples with equal values stay together.
      near: near-duplicate images: "together", "ignore", or "auto": together, if there are images and not too many.
    """

    validation: Amount = Amount(10)
    test: Amount = Amount(0)
    folds: int = 0
    stratify: bool = False
    group: str | None = None
    near: str = "auto"


class SplitResult(NamedTuple):
    """The number of examples in each subset, where each fold is one, and remarks for the user."""

    sizes: dict[str, int]
    remarks: list[str]


def split(
    source: Path,
    folder: Path,
    options: SplitOptions,
    seed: int,
    overwrite: bool = False,
    images: ImageFolders | None = None,
) -> SplitResult:
    """Writes `shuffle`, `valid`, `test` (if asked for) and `train` into `folder`, as JSONL, TSV or CSV like `source`.

    Lines are copied byte for byte, each into exactly one subset, and those of a table below its header; what is in
    UTF-16 becomes UTF-8. `shuffle` has all of them, validation first. With folds there is a folder `fold1`, `fold2`, …
    with `valid` and `train` for each. The order depends on the seed and on the name of the folder, so that set1 and
    set2 differ under one seed. The folder appears whole or not at all.

    Args:
      source: a file, or `-` for standard input.
      images: where the images are; by default beside the file or one folder up.

    Raises:
      BadDataError: a line is not an example; or images are to be compared, and one is damaged.
      UsageError: the options ask for more examples than there are.
      OutputExistsError: the folder holds another split, and `overwrite` is false; or another process is writing one.
      StorageError: the folder cannot be written.
    """
    seeded = folder.name
    folder = folder.resolve() if folder.is_symlink() else folder
    try:
        with atomic_folder.fresh(folder) as fresh, tempfile.TemporaryFile(dir=fresh) as spool:
            is_read_once = source == STDIN or not source.is_file() or is_copied(source)
            index = index_lines(source, spool if is_read_once else None, options.group, options.near, images)
            sizes = _sizes(options, len(index.offsets), source)
            remarks: list[str] = []
            groups = groups_of(index, options.near, images or ImageFolders.beside(source), remarks)
            index = index._replace(groups=None, images=None, names=None)  # frees the memory of millions of lines
            order = randomness.generator(seed, "split", seeded).permutation(len(index.offsets))
            labels = index.labels if options.stratify else np.zeros(len(order), np.int32)
            subsets = partition(labels, groups, order, sizes, randomness.generator(seed, "groups", seeded))
            _require_examples(subsets)
            if is_read_once:
                spool.flush()
                _write(fresh, spool, index, subsets, options)
            else:
                with source.open("rb") as file:
                    _write(fresh, file, index, subsets, options)
            found = {name: len(lines) for name, lines in subsets.items()}
            remarks += [
                f"{found[name]} records in {name} instead of {size}: others have to stay together"
                for name, size in sizes.items()
                if found[name] != size
            ]
            atomic_folder.install(fresh, folder, overwrite)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(folder)) from None
    return SplitResult(found, remarks)


def _require_examples(subsets: Mapping[str, Ints]) -> None:
    """Raises BadDataError if examples that stay together leave a subset empty."""
    for name, lines in subsets.items():
        if not len(lines):
            what = f"so many records have to stay together that none is left for {name}"
            hint = "Use fewer parts, another --group, or --near-duplicates ignore; palitune lint shows near-duplicates"
            raise BadDataError(what, hint=hint)


def _sizes(options: SplitOptions, total: int, source: Path) -> dict[str, int]:
    """Returns the number of examples in each subset; training gets what is left."""
    test = options.test.of(total)
    if test < 0 or test >= total:
        raise UsageError(f"--test {options.test}: there are {total} records")
    if options.folds:
        rest = total - test
        if not 2 <= options.folds <= rest:
            raise UsageError(f"--folds {options.folds}: {rest} records make 2 to {rest} folds")
        sizes = {f"fold{k + 1}": rest // options.folds + (k < rest % options.folds) for k in range(options.folds)}
    else:
        validation = options.validation.of(total)
        if validation < 1:
            raise UsageError(f"-v {options.validation}: validation needs at least one record", hint="Use more")
        if validation >= total:
            what = f"-v {options.validation} leaves no training data: {source} has {total} records"
            raise UsageError(what, hint=f"Use -v 1 to -v {total - 1}" if total > 1 else "Add records")
        if validation + test >= total:
            what = f"-v {options.validation} and --test {options.test} leave no training data of {total} records"
            raise UsageError(what, hint="Use less")
        sizes = {"valid": validation}
    return (
        sizes | ({"test": test} if test else {}) | ({} if options.folds else {"train": total - test - sizes["valid"]})
    )


def _write(
    fresh: Path, source: IO[bytes], index: LineIndex, subsets: Mapping[str, Ints], options: SplitOptions
) -> None:
    kind = index.kind
    if options.folds:
        folds = [name for name in subsets if name.startswith("fold")]
        for name in folds:
            _copy(fresh / name / f"valid.{kind}", source, index, [subsets[name]])
            _copy(fresh / name / f"train.{kind}", source, index, [subsets[other] for other in folds if other != name])
        if "test" in subsets:
            _copy(fresh / f"test.{kind}", source, index, [subsets["test"]])
    else:
        for name, lines in subsets.items():
            _copy(fresh / f"{name}.{kind}", source, index, [lines])
    _copy(fresh / f"shuffle.{kind}", source, index, list(subsets.values()))


def _copy(target: Path, source: IO[bytes], index: LineIndex, subsets: Iterable[Ints]) -> None:
    """Writes lines of the source in the given order.

    They are read one by one, because a large file that is memory-mapped would fill the memory.
    """
    read, descriptor = os.pread, source.fileno()
    with atomic_files.replacing(target) as file:
        file.write(index.head)
        for lines in subsets:
            for start in range(0, len(lines), CHUNK):
                chosen = lines[start : start + CHUNK]
                lengths, offsets = index.lengths[chosen].tolist(), index.offsets[chosen].tolist()
                copied = [read(descriptor, *place) for place in zip(lengths, offsets, strict=True)]
                file.write(b"\n".join(copied) + b"\n")

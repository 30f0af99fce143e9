"""Parting records: into training, validation and test, or into folds.

What belongs together stays together: lines that show the same picture, near-duplicate pictures, records of one group.
"""

import array
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from palitune import atomic_files, randomness
from palitune.data.checks import near_duplicates
from palitune.data.image_folders import ImageFolders
from palitune.data.images.loader import raise_all
from palitune.data.records import KINDS, STDIN, Reader, Record
from palitune.data.split import atomic_folder
from palitune.data.split.regex_timeout import Search
from palitune.data.split.stratified_partition import Ints, partition
from palitune.errors import BadDataError, PalituneError, StorageError, UsageError

CHUNK = 1 << 16  # lines that are copied at once
MOST_COMPARED = 100_000  # lines up to which pictures are compared unasked


class Amount(NamedTuple):
    """So many records, or so many percent of them."""

    value: float
    is_percent: bool = False

    def of(self, total: int) -> int:
        return round(total * self.value / 100) if self.is_percent else int(self.value)

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.is_percent else f"{int(self.value)}"


class Wish(NamedTuple):
    """How records are to be parted."""

    validation: Amount = Amount(10)
    test: Amount = Amount(0)
    folds: int = 0  # instead of one validation set, each record in one of so many
    stratify: bool = False  # every part with the shares of labels that the whole has
    group: str | None = None  # a key of the records, or image:REGEX: what is equal there stays together
    near: str = "auto"  # near-duplicate pictures: together, ignore, or together where pictures are and are not too many


class Result(NamedTuple):
    """What came of it: the number of records by part; with folds, validation is one of them."""

    sizes: dict[str, int]
    remarks: list[str]


class Index(NamedTuple):
    """Where the lines of a file are and what counts of them; some 30 bytes a line."""

    offsets: Ints  # int64[N]
    lengths: Ints  # int32[N]
    labels: Ints  # int32[N]
    groups: Ints | None  # int64[N], of which equal ones stay together; 0 for a line that stands alone
    pictures: Ints | None  # int64[N], of which equal ones are one picture
    kind: str
    names: list[str] | None  # of the pictures, if they are to be compared


def split(
    source: Path, folder: Path, wish: Wish, seed: int, overwrite: bool = False, images: ImageFolders | None = None
) -> Result:
    """Writes `shuffle`, `valid`, `test` (where there is one) and `train` into `folder`, as JSONL or TSV like `source`.

    Lines are copied byte for byte, each into exactly one part; `shuffle` has all of them, validation first. With folds
    there is a folder `fold1`, `fold2`, … with `valid` and `train` for each. The order depends on the seed and on the
    folder's name, so that set1 and set2 differ under one seed. The folder appears whole or not at all.

    Args:
      source: a file, or `-` for standard input.
      images: where pictures are; by default beside the file or one folder up.

    Raises:
      BadDataError: a line is no record; or pictures are to be compared and one is damaged.
      UsageError: more is wished than there is.
      OutputExistsError: the folder holds another split already, and `overwrite` is false; or another process makes one.
      StorageError: the folder cannot be written.
    """
    seeded = folder.name
    folder = folder.resolve() if folder.is_symlink() else folder
    try:
        with atomic_folder.fresh(folder) as fresh, tempfile.TemporaryFile(dir=fresh) as spool:
            is_read_once = source == STDIN or not source.is_file()
            index = _indexed(source, spool if is_read_once else None, wish)
            sizes = _sizes(wish, len(index.offsets), source)
            remarks: list[str] = []
            together = _together(index, wish.near, images or ImageFolders.beside(source), remarks)
            index = index._replace(groups=None, pictures=None, names=None)  # of millions of lines that is a lot
            order = randomness.generator(seed, "split", seeded).permutation(len(index.offsets))
            labels = index.labels if wish.stratify else np.zeros(len(order), np.int32)
            parts = partition(labels, together, order, sizes, randomness.generator(seed, "groups", seeded))
            _require_parts(parts)
            if is_read_once:
                spool.flush()
                _write(fresh, spool, index, parts, wish)
            else:
                with source.open("rb") as file:
                    _write(fresh, file, index, parts, wish)
            found = {name: len(lines) for name, lines in parts.items()}
            remarks += [
                f"{found[name]} records in {name} instead of {size}: others have to stay together"
                for name, size in sizes.items()
                if found[name] != size
            ]
            atomic_folder.install(fresh, folder, overwrite)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(folder)) from None
    return Result(found, remarks)


def _require_parts(parts: Mapping[str, Ints]) -> None:
    """Raises BadDataError where records that stay together leave a part without any."""
    for name, lines in parts.items():
        if not len(lines):
            what = f"so many records have to stay together that none is left for {name}"
            hint = "Fewer parts, another --group, or --near-duplicates ignore; palitune lint shows what looks alike"
            raise BadDataError(what, hint=hint)


def _sizes(wish: Wish, total: int, source: Path) -> dict[str, int]:
    """Records in each part; training is what is left."""
    test = wish.test.of(total)
    if test < 0 or test >= total:
        raise UsageError(f"--test {wish.test}: there are {total} records")
    if wish.folds:
        rest = total - test
        if not 2 <= wish.folds <= rest:
            raise UsageError(f"--folds {wish.folds}: {rest} records make 2 to {rest} folds")
        sizes = {f"fold{k + 1}": rest // wish.folds + (k < rest % wish.folds) for k in range(wish.folds)}
    else:
        validation = wish.validation.of(total)
        if validation < 1:
            raise UsageError(f"-v {wish.validation}: validation needs at least one record", hint="Use more")
        if validation >= total:
            what = f"-v {wish.validation} leaves no training data: {source} has {total} records"
            raise UsageError(what, hint=f"Use -v 1 to -v {total - 1}" if total > 1 else "Add records")
        if validation + test >= total:
            what = f"-v {wish.validation} and --test {wish.test} leave no training data of {total} records"
            raise UsageError(what, hint="Use less")
        sizes = {"valid": validation}
    return sizes | ({"test": test} if test else {}) | ({} if wish.folds else {"train": total - test - sizes["valid"]})


def _indexed(source: Path, spool: IO[bytes] | None, wish: Wish) -> Index:
    """Reads every line once. `spool` takes a copy of what cannot be read twice."""
    with _group_key(wish.group) as key:
        return _index_of(Reader(source), spool, wish, key)


def _index_of(reader: Reader, spool: IO[bytes] | None, wish: Wish, key: Callable[[Record], str | None]) -> Index:
    names: list[str] | None = None if wish.near == "ignore" else []
    most = MOST_COMPARED if wish.near == "auto" else sys.maxsize
    offsets, lengths, labels = array.array("q"), array.array("i"), array.array("i")
    groups, pictures = array.array("q"), array.array("q")
    numbers: dict[str, int] = {}
    written = 0
    for (_, offset, raw), record in reader.records():
        if spool is not None:
            spool.write(raw)
            offset, written = written, written + len(raw)
        offsets.append(offset)
        lengths.append(len(raw))
        labels.append(numbers.setdefault(record.suffix, len(numbers)))
        pictures.append(hash(record.name))
        if names is not None:
            names.append(record.name)
            if len(names) > most:
                names = None
        if wish.group is not None:
            value = key(record)
            groups.append(0 if value is None else hash(value) or 1)
    return Index(
        offsets=np.frombuffer(offsets, np.int64),
        lengths=np.frombuffer(lengths, np.int32),
        labels=np.frombuffer(labels, np.int32),
        groups=np.frombuffer(groups, np.int64) if wish.group is not None else None,
        pictures=np.frombuffer(pictures, np.int64),
        kind=reader.kind or KINDS[0],
        names=names,
    )


@contextlib.contextmanager
def _group_key(group: str | None) -> Iterator[Callable[[Record], str | None]]:
    """What a record is grouped by. Raises UsageError: an expression takes too long."""
    if group is None:
        yield lambda record: None
        return
    what, colon, expression = group.partition(":")
    if what == "image" and colon:
        pattern = re.compile(expression)  # over the name as the line has it, folders too

        with Search(pattern, f"--group {group}") as search:

            def part_of_name(record: Record) -> str | None:
                found = search(record.name)
                return None if found is None else found.group(1 if pattern.groups else 0)

            yield part_of_name
        return

    def value(record: Record) -> str | None:
        if group not in record.fields:
            hint = None if record.fields else "A TSV has no keys: --group image:REGEX takes a part of the image's name"
            raise BadDataError(f'the record has no "{group}" to group by', where=record.where, hint=hint)
        found = record.fields[group]
        return None if found is None else repr(found)

    yield value


def _together(index: Index, near: str, images: ImageFolders, remarks: list[str]) -> Ints | None:
    """int[N]: lines with the same number stay together; None if all stand alone."""
    count = len(index.offsets)
    links = [_linked(index.pictures)]
    if index.groups is not None:
        members = int(np.count_nonzero(index.groups))
        if not members:
            raise UsageError("--group: no record has it", hint="image:REGEX is looked for in names like images/a_1.jpg")
        different = len(np.unique(index.groups[index.groups != 0]))
        remarks.append(f"{members} of {count} records are in {different} groups")
        grouped = np.flatnonzero(index.groups)
        links.append(grouped[_linked(index.groups[grouped])])
    if index.names is not None:
        links.append(_near(index.names, near == "together", images, remarks))
    elif near == "auto":
        remarks.append(f"{count:,} lines: pictures are not compared (--near-duplicates together does)")
    pairs = np.concatenate(links)
    return near_duplicates.components(count, pairs) if len(pairs) else None


def _linked(values: Any) -> Ints:
    """int[M, 2]: each element linked with the next equal one."""
    ordered = np.sort(values)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.zeros((0, 2), np.int64)
    order = np.argsort(values, kind="stable")
    same = np.flatnonzero(values[order[1:]] == values[order[:-1]])
    return np.stack([order[same], order[same + 1]], axis=1)


def _near(names: Sequence[str], strict: bool, images: ImageFolders, remarks: list[str]) -> Ints:
    """int[M, 2]: lines whose pictures look alike. Raises what is wrong with a picture if `strict`."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        first.setdefault(name, number)
    lines, known = [], []
    problems: list[PalituneError] = []
    for line, found in zip(first.values(), near_duplicates.hashes_of(first, images), strict=True):
        if isinstance(found, PalituneError):
            problems.append(found)
        else:
            lines.append(line)
            known.append(found)
    if problems and strict:
        raise_all(problems)
    if problems and known:
        text = f"{len(problems)} of {len(first)} pictures cannot be compared with others, the first: {problems[0].what}"
        remarks.append(text)
    elif problems:
        remarks.append(f"pictures are not compared, none is where it should be: {problems[0].what}")
    if not known:
        return np.zeros((0, 2), np.int64)
    pairs = near_duplicates.near_pairs(np.stack(known))
    if len(pairs):
        remarks.append(f"{len(np.unique(pairs))} pictures are near-duplicates of others and stay on their side")
    return np.array(lines)[pairs]


def _write(fresh: Path, source: IO[bytes], index: Index, parts: Mapping[str, Ints], wish: Wish) -> None:
    kind = index.kind
    if wish.folds:
        folds = [name for name in parts if name.startswith("fold")]
        for name in folds:
            _copy(fresh / name / f"valid.{kind}", source, index, [parts[name]])
            _copy(fresh / name / f"train.{kind}", source, index, [parts[other] for other in folds if other != name])
        if "test" in parts:
            _copy(fresh / f"test.{kind}", source, index, [parts["test"]])
    else:
        for name, lines in parts.items():
            _copy(fresh / f"{name}.{kind}", source, index, [lines])
    _copy(fresh / f"shuffle.{kind}", source, index, list(parts.values()))


def _copy(target: Path, source: IO[bytes], index: Index, parts: Iterable[Ints]) -> None:
    """Writes lines of the source, in the order given. Read one by one: mapped, a large file would fill the memory."""
    read, descriptor = os.pread, source.fileno()
    with atomic_files.replacing(target) as file:
        for lines in parts:
            for start in range(0, len(lines), CHUNK):
                chosen = lines[start : start + CHUNK]
                lengths, offsets = index.lengths[chosen].tolist(), index.offsets[chosen].tolist()
                copied = [read(descriptor, *place) for place in zip(lengths, offsets, strict=True)]
                file.write(b"\n".join(copied) + b"\n")

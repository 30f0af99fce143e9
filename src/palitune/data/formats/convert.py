"""A file or folder in one format to records in another: all of it or, where something is wrong, nothing."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import workspace
from palitune.data.formats import detection, error_hints, label_folders, reading, writing
from palitune.data.formats.conversion_losses import Losses
from palitune.data.formats.embedded_images import EmbeddedImages
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.options import Fields, Options
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError, UsageError
from palitune.storage import atomic_files


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is to be converted, and how.

    Attributes:
      source: a file, or a folder of folders.
      kind: the format of the source, one of `reading.FORMATS`; None recognises it by its content.
      to: the format that is written.
      output: a file, or a folder where `to` is "folders"; None is standard output.
      overwrite: the output may replace a file.
      drop: what cannot be carried over is left out instead of refused.
      rename: pairs of a label and its new name.
      images: the folder for images that are inside of the source.
      embed: put the images themselves into messages.
      images, allow_outside: where images are, as `ImageFolders` takes it; None is beside the source.
      options: how the source's columns and answers are read.
    """

    source: str
    kind: str | None
    to: str
    output: str | None
    overwrite: bool
    drop: bool
    rename: Sequence[tuple[str, str]]
    embedded_to: str | None
    embed: bool
    images: str | None
    allow_outside: bool
    options: Options


class Converted(NamedTuple):
    """What a conversion has done.

    Attributes:
      records: how many were written.
      kind: the format that the source is in.
      unused: labels that were to be renamed and are not there.
      remarks: what was left out on request, and what is worth a remark.
    """

    records: int
    kind: str
    unused: list[str]
    remarks: list[str]


def convert(wanted: Conversion, emit: Callable[[bytes], None]) -> Converted:
    """Converts a source.

    Args:
      emit: takes the lines where they go to standard output.

    Raises:
      UsageError: options that have no effect with these formats.
      MissingInputError: no such source, or images are missing.
      BadDataError: the source cannot be read, or something cannot be carried over.
      OutputExistsError: the output is there.
    """
    try:
        names = Renaming(wanted.rename)
    except ValueError as error:
        raise UsageError(f"--rename: {error}") from None
    source = _source(wanted)
    losses = Losses(wanted.drop)
    embedded = EmbeddedImages(Path(wanted.embedded_to)) if wanted.embedded_to else None
    images = _images(wanted, source)
    options = wanted.options._replace(losses=losses, embedded=embedded, folders=images)
    kind = wanted.kind or detection.detect(source, options)
    _check(wanted, kind)
    options = options._replace(numbers=kind == "labelstudio")
    count = 0

    def counted() -> Iterator[tuple[str, Fields]]:
        nonlocal count
        found = reading.read(source, kind, options)
        for one in reading.settled(found, names, str(source), options):
            count += 1
            yield one

    try:
        written = _write(counted(), wanted, images, options, losses, emit)
        if embedded is not None:
            embedded.keep()
    except BadDataError:
        if wanted.drop or not losses.kinds:  # so that what was left out is seen where nothing is left
            _say(losses.told())
        raise
    finally:
        if embedded is not None:
            embedded.close()
    return Converted(count if written is None else written, kind, sorted(names.unused), list(losses.told()))


def _source(wanted: Conversion) -> Path:
    source = Path(wanted.source)
    if not source.exists():
        twice = "SOURCE is read more than once: write standard input into a file first"
        hint = twice if wanted.source == "-" else error_hints.of_missing(source)
        raise MissingInputError("no such file or folder", where=wanted.source, hint=hint)
    return label_folders.source_of(source) if source.is_dir() and wanted.kind != "folders" else source


def _images(wanted: Conversion, source: Path) -> ImageFolders:
    beside = [source] if source.is_dir() else ImageFolders.beside(source).folders
    return ImageFolders([Path(wanted.images)] if wanted.images else beside, wanted.allow_outside)


def _check(wanted: Conversion, kind: str) -> None:
    """Raises UsageError for options that have no effect with these formats."""
    options = wanted.options
    if options.labels and options.label:
        raise UsageError("--label-column and --label-columns both name the label: leave one out")
    if kind == "tsv" and (options.image or options.text) in ("1", None) and not (options.image and options.text):
        options = options._replace(image=None, text=None)  # which say what the first column is
    if wanted.to == "folders" and not wanted.output:
        raise UsageError("--to folders needs -o, a folder that is not there yet")
    if wanted.embed and wanted.to != "messages":
        raise UsageError("--embed is for --to messages")
    for given, option, kinds in (
        (options.image or options.label or options.prefix, "--image-column and the like",
         ("csv", "labelstudio", "jsonl")),
        (options.text or options.labels, "--text-column and --label-columns", ("csv", "jsonl")),
        (options.annotations, "--annotations", ("vqa",)),
        (options.majority, "--majority", ("labelstudio", "vqa", "jsonl")),
        (options.turns, "--turns", ("messages",)),
    ):  # fmt: skip
        if given and kind not in kinds:
            listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}" if len(kinds) > 1 else kinds[0]
            raise UsageError(f"{option} is for {listed}, and this is {kind}")
    if options.encoding and kind == "folders":
        raise UsageError("--encoding is for files, and this is a folder")
    if options.formulas and "csv" not in (kind, wanted.to):
        raise UsageError("--formulas is for csv")


def _write(
    found: Iterator[tuple[str, Fields]],
    wanted: Conversion,
    images: ImageFolders,
    options: Options,
    losses: Losses,
    emit: Callable[[bytes], None],
) -> int | None:
    """Writes into a folder, a file or to `emit`.

    Returns the number of records, where the format may have left out some.
    """
    each = wanted.to in ("tsv", "messages")  # a line for each record
    count = 0

    def check() -> None:
        _refuse(losses, wanted.source)
        if each and not count:
            raise BadDataError("no record is left", where=wanted.source)

    if wanted.to == "folders":
        found = writing.of_images(found, "folders", options)
        return label_folders.write(found, Path(wanted.output or ""), images, options, check)
    target = workspace.file_to_write(wanted.output, wanted.overwrite) if wanted.output else None
    written = writing.lines(found, wanted.to, options, images if wanted.embed else None)
    if target is not None:
        with atomic_files.replacing(target) as file:
            for count, line in enumerate(written, 1):  # noqa: B007 (the last one is the number)
                file.write(line.encode())
            check()
        return count if each else None
    lines = list(written)
    count = len(lines)
    check()
    for line in lines:
        emit(line.encode())
    sys.stdout.flush()
    return count if each else None


def _refuse(losses: Losses, source: str) -> None:
    """Raises BadDataError or MissingInputError: something cannot be carried over, and nobody said that it may go."""
    refused = losses.refused(source)
    if refused is not None:
        _say(refused[0])
        raise refused[1]


def _say(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)

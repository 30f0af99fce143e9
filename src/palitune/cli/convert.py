"""Other people's formats to records, and back."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palitune.errors import UsageError, printable

if TYPE_CHECKING:
    from palitune.data.formats.conversion import Fields, Options
    from palitune.data.formats.conversion_losses import Losses
    from palitune.data.image_folders import ImageFolders

# As in palitune.data.formats.reading, which takes a while to load.
FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
DESCRIPTION = """\
Writes records in another format, as lines on standard output or into -o. What SOURCE is, its content tells:
  jsonl        {"image", "prefix", "suffix", ...} a line; Roboflow's PaliGemma export is that too. Other keys are
               found by their usual names or named by the options; a list of such objects is read too
  tsv          image, tab, label; and what inference writes
  csv          a table with a header; commas, semicolons or tabs
  folders      a folder of images for each label
  labelstudio  Label Studio's exports JSON and JSON-MIN
  coco         COCO captions
  vqa          VQA v2: questions, with --annotations for the answers
  messages     chats with an image, a line each, as hosted fine-tuning takes them
Keys beyond the usual are kept where the format has room for them. What cannot be carried over is counted and named;
then nothing is written and the exit code is 65, unless --drop leaves it out.
"""
EXAMPLES = """\
examples:
  palitune convert table.csv --label-column allowed > dataset/data.jsonl
  palitune convert pictures/ --rename OK=yes NG=no > dataset/data.jsonl
                                                   pictures/OK/1.jpg; learn with -i pictures
  palitune convert dataset/data.jsonl --to tsv | shuf | head -100
  palitune convert dataset/data.jsonl --to folders -o sorted
  palitune convert chats.jsonl --pictures dataset/images > dataset/data.jsonl
"""


def renaming(text: str) -> tuple[str, str]:
    from palitune.data.formats import label_renaming

    try:
        return label_renaming.pair(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    # What argparse takes for a number and not for an option: -1=negative is a label's new name.
    parser._negative_number_matcher = re.compile(r"-\d.*|-\.\d+")
    parser.add_argument("source", metavar="SOURCE", help="a file, or a folder of folders")
    parser.add_argument("--from", dest="kind", choices=FORMATS, help="what SOURCE is, if its content misleads")
    parser.add_argument("--to", choices=FORMATS, default="jsonl", help="what is written (%(default)s)")
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="a file, or with --to folders a folder, that is not there yet"
    )
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a file")
    parser.add_argument("--drop", action="store_true", help="leave out what cannot be carried over, and say so")
    text = r"labels by other names; a label's own = is written \=, and --rename=-x=y is for one that begins with -"
    parser.add_argument("--rename", nargs="+", action="extend", type=renaming, default=[], metavar="OLD=NEW", help=text)
    parser.add_argument("--image-column", metavar="NAME", help="column or key of the image (image, file, path, ...)")
    text = "column or key of the label (suffix, label, answer, ...), or the control of Label Studio"
    parser.add_argument("--label-column", "--control", metavar="NAME", help=text)
    parser.add_argument(
        "--prefix-column", metavar="NAME", help="column or key of the question (prefix, prompt, question)"
    )
    parser.add_argument(
        "--annotations", metavar="FILE", help="the answers to VQA's questions, if they are in another file"
    )
    text = "where several people answered differently, the most frequent answer is the label"
    parser.add_argument("--majority", action="store_true", help=text)
    text = "a record for each question of a chat, without what was said before it"
    parser.add_argument("--turns", action="store_true", help=text)
    parser.add_argument("--encoding", metavar="NAME", help="of SOURCE, if it is not UTF-8, such as cp932 (Shift-JIS)")
    text = "leave a CSV's cells as they are; without it those that spreadsheets run as formulas get a ' in front"
    parser.add_argument("--formulas", action="store_true", help=text)
    parser.add_argument("--pictures", metavar="FOLDER", help="where images go that are inside of SOURCE")
    parser.add_argument("--embed", action="store_true", help="put the images themselves into messages")
    text = "folder that image names are relative to, for --embed and --to folders (default: SOURCE's, or the one above)"
    parser.add_argument("-i", "--images", metavar="FOLDER", help=text)
    parser.add_argument("--allow-outside", action="store_true", help="take images from outside of that folder too")


def run(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.data.formats import error_hints, label_folders, reading
    from palitune.data.formats.conversion_losses import Losses
    from palitune.data.formats.embedded_images import Embedded
    from palitune.data.formats.label_renaming import Renaming
    from palitune.data.image_folders import ImageFolders
    from palitune.errors import BadDataError, MissingInputError

    source = Path(args.source)
    try:
        names = Renaming(args.rename)
    except ValueError as error:
        raise UsageError(f"--rename: {error}") from None
    if not source.exists():
        twice = "SOURCE is read more than once: write standard input into a file first"
        hint = twice if args.source == "-" else error_hints.of_missing(source)
        raise MissingInputError("no such file or folder", where=args.source, hint=hint)
    if source.is_dir() and args.kind != "folders":
        source = label_folders.source_of(source)
    losses = Losses(args.drop)
    embedded = Embedded(Path(args.pictures)) if args.pictures else None
    options = _options(args)._replace(losses=losses, embedded=embedded)
    kind = args.kind or reading.detect(source, options)
    _check(args, kind)
    options = options._replace(numbers=kind == "labelstudio")
    target = None
    if args.to != "folders" and args.output:
        target = workspace.file_to_write(args.output, args.overwrite)
    beside = [source] if source.is_dir() else ImageFolders.beside(source).folders
    images = ImageFolders([Path(args.images)] if args.images else beside, args.allow_outside)
    count = 0

    def counted() -> "Iterator[tuple[str, Fields]]":
        nonlocal count
        found = reading.read(source, kind, options)
        for one in reading.settled(found, names, str(source), options):
            count += 1
            yield one

    try:
        written = _write(counted(), target, images, args, options)
        if embedded is not None:
            embedded.keep()
    except BadDataError:
        if args.drop or not losses.kinds:  # so that what was left out is seen where nothing is left
            _tell(losses)
        raise
    finally:
        if embedded is not None:
            embedded.close()
    if names.unused:
        print(printable(f"--rename: no label is {', '.join(sorted(names.unused))}"), file=sys.stderr)
    if not args.quiet:
        _tell(losses)
        into = f" in {args.output}" if args.output else ""
        count = count if written is None else written
        print(f"{count} record{'s' * (count != 1)}, {kind} to {args.to}{into}", file=sys.stderr)


def _check(args: argparse.Namespace, kind: str) -> None:
    """Raises UsageError for options that have no effect with these formats."""
    if args.to == "folders" and not args.output:
        raise UsageError("--to folders needs -o, a folder that is not there yet")
    if args.embed and args.to != "messages":
        raise UsageError("--embed is for --to messages")
    columns = args.image_column or args.label_column or args.prefix_column
    for given, option, kinds in (
        (columns, "--image-column and the like", ("csv", "labelstudio", "jsonl")),
        (args.annotations, "--annotations", ("vqa",)),
        (args.majority, "--majority", ("labelstudio", "vqa", "jsonl")),
        (args.turns, "--turns", ("messages",)),
    ):
        if given and kind not in kinds:
            listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}" if len(kinds) > 1 else kinds[0]
            raise UsageError(f"{option} is for {listed}, and this is {kind}")
    if args.encoding and kind == "folders":
        raise UsageError("--encoding is for files, and this is a folder")
    if args.formulas and "csv" not in (kind, args.to):
        raise UsageError("--formulas is for csv")


def _options(args: argparse.Namespace) -> "Options":
    from palitune.data.formats.conversion import Options

    return Options(
        image=args.image_column,
        label=args.label_column,
        prefix=args.prefix_column,
        annotations=Path(args.annotations) if args.annotations else None,
        majority=args.majority,
        turns=args.turns,
        encoding=args.encoding,
        formulas=args.formulas,
    )


def _write(
    found: "Iterator[tuple[str, Fields]]",
    target: Path | None,
    images: "ImageFolders",
    args: argparse.Namespace,
    options: "Options",
) -> int | None:
    """Into a folder, a file or standard output: all of it or, where something is wrong, nothing.

    Returns the number of records, where the format may have left out some.
    """
    from palitune import atomic_files
    from palitune.cli import streams
    from palitune.data.formats import writing
    from palitune.errors import BadDataError

    each = args.to in ("tsv", "messages")  # a line for each record
    count = 0

    def check() -> None:
        if options.losses is not None:
            _refuse(options.losses, args.source)
        if each and not count:
            raise BadDataError("no record is left", where=args.source)

    if args.to == "folders":
        return writing.write_folders(found, Path(args.output), images, options, check)
    written = writing.lines(found, args.to, options, images if args.embed else None)
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
        streams.raw(line.encode())
    sys.stdout.flush()
    return count if each else None


def _tell(losses: "Losses") -> None:
    for line in losses.told():
        print(line, file=sys.stderr)


def _refuse(losses: "Losses", source: str) -> None:
    """Raises BadDataError or MissingInputError: something cannot be carried over, and nobody said that it may go."""
    refused = losses.refused(source)
    if refused is not None:
        for line in refused[0]:
            print(line, file=sys.stderr)
        raise refused[1]

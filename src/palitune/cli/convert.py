"""Other people's formats to records, and back."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palitune.errors import UsageError

if TYPE_CHECKING:
    from palitune.data.folders import ImageFolders
    from palitune.data.foreign import Fields, Options

# As in palitune.data.importers, which takes a while to load.
FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
DESCRIPTION = """\
Writes records in another format, as lines on standard output or into -o. What SOURCE is, its content tells:
  jsonl        {"image", "prefix", "suffix", ...} a line; Roboflow's PaliGemma export is that too
  tsv          image, tab, label; and what inference writes
  csv          a table with a header; commas, semicolons or tabs
  folders      a folder of pictures for each label
  labelstudio  Label Studio's exports JSON and JSON-MIN
  coco         COCO captions
  vqa          VQA v2: questions, with --annotations for the answers
  messages     chats with a picture, a line each, as hosted fine-tuning takes them
Keys beyond the usual are kept where the format has room for them.
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
    old, equals, new = text.rpartition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("source", metavar="SOURCE", help="a file, or a folder of folders")
    parser.add_argument("--from", dest="kind", choices=FORMATS, help="what SOURCE is, if its content misleads")
    parser.add_argument("--to", choices=FORMATS, default="jsonl", help="what is written (%(default)s)")
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="a file, or with --to folders a folder, that is not there yet"
    )
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a file")
    parser.add_argument(
        "--rename", nargs="+", type=renaming, default=[], metavar="OLD=NEW", help="labels by other names"
    )
    parser.add_argument("--image-column", metavar="NAME", help="column or key of the picture (image, file, path, ...)")
    parser.add_argument(
        "--label-column", metavar="NAME", help="column or key of the label (suffix, label, answer, ...)"
    )
    parser.add_argument(
        "--prefix-column", metavar="NAME", help="column or key of the question (prefix, prompt, question)"
    )
    parser.add_argument(
        "--annotations", metavar="FILE", help="the answers to VQA's questions, if they are in another file"
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="where pictures go that messages have inside them")
    parser.add_argument("--embed", action="store_true", help="put the pictures themselves into messages")
    text = "folder that image names are relative to, for --embed and --to folders (default: SOURCE's, or the one above)"
    parser.add_argument("-i", "--images", metavar="FOLDER", help=text)
    parser.add_argument("--allow-outside", action="store_true", help="take pictures from outside of that folder too")


def run(args: argparse.Namespace) -> None:
    from palitune.cli import workspace
    from palitune.data import importers
    from palitune.data.folders import ImageFolders
    from palitune.errors import MissingInputError

    source = Path(args.source)
    if not source.exists():
        raise MissingInputError("no such file or folder", where=args.source)
    kind = args.kind or importers.detect(source)
    _check(args, kind)
    if args.to == "folders":
        target: Path | None = Path(args.output)
    else:
        target = workspace.file_to_write(args.output, args.overwrite) if args.output else None
    beside = [source] if source.is_dir() else ImageFolders.beside(source).folders
    images = ImageFolders([Path(args.images)] if args.images else beside, args.allow_outside)
    count = asked = 0
    names = dict(args.rename)
    unused = set(names)

    def read() -> "Iterator[Fields]":
        for fields in importers.read(source, kind, _options(args)):
            unused.discard(fields["suffix"] if isinstance(fields["suffix"], str) else "")
            yield fields

    def counted() -> "Iterator[Fields]":
        nonlocal count, asked
        for fields in importers.renamed(read(), names, args.source):
            count += 1
            asked += bool(fields["prefix"])
            yield fields

    _write(counted(), target, images, args)
    if unused:
        print(f"--rename: no label is {', '.join(sorted(unused))}", file=sys.stderr)
    if asked and args.to in ("tsv", "folders") and not args.quiet:
        print(f"{args.to} has no room for questions: those of {asked} records are left out", file=sys.stderr)
    if not args.quiet:
        into = f" in {args.output}" if args.output else ""
        print(f"{count} record{'s' * (count != 1)}, {kind} to {args.to}{into}", file=sys.stderr)


def _check(args: argparse.Namespace, kind: str) -> None:
    """Raises UsageError for options that have no effect with these formats."""
    if args.to == "folders" and not args.output:
        raise UsageError("--to folders needs -o, a folder that is not there yet")
    if args.embed and args.to != "messages":
        raise UsageError("--embed is for --to messages")
    if kind not in ("csv", "labelstudio") and (args.image_column or args.label_column or args.prefix_column):
        raise UsageError(f"--image-column and the like are for csv and labelstudio, and this is {kind}")


def _options(args: argparse.Namespace) -> "Options":
    from palitune.data.foreign import Options

    return Options(
        image=args.image_column,
        label=args.label_column,
        prefix=args.prefix_column,
        annotations=Path(args.annotations) if args.annotations else None,
        pictures=Path(args.pictures) if args.pictures else None,
    )


def _write(fields: "Iterator[Fields]", target: Path | None, images: "ImageFolders", args: argparse.Namespace) -> None:
    """Into a folder, a file or standard output: all of it or, where something is wrong, nothing."""
    from palitune import files
    from palitune.data import exporters

    if args.to == "folders" and target is not None:
        exporters.write_folders(fields, target, images)
        return
    written = exporters.lines(fields, args.to, images if args.embed else None)
    if target is not None:
        with files.whole(target) as file:
            file.writelines(line.encode() for line in written)
        return
    for line in list(written):
        sys.stdout.buffer.write(line.encode())
    sys.stdout.buffer.flush()

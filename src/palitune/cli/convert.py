"""Other people's formats to records, and back."""

import argparse
import re
import sys
from pathlib import Path

from palitune.cli import values
from palitune.config.name_kinds import Names, pair
from palitune.errors import printable

# As in palitune.data.formats.reading, which takes a while to load.
FORMATS = ("jsonl", "tsv", "csv", "folders", "labelstudio", "coco", "vqa", "messages")
DESCRIPTION = """\
Writes records in another format, as lines on standard output or into -o. What SOURCE is, its content tells:
  jsonl        {"image", "prefix", "suffix", ...} a line; Roboflow's PaliGemma export is that too; or {"text", ...}.
               Other keys are found by their usual names or named by the options; a list of such objects is read too
  tsv          image, tab, label; and what inference writes. What names no image is a text, as in training
  csv          a table with a header; commas, semicolons or tabs
  folders      a folder of images for each label
  labelstudio  Label Studio's exports JSON and JSON-MIN
  coco         COCO captions
  vqa          VQA v2: questions, with --annotations for the answers
  messages     chats, a line each, as hosted fine-tuning takes them
Records about a text go between jsonl, tsv, csv and messages; the others have room for images alone.
Keys beyond the usual are kept where the format has room for them. What cannot be carried over is counted and named;
then nothing is written and the exit code is 65, unless --drop leaves it out.
"""
EXAMPLES = """\
examples:
  palitune convert table.csv --label-column allowed > dataset/data.jsonl
  palitune convert images/ --rename OK=yes NG=no > dataset/data.jsonl
                                                   images/OK/1.jpg; train with -i images
  palitune convert dataset/data.jsonl --to tsv | shuf | head -100
  palitune convert dataset/data.jsonl --to folders -o sorted
  palitune convert chats.jsonl --pictures dataset/images > dataset/data.jsonl
  palitune convert toxicity.csv --label-columns obscene,violent > dataset/data.jsonl
"""


def renaming(text: str) -> tuple[str, str]:
    """Returns a label and its new name, of OLD=NEW."""
    try:
        return pair(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune convert` to its parser."""
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
    text = "column or key of the text (text, sentence, comment, ..., where there is no image); 1 in TSV: it has texts"
    parser.add_argument("--text-column", metavar="NAME", help=text)
    text = "column or key of the label (suffix, label, answer, ...), or the control of Label Studio"
    parser.add_argument("--label-column", "--control", metavar="NAME", help=text)
    text = "columns or keys of several labels of each record, which say yes or no; empty ones are unknown"
    parser.add_argument("--label-columns", type=values.typed(Names()), default=(), metavar="A,B,...", help=text)
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
    """Runs `palitune convert` with the arguments that were given."""
    from palitune import streams
    from palitune.data.formats.convert import Conversion, convert
    from palitune.data.formats.options import Options

    options = Options(
        image=args.image_column,
        label=args.label_column,
        prefix=args.prefix_column,
        annotations=Path(args.annotations) if args.annotations else None,
        majority=args.majority,
        turns=args.turns,
        encoding=args.encoding,
        formulas=args.formulas,
        text=args.text_column,
        labels=args.label_columns,
    )
    wanted = Conversion(
        source=args.source,
        kind=args.kind,
        to=args.to,
        output=args.output,
        overwrite=args.overwrite,
        drop=args.drop,
        rename=args.rename,
        embedded_to=args.pictures,
        embed=args.embed,
        images=args.images,
        allow_outside=args.allow_outside,
        options=options,
    )
    done = convert(wanted, streams.raw)
    if done.unused:
        print(printable(f"--rename: no label is {', '.join(done.unused)}"), file=sys.stderr)
    if not args.quiet:
        for remark in done.remarks:
            print(remark, file=sys.stderr)
        into = f" in {args.output}" if args.output else ""
        print(f"{done.records} record{'s' * (done.records != 1)}, {done.kind} to {args.to}{into}", file=sys.stderr)

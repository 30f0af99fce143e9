"""Stage 2: which records are for training, and which for evaluation."""

import argparse
import re
import sys

from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.model import FolderSettings
from palitune.errors import UsageError

INPUT = Input()
DESCRIPTION = """\
Shuffles a data set (JSONL or TSV) and writes NAME/{shuffle,train,valid} beside it, dataset/NAME for dataset/data.jsonl:
some examples for validation, the rest for training. The order depends on --seed and on the name, so set1 and set2 are
different splits that anybody can repeat. Lines are copied as they are, each into exactly one part.

A model knows the answer for an image that it was trained on. So lines of the same image stay on one side, and so do
near-duplicates (copies in another size or quality) and, with --group, whatever else belongs together.
"""
EXAMPLES = """\
examples:
  ./02-shuffle_data.sh -v 10 -n set1              10 records for validation, the rest for training
  ./02-shuffle_data.sh -v 20% --test 10% --stratify -n set2
                                                  a fifth and a tenth, each with the labels' shares
  ./02-shuffle_data.sh --folds 5 -n five          five splits: ./03-do_learn.py -d five/fold1
  ./02-shuffle_data.sh --group advertiser -n set3 all examples of an advertiser in one part
  ./02-shuffle_data.sh --group 'image:([^/_]+)_[^/]*$' -n set5
                                                  likewise images/a_1.jpg and images/a_2.jpg
  shuf all.tsv | head -1000 | ./02-shuffle_data.sh -d - -n set4
"""


def amount(text: str) -> tuple[float, bool]:
    """Returns a number, and whether it is a percentage."""
    found = re.fullmatch(r"(-?\d{1,12})|(\d{1,3}(?:\.\d+)?)%", text)
    if not found or (found[2] and float(found[2]) >= 100):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of records nor a percentage like 10%")
    return (float(found[1]), False) if found[1] else (float(found[2]), True)


def group(text: str) -> str:
    """Returns a key, or image:REGEX with a regular expression that compiles."""
    what, colon, expression = text.partition(":")
    if what == "image" and colon:
        values.expression(expression)
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune split` to its parser."""
    parser.epilog = EXAMPLES
    text = "examples for validation, a number or a percentage (10)"
    parser.add_argument("-v", "--validation", type=amount, metavar="N|P%", help=text)
    text = "examples for a third part, for a test at the very end (none)"
    parser.add_argument("--test", type=amount, default=(0.0, False), metavar="N|P%", help=text)
    text = "make K splits, NAME/fold1 and so on: each example is in the validation set of one"
    parser.add_argument("--folds", type=values.positive_int, metavar="K", help=text)
    text = "give every part the labels' shares of the whole, to within one example"
    parser.add_argument("--stratify", action="store_true", help=text)
    text = "keep examples together in which this key is the same, or a part of the image's name: image:REGEX"
    parser.add_argument("--group", type=group, metavar="KEY", help=text)
    text = "keep near-duplicate images on one side (auto: where images are, up to 100,000 lines)"
    parser.add_argument("--near-duplicates", choices=("auto", "together", "ignore"), default="auto", help=text)
    parser.add_argument("-n", "--name", default="set1", help="name of the split (default: %(default)s)")
    text = "examples, JSONL or TSV; - is standard input (default: %(default)s)"
    parser.add_argument("-d", "--data", default="dataset/data.jsonl", metavar="FILE", help=text)
    arguments.add(parser, FolderSettings)
    parser.add_argument(
        "--seed", type=values.seed, default=0, help="another seed gives another order (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another split of this name")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune split` with the arguments that were given."""
    from pathlib import Path

    from palitune.data.formats import error_hints
    from palitune.data.formats.lines import STDIN
    from palitune.data.image_folders import ImageFolders
    from palitune.data.split.splitter import Amount, SplitOptions, split
    from palitune.errors import MissingInputError

    source = Path(args.data)
    home = Path("dataset") if source == STDIN else source.parent
    if args.name in ("", ".", "..") or Path(args.name).name != args.name or not args.name.isprintable():
        raise UsageError(f"-n {args.name!r} must be a plain name; the split goes to {home}/NAME")
    if args.folds and args.validation is not None:
        raise UsageError("--folds uses every record for validation once: leave out -v")
    if source != STDIN and not source.exists():
        draw = "Put your data there, name it with -d, or draw some with: palitune demo-data"
        hint = error_hints.of_missing(source) or draw
        raise MissingInputError("no such file", where=str(source), hint=hint)
    wish = SplitOptions(
        validation=Amount(*(args.validation or (10, False))),
        test=Amount(*args.test),
        folds=args.folds or 0,
        stratify=args.stratify,
        group=args.group,
        near=args.near_duplicates,
    )
    folder = home / args.name
    settings = arguments.folders(args)
    images = ImageFolders.of(source, settings)
    if source == STDIN and not args.images:
        images = ImageFolders([home], args.allow_outside, settings)
    result = split(source, folder, wish, args.seed, args.overwrite, images)
    if args.quiet:
        return
    for remark in result.remarks:
        print(remark, file=sys.stderr)
    sizes = dict(result.sizes)
    if args.folds:
        folds = [sizes[name] for name in sizes if name != "test"]
        text = f"{args.folds} folds of {min(folds)}" + (f" to {max(folds)}" if max(folds) > min(folds) else "")
    else:
        text = f"{sizes['train']} for training, {sizes['valid']} for validation"
    print(f"{folder}: {text}" + (f", {sizes['test']} for testing" if "test" in sizes else ""), file=sys.stderr)

"""All wrong answers, with text and image."""

import argparse
import sys

from palitune import console, streams
from palitune.cli import arguments, values

DESCRIPTION = """\
Lists all wrong answers of one or several files of lines that 13-inference.py wrote, such as those on the training set
and on the test set, by how sure the model was: the most confident mistakes come first, and a wrong label is often
among them. Counts by file and by pair of label and answer go to stderr.

The columns are the file, the image or text, the label, the answer and the answer's probability. Where an example has
several labels there is a sixth, the name of the one that is wrong.
"""
EXAMPLES = """\
examples:
  palitune failures tmp/train.tsv tmp/valid.tsv -i dataset -o failures.html
  palitune failures tmp/out.tsv | head -20 | cut -f2
  palitune failures tmp/out.jsonl --json | jq -r '.pairs[] | "\\(.count) \\(.label) \\(.answer)"'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune failures` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers, TSV or JSONL; - is standard input")
    arguments.add_page(parser, "also write a page with texts and images")
    parser.add_argument("--json", action="store_true", help="print everything as one document of JSON")
    text = "also list the answers that are less likely than this, right or wrong, as unsure"
    parser.add_argument("--min-p", type=values.probability, metavar="P", help=text)
    arguments.add_classes(parser, has_positive=False)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune failures` with the arguments that were given."""
    from palitune import workspace
    from palitune.errors import UsageError
    from palitune.evaluate import failures

    if args.files.count("-") > 1:
        raise UsageError("standard input can be one of the files only")
    if twice := [file for file in args.files if args.files.count(file) > 1]:
        raise UsageError(f"{twice[0]} is named twice")
    page = None if args.output is None else workspace.file_to_write(args.output, args.overwrite, args.files)
    images = None if page is None else arguments.folders(args)
    labels = arguments.classes(args)
    found = failures.of_files(args.files, labels=labels, least=args.min_p, images=images, quiet=args.quiet)
    if args.json:
        streams.document(found.as_json(), 2)
    else:
        for one in found.found:
            streams.raw(f"{one.as_tsv()}\n".encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
    if page is not None:
        from palitune.evaluate.report import failures_page

        failures_page.write(page, found, args.lang, args.quiet)
    if not args.quiet:
        for line in found.counts():
            console.note(line)

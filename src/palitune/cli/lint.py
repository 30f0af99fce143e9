"""What is wrong with data, before it costs an evening."""

import argparse
import sys

from palitune import streams
from palitune.cli import arguments, values
from palitune.data import dataset_files
from palitune.errors import NAMED, printable

DESCRIPTION = """\
Checks every line and every image of FILEs and reports what would spoil a run: images that are missing, damaged,
tiny, or have the extension of another format; the same image twice, with two labels, or in two files; near-duplicates
on both sides of a split; labels of one kind; answers and prompts that are too long. At the end it says what can be
learned from the shares of labels and the number of records. Several files are taken as the parts of one split. The exit
code is 65 if there are errors.
"""
EXAMPLES = """\
examples:
  palitune lint dataset/data.jsonl                all that there is, before it is split
  palitune lint set1                              dataset/set1/train and valid, and what leaks between them
  palitune lint dataset/data.jsonl --fix dataset/clean.jsonl
  palitune lint dataset/data.jsonl --json | jq -r '.findings[] | select(.level == "error") | .where'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune lint` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="data files, JSONL or TSV; or a split")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument("--all", action="store_true", help=f"name every finding, not {NAMED} of a kind")
    text = "write what can be repaired: a file, or for several FILEs a folder. What contradicts itself is left out"
    parser.add_argument("--fix", metavar="OUT", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let --fix replace files")
    parser.add_argument("-m", "-l", "--model", metavar="NAME", help="whose tokens are counted (the latest downloaded)")
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="tokenizer.model, tokenizer.json or their folder, if palitune does not know which",
    )
    parser.add_argument("--prompt", type=values.prompt, metavar="TEXT", help="the question where a prefix is empty")
    arguments.add_images(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune lint` with the arguments that were given."""
    from tqdm import tqdm

    from palitune.config.run_config import MAX_PIXELS, PROMPT
    from palitune.data.checks import lint_text, repair
    from palitune.data.checks.lint import lint
    from palitune.data.image_folders import ImageFolders
    from palitune.data.images import decoder
    from palitune.data.images.decoder import Decoding
    from palitune.data.model_template import template_of
    from palitune.data.split import subset_names
    from palitune.errors import BadDataError
    from palitune.infer.decoding import MAX_ANSWER, MAX_TEXT

    paths = dataset_files.every_file(args.files)
    folders = arguments.folders(args)
    targets = repair.targets(args.fix, paths, args.overwrite) if args.fix else {}
    silent = args.quiet or not sys.stderr.isatty()
    report = lint(
        paths,
        lambda path: ImageFolders.of(path, folders),
        Decoding(args.frames or "middle", args.max_pixels or MAX_PIXELS),
        template_of(args.model, args.tokenizer),
        args.prompt if args.prompt is not None else PROMPT,
        MAX_ANSWER,
        MAX_TEXT,
        lambda items, count: tqdm(items, "checking", count, unit="images", leave=False, disable=silent),
    )
    decoder.unreadable.clear()  # each is among the findings
    if args.json:
        streams.document(lint_text.as_json(report), 1)
    else:
        print(lint_text.as_text(report, args.all))
    note = subset_names.assumed({one.path: one.subset for one in report.files})
    if note and not args.quiet:
        print(printable(note), file=sys.stderr)
    if targets:
        repair.targets(args.fix, paths, args.overwrite)  # once more: nobody else has written there by now
        for line in repair.told(report, targets, repair.repair(report, targets)):
            print(line, file=sys.stderr)
    sys.stdout.flush()
    if errors := report.count("error"):
        can_fix = not targets and any(one.entries for one in report.files)
        hint = "--fix OUT writes what is sound" if can_fix else None
        raise BadDataError(f"{errors} error{'s' * (errors > 1)}", hint=hint)

"""What changed between models."""

import argparse
from pathlib import Path

from palitune import console, streams
from palitune.cli import arguments

DESCRIPTION = """\
Compares files of answers of 13-inference.py to the same examples, each file with the first. It prints the figures of
both, which answers changed (no to yes, yes to no), McNemar's test of whether the number of right answers changed, and
the warning that matters in practice: recall rose, precision fell, so it learned to say yes.

Of answers to several labels it prints the F-measure of each label and of all together, and the test is of the records
that are wholly right.
"""
EXAMPLES = """\
examples:
  palitune compare zero.tsv trained.tsv
  palitune compare zero.tsv trained.tsv --flips | cut -f1          the images whose answer changed
  palitune compare zero.tsv a.tsv b.tsv -o flips.html -i dataset   with images
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune compare` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="answers, TSV or JSONL; two or more; - is standard input"
    )
    text = (
        "print only examples whose answer changed: image or text, label, the first's answer, the other's, fixed or "
        "broken; of several labels the name comes before the label"
    )
    parser.add_argument("--flips", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_page(parser, "also write a page of the last file against the first, with images")
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune compare` with the arguments that were given."""
    from palitune.errors import UsageError, printable
    from palitune.evaluate import several_answers
    from palitune.evaluate.report import comparison_text, from_files, page_files

    if len(args.files) < 2:
        raise UsageError(
            "comparing takes two or more files", hint="The first is the one before: palitune compare BEFORE AFTER"
        )
    if args.files.count("-") > 1:
        raise UsageError("standard input can be one of the files only")
    target = None if args.output is None else page_files.page_to_write(args.output, args.overwrite, args.files)
    if several_answers.are_in_all(args.files):
        _compare_several(args, target)
        return
    pairs = from_files.compare_files(
        args.files, labels=arguments.classes(args), positive=args.positive, quiet=args.quiet
    )
    if args.json:
        streams.document([comparison_text.as_json(*pair) for pair in pairs], 2)
    for pair in () if args.json else pairs:
        if args.flips:
            for line in comparison_text.flip_lines(*pair):
                streams.line(line)
        else:
            print("\n".join(map(printable, comparison_text.comparison_lines(*pair))))
    for _, after, found in pairs:
        if found.warning and (args.flips or args.json):
            console.note(f"{after.name}: WARNING: {found.warning}")
    if target is not None:
        made = from_files.summarize_comparison(*pairs[-1][:2], arguments.folders(args))
        page_files.write(target, made, args.lang, args.quiet)


def _compare_several(args: argparse.Namespace, target: Path | None) -> None:
    """Compares answers to several labels of each record."""
    from palitune.evaluate import several_answers, several_comparison

    first, *others = [several_answers.read(Path(file), args.quiet) for file in args.files]
    pairs = [several_answers.same_records(first, other) for other in others]
    found = [several_comparison.compare(before.table, after.table) for before, after in pairs]
    every = [(*pair, one) for pair, one in zip(pairs, found, strict=True)]
    if args.json:
        streams.document([several_comparison.as_json(*one) for one in every], 2)
    for before, after, one in () if args.json else every:
        if args.flips:
            for line in several_comparison.flip_lines(after, one):
                streams.line(line)
        else:
            print("\n".join(several_comparison.lines(before, after, one)))
    if target is not None:
        from palitune.evaluate.report import several_report

        made = several_report.summarize_comparison(*pairs[-1], arguments.folders(args))
        several_report.write(target, made, args.lang, args.quiet)

"""Stage 4: what a model is worth, without learning."""

import argparse
import sys

from palitune.cli import arguments

DESCRIPTION = """\
Asks a model about every record of each FILE and prints a block for each: true and false positives and negatives
("yes" is positive), accuracy, precision, recall and F-measure. An answer that is neither yes nor no counts as wrong.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of records, JSONL or TSV")
    parser.add_argument("--sheet", metavar="PNG", help="also draw the pictures with their answers, wrong ones first")
    arguments.add_model(parser)
    arguments.add_records(parser, judging=True)


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from palitune.checkpoint import manifest
    from palitune.cli import workspace
    from palitune.cli.judging import Judge, check_pictures, frames_of, load_records
    from palitune.cli.model import announce, decoding, load, pictures, shown_params
    from palitune.config import PROMPT
    from palitune.data.records import Record
    from palitune.judge.report import result_block

    source = workspace.checkpoint_to_read(args.model)
    prompt = args.prompt if args.prompt is not None else manifest.prompt(source, PROMPT)
    model = load(source, args)
    shown = pictures(model, args)
    sets = {path: load_records(Path(path), args) for path in args.files}
    frames = frames_of(args, decoding(source, args))
    check_pictures(sets.values(), shown, frames)
    if not args.quiet:
        announce(model)
    judge = Judge(model, shown, prompt, args.quiet, frames)
    params = shown_params(model, shown)
    judged: list[tuple[Record, str]] = []
    for path, records in sets.items():
        verdict = judge(params, records)
        print(result_block(path, verdict.confusion), flush=True)
        judged += zip(records, verdict.answers, strict=True)
    if args.sheet:
        from palitune.judge import plots

        plots.sheet(Path(args.sheet), [(r.image, r.suffix, answer) for r, answer in judged])
        if not args.quiet:
            print(f"drew {args.sheet}", file=sys.stderr)

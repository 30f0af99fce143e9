"""Stage 4: what a model is worth, without learning."""

import argparse
import sys
from typing import TYPE_CHECKING

from palitune.cli import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from palitune.data.example import Example
    from palitune.evaluate.answers import Answer
    from palitune.infer.answering import Answering

DESCRIPTION = """\
Asks a model about every record of each FILE and prints a block for each: true and false positives and negatives
("yes" is positive), accuracy, precision, recall and F-measure. The answer is the likelier of the labels; with --decode
the model writes freely, and what is no label counts as wrong. --report writes a page with intervals, curves and
pictures.
"""
EXAMPLES = """\
examples:
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl
  ./04-validate.py -m tiny dataset/set1/train.jsonl dataset/set1/valid.jsonl --sheet sheet.png
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl --report report.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of records, JSONL or TSV")
    parser.add_argument("--sheet", metavar="PNG", help="also draw the pictures with their answers, wrong ones first")
    text = "also write a page about all FILEs together, as `palitune report` does"
    parser.add_argument("--report", metavar="HTML", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let --sheet and --report replace files")
    arguments.add_model(parser)
    arguments.add_records(parser, judging=True)
    arguments.add_answering(parser)


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from palitune import workspace
    from palitune.console import status
    from palitune.data import dataset
    from palitune.data.checks import seen_in_training
    from palitune.data.labels import plain, plain_set
    from palitune.evaluate.report import page_files
    from palitune.evaluate.report.result_block import verdict_block
    from palitune.infer import answering
    from palitune.infer.loading import announce, decoding, image_source, load, shown_params
    from palitune.infer.predictor import Judge, check_pictures, frames_of, tell_of_questions

    target = page_files.page_to_write(args.report, args.overwrite, args.files) if args.report else None
    sheet = workspace.file_to_write(args.sheet, args.overwrite, args.files) if args.sheet else None
    source = workspace.checkpoint_to_read(args.model)
    answering.check(args.labels, args.decode, args.threshold)
    model = load(source, **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    sets = {path: dataset.load(Path(path), **arguments.folder_options(args), labels=args.labels) for path in args.files}
    frames = frames_of(decoding(source, args.frames, args.max_pixels), args.frames, args.most_frames, args.pool)
    status(f"looking at the images of {sum(map(len, sets.values()))} records", args.quiet)
    check_pictures(sets.values(), shown, frames)
    if not args.quiet:
        announce(model)
    tell_of_questions(sets.values(), args.prompt, args.quiet)
    for path, records in sets.items():
        seen_in_training.tell(source, path, records, args.quiet)
    how = answering.answering_of(model, **arguments.answering_options(args))
    judge = Judge(model, shown, answering.prompt_of(source, args.prompt), args.quiet, frames, answering=how)
    params = shown_params(model, shown)
    judged: list[tuple[Example, Answer]] = []
    for path, records in sets.items():
        verdict = judge(params, records)
        print(verdict_block(path, verdict.labels, verdict.texts, how.labels), flush=True)
        judged += zip(records, verdict.answers, strict=True)
        if how.decode:
            known = plain_set(how.labels)
            said = zip(records, verdict.texts, strict=True)
            strange = [(record.image.name, text) for record, text in said if plain(text) not in known]
            answering.tell_of_strangers(path, strange, how.labels, len(records))
    if sheet is not None:
        from palitune.evaluate.report import canvas, plots

        plots.sheet(sheet, [plots.Shot(r.image.path, r.label, a.text, r.image.name, a.p_yes) for r, a in judged])
        if why := canvas.reason():
            print(f"{args.sheet}: {why}", file=sys.stderr)
        if not args.quiet:
            print(f"drew {args.sheet}", file=sys.stderr)
    if target is not None:
        _report(target, judged, how, args, source)


def _report(
    target: "Path",
    found: "Sequence[tuple[Example, Answer]]",
    how: "Answering",
    args: argparse.Namespace,
    source: "Path",
) -> None:
    from palitune.evaluate.report import page_files, summary
    from palitune.infer import answering
    from palitune.infer.predictor import Verdict
    from palitune.run.provenance import learning_of

    records = [record for record, _ in found]
    verdict = Verdict([record.label for record in records], [answer for _, answer in found], how.labels)
    asked = sorted({record.prompt or answering.prompt_of(source, args.prompt) for record in records})
    own = f"{len(asked)} questions of the records' own"
    facts = {"data": ", ".join(args.files), "prompt": asked[0] if len(asked) == 1 else own}
    if how.decode:
        facts["answers"] = "written freely"
    elif len(how.labels) == 2:
        facts["threshold"] = f"{how.point.threshold:.4g}"
    if how.point.temperature != 1:
        facts["temperature"] = f"{how.point.temperature:.4g}"
    title, learned = f"{source.stem} on {', '.join(args.files)}", learning_of(str(source))
    threshold = how.point.threshold
    made = summary.summarize(title, facts, records, verdict.judged, threshold=threshold, learned=learned)
    page_files.write(target, made, args.quiet)

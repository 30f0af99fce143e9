"""Stage 4: what a model is worth, without learning."""

import argparse
from typing import TYPE_CHECKING

from palitune.cli import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from palitune.data.prediction import MadeWith, Prediction
    from palitune.evaluate.report.plots import SheetImage

DESCRIPTION = """\
Evaluates a model on each FILE and prints a result block for it: true and false positives and negatives ("yes" is
positive), accuracy, precision, recall and F-measure. The answer is the more likely label; with --decode the model
writes its answer freely, and an answer that is no label counts as wrong. --report writes a page with intervals, curves
and images.
"""
EXAMPLES = """\
examples:
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl
  ./04-validate.py -m tiny dataset/set1/train.jsonl dataset/set1/valid.jsonl --sheet sheet.png
  ./04-validate.py -m trained-set1 dataset/set1/valid.jsonl --report report.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune validate` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="files of records, JSONL or TSV")
    parser.add_argument("--sheet", metavar="PNG", help="also draw the images with their answers, wrong ones first")
    text = "also write a page about all FILEs together, as `palitune report` does"
    parser.add_argument("--report", metavar="HTML", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let --sheet and --report replace files")
    arguments.add_model(parser)
    arguments.add_records(parser, evaluation=True)
    arguments.add_answering(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune validate` with the arguments that were given."""
    from pathlib import Path

    from palitune import workspace
    from palitune.console import status
    from palitune.data import dataset_files
    from palitune.data.checks import seen_in_training
    from palitune.evaluate.report import page_files
    from palitune.evaluate.report.result_block import outcome_block
    from palitune.infer import answering
    from palitune.infer.loading import announce, decoding, image_source, load
    from palitune.infer.predictor import Predictor, check_images, frames_of, tell_of_questions
    from palitune.labels import plain, plain_set

    target = page_files.page_to_write(args.report, args.overwrite, args.files) if args.report else None
    sheet = workspace.file_to_write(args.sheet, args.overwrite, args.files) if args.sheet else None
    source = workspace.checkpoint_to_read(args.model)
    answering.check(args.labels, args.decode, args.threshold)
    model = load(source, **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    sets = {
        path: dataset_files.load(Path(path), **arguments.folder_options(args), labels=args.labels)
        for path in args.files
    }
    frames = frames_of(decoding(source, args.frames, args.max_pixels), args.frames, args.most_frames, args.pool)
    status(f"checking the images of {sum(map(len, sets.values()))} records", args.quiet)
    check_images(sets.values(), shown, frames)
    if not args.quiet:
        announce(model)
    tell_of_questions(sets.values(), args.prompt, args.quiet)
    for path, records in sets.items():
        seen_in_training.tell(source, path, records, args.quiet)
    made = answering.made_with(model, **arguments.answering_options(args))
    predictor = Predictor(model, shown, made, frames=frames, quiet=args.quiet)
    everything: list[Prediction] = []
    for path, records in sets.items():
        predictions = predictor.predict_all(records)
        said = [one.text for one in predictions]
        print(outcome_block(path, [record.label for record in records], said, args.labels), flush=True)
        everything += predictions
        if made.decode:
            known = plain_set(args.labels)
            strange = [(one.example.image.name, one.text) for one in predictions if plain(one.text) not in known]
            answering.tell_of_other_answers(path, strange, args.labels, len(records))
    if sheet is not None:
        from palitune.evaluate.report import plots

        plots.write_sheet(sheet, [_shown(one) for one in everything], args.sheet, args.quiet)
    if target is not None:
        _report(target, everything, made, args, source)


def _shown(one: "Prediction") -> "SheetImage":
    from palitune.evaluate.report.plots import SheetImage

    image = one.example.image
    return SheetImage(image.path, one.example.label, one.text, image.name, one.p_yes)


def _report(
    target: "Path",
    predictions: "Sequence[Prediction]",
    made: "MadeWith",
    args: argparse.Namespace,
    source: "Path",
) -> None:
    from palitune.evaluate.outcomes import of_predictions
    from palitune.evaluate.report import page_files, summary
    from palitune.run.provenance import learning_of

    records = [one.example for one in predictions]
    asked = sorted({record.prompt or made.prompt for record in records})
    own = f"{len(asked)} questions of the records' own"
    facts = {"data": ", ".join(args.files), "prompt": asked[0] if len(asked) == 1 else own}
    if made.decode:
        facts["answers"] = "written freely"
    elif len(args.labels) == 2:
        facts["threshold"] = f"{made.threshold:.4g}"
    if made.temperature != 1:
        facts["temperature"] = f"{made.temperature:.4g}"
    title, learned = f"{source.stem} on {', '.join(args.files)}", learning_of(str(source))
    outcomes, threshold = of_predictions(predictions, args.labels), made.threshold
    content = summary.summarize(title, facts, records, outcomes, threshold=threshold, learned=learned)
    page_files.write(target, content, args.quiet)

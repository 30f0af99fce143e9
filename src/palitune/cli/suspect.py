"""Which labels are wrong."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import console, streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.page import PageSettings
from palitune.data import dataset_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palitune.data.example import Example
    from palitune.data.probabilities import Array
    from palitune.evaluate.doubtful_labels import Doubts

INPUT = Input()
DESCRIPTION = """\
Ranks examples by how much a model doubts their label. The model has not been trained on the example: the data are
divided into folds, and a model trained on the others answers for each. The model is a logistic regression on image
features, which takes seconds, or with --learn a fine-tuned model for every fold.

It writes lines as 13-inference.py does, the most doubtful first: image, correct, p_yes, label, answer. Wrong labels are
near the top, and so are images that are hard. Check an image before you change its label. Texts need --learn. Of
several labels of each record one is doubted at a time: --label-column NAME chooses it.
"""
EXAMPLES = """\
examples:
  palitune suspect dataset/data.jsonl | head -10
  palitune suspect dataset/data.jsonl -n 48 --sheet suspects.png -o suspects.html > /dev/null
  palitune suspect dataset/data.jsonl --learn --folds 3 --examples 256 > suspects.tsv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune suspect` to its parser."""
    parser.epilog = EXAMPLES
    text = "records with labels, JSONL or TSV; of a split the training records"
    parser.add_argument("-d", "--data", metavar="FILE", help=text)
    parser.add_argument("--folds", type=values.folds, default=5, metavar="K", help="(%(default)s)")
    parser.add_argument("-n", "--number", type=values.positive_int, metavar="N", help="how many lines (all)")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the folds, and of learning (0)")
    parser.add_argument("--learn", action="store_true", help="fine-tune for every fold instead of a linear probe")
    text = "with --learn: training examples shown for each fold (512)"
    parser.add_argument("--examples", type=values.positive_int, metavar="N", help=text)
    text = "with --learn: the highest learning rate (0.03)"
    parser.add_argument("-r", "--learning-rate", type=values.positive_float, metavar="R", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw the most doubtful images")
    parser.add_argument("-o", "--output", metavar="HTML", help="also write a page with them")
    parser.add_argument("--overwrite", action="store_true", help="let -o and --sheet replace files")
    arguments.add(parser, PageSettings)
    arguments.add_classes(parser)
    arguments.add_model(parser)
    arguments.add_records(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune suspect` with the arguments that were given."""
    from palitune import workspace
    from palitune.data import example_files
    from palitune.data.checks import seen_in_training
    from palitune.data.image_folders import ImageFolders
    from palitune.data.prediction import Prediction
    from palitune.errors import BadDataError, UsageError
    from palitune.evaluate import answer_files, doubtful_labels, probe
    from palitune.evaluate.report import page_files
    from palitune.infer.asked import tell_of_questions
    from palitune.infer.opening import open_model
    from palitune.run import out_of_fold

    if not args.learn and (args.examples or args.learning_rate or args.prompt):
        raise UsageError("--examples, --learning-rate and --prompt are for --learn")
    if not args.learn and not args.features:
        raise UsageError("the linear probe learns from stored image features: leave out --no-features")
    args.data = dataset_files.learning_file(args.data)
    target = None if args.output is None else page_files.page_to_write(args.output, args.overwrite, [args.data])
    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.data])
    folders = ImageFolders.of(Path(args.data), arguments.folders(args))
    answered = [pair for _, pair in example_files.Reader(Path(args.data), folders=folders).answered()]
    found = [folders.placed(one) for one, _ in answered]
    several = next((one for one in found if one.target.name), None)
    if several is not None:
        hint = f"--label-column {several.target.name} chooses one, and --map 1=yes 0=no says what its values mean"
        raise BadDataError(
            "labels are doubted one at a time, and this record has several", where=several.where, hint=hint
        )
    predictions = [said or Prediction(one, one.target, "") for one, said in answered]
    classes = answer_files.classes_of(predictions, arguments.classes(args), args.quiet, args.positive)
    probe.require_classes([record.label for record in found], args.folds, args.data)
    tell_of_questions([found], args.prompt, args.quiet)
    source = workspace.checkpoint_to_read(args.model)
    seen_in_training.tell(source, args.data, found, args.quiet)
    if args.learn:
        p = _by_fine_tuning(found, classes, args)
    else:
        opened = open_model(source, *arguments.opening(args), quiet=args.quiet)
        p = out_of_fold.by_linear_probe(found, opened, classes, args.folds, args.seed, args.quiet)
    _write(doubtful_labels.ranked(found, p, classes, args.number), target, sheet, args)


def _write(doubts: "Doubts", target: Path | None, sheet: Path | None, args: argparse.Namespace) -> None:
    """Lines on stdout, the most doubtful first, and the images that were asked for."""
    from palitune.evaluate import doubtful_labels
    from palitune.evaluate.report import page_files, plots

    lines = doubtful_labels.answer_lines(doubts)
    how = doubtful_labels.FINE_TUNING if args.learn else doubtful_labels.LINEAR_PROBE
    if not args.quiet:
        count = doubts.right.count(False)
        console.note(f"{count} of {len(doubts.records)} labels are not what {how} says out of fold")
    if sheet is not None:
        chosen = [doubts.answers[i]._replace(example=doubts.records[i]) for i in doubts.order]
        plots.write_sheet(sheet, plots.sheet_images(chosen, args.sheet), args.sheet, args.lang, quiet=True)
    if target is not None:
        page_files.write(target, doubtful_labels.summarize(doubts, args.data, how, args.folds), args.lang, args.quiet)
    # The last thing, because a reader may have had enough of it: `| head`.
    for one in lines:
        streams.line(one)


def _by_fine_tuning(found: "Sequence[Example]", classes: tuple[str, ...], args: argparse.Namespace) -> "Array":
    """Probabilities of models that were fine-tuned with the options typed here."""
    import signal

    from palitune.config.run_config import RunConfig
    from palitune.ending import signals
    from palitune.errors import ResumableError, Stopped
    from palitune.run import out_of_fold

    try:
        return out_of_fold.by_fine_tuning(found, classes, args.folds, arguments.read(RunConfig, args))
    except ResumableError:  # one fold could go on, and all of them cannot
        raise Stopped(signals[-1] if signals else signal.SIGINT) from None

"""Which labels are wrong."""

import argparse
from pathlib import Path

from palitune import streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.learning import LearningSettings
from palitune.config.page import PageSettings
from palitune.config.run_config import RunConfig
from palitune.config.settings import settings_of
from palitune.data import dataset_files

INPUT = Input()
LEARNING = ("method", "batch_size", "learning_rate")  # settings that there is an option for
DESCRIPTION = """\
Ranks examples by how much a model doubts their label. The model has not been trained on the example: the data are
divided into folds, and a model trained on the others answers for each. The model is a logistic regression on image
features, which takes seconds, or with --learn a fine-tuned model for every fold, as `palitune learn --folds` has it:
--method and -b are those that your card has room for.

It writes lines as 13-inference.py does, the most doubtful first: image, correct, p_yes, label, answer. Wrong labels are
near the top, and so are images that are hard. Check an image before you change its label. Texts need --learn. Of
several labels of each record one is doubted at a time: --label-column NAME chooses it.
"""
EXAMPLES = """\
examples:
  palitune suspect dataset/data.jsonl | head -10
  palitune suspect dataset/data.jsonl -n 48 --sheet suspects.png -o suspects.html > /dev/null
  palitune suspect dataset/data.jsonl --learn --folds 3 --examples 256 > suspects.tsv
  palitune suspect dataset/data.jsonl --learn -m google/paligemma2-10b-pt-224 --method qlora -b 1
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
    parser.add_argument("--sheet", metavar="PNG", help="also draw the most doubtful images")
    parser.add_argument("-o", "--output", metavar="HTML", help="also write a page with them")
    parser.add_argument("--overwrite", action="store_true", help="let -o and --sheet replace files")
    arguments.add(parser, PageSettings)
    arguments.add_classes(parser)
    arguments.add(
        parser, LearningSettings, [one.name for one in settings_of(LearningSettings) if one.name not in LEARNING]
    )
    arguments.add_model(parser)
    arguments.add_records(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune suspect` with the arguments that were given."""
    from palitune import workspace
    from palitune.data.checks import seen_in_training
    from palitune.errors import UsageError
    from palitune.evaluate import doubtful_labels, probe
    from palitune.evaluate.report import doubts_report, page_files
    from palitune.infer.asked import tell_of_questions
    from palitune.infer.opening import open_model
    from palitune.run import out_of_fold

    if not args.learn and args.typed & {"examples", "prompt", *LEARNING}:
        raise UsageError("--examples, --method, --batch-size, --learning-rate and --prompt are for --learn")
    if not args.learn and not args.features:
        raise UsageError("the linear probe learns from stored image features: leave out --no-features")
    args.data = dataset_files.learning_file(args.data)
    page = None if args.output is None else page_files.page_to_write(args.output, args.overwrite, [args.data])
    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.data])
    records, classes = doubtful_labels.read(
        Path(args.data), arguments.folders(args), arguments.classes(args), args.positive, args.quiet
    )
    probe.require_classes([one.label for one in records], args.folds, args.data)
    tell_of_questions([records], args.prompt, args.quiet)
    source = workspace.checkpoint_to_read(args.model)
    seen_in_training.tell(source, args.data, records, args.quiet)
    if args.learn:
        p = out_of_fold.by_fine_tuning(records, classes, args.folds, arguments.read(RunConfig, args))
    else:
        opened = open_model(source, *arguments.opening(args), quiet=args.quiet)
        p = out_of_fold.by_linear_probe(records, opened, classes, args.folds, args.seed, args.quiet)
    lines = doubts_report.write(
        doubtful_labels.ranked(records, p, classes, args.number),
        data=args.data,
        how=doubtful_labels.FINE_TUNING if args.learn else doubtful_labels.LINEAR_PROBE,
        folds=args.folds,
        sheet=sheet,
        page=page,
        lang=args.lang,
        quiet=args.quiet,
    )
    # The last thing, because a reader may have had enough of it: `| head`.
    for one in lines:
        streams.line(one)

"""Is fine-tuning worth it?"""

import argparse
import sys
from pathlib import Path

from palitune import streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.answering import LabelSettings
from palitune.data import dataset_files

INPUT = Input(metavar="DATA")
DESCRIPTION = """\
Evaluates baselines on the split that training uses: always the most frequent label, the base model with the records'
own questions (or the best of some prompts), and a logistic regression on its image features. Each is trained or chosen
on the training records alone and evaluated on the validation records; -t adds a fine-tuned model. The last line is the
one that matters.
"""
EXAMPLES = """\
examples:
  palitune baseline -d set1 -m pt-224
  palitune baseline -d set1 -t trained-set1                what did fine-tuning add?
  palitune baseline -d set1 --prompts prompts.txt --json
"""
METRICS = ("balanced_accuracy", "accuracy", "matthews", "f_measure")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune baseline` to its parser."""
    parser.epilog = EXAMPLES
    text = "a split in dataset/, or its folder; or a file of training examples, with --valid-data (set1)"
    parser.add_argument("-d", "--data", default="set1", metavar="DATA", help=text)
    parser.add_argument("--valid-data", metavar="FILE", help="records to evaluate on, where -d is not a split")
    parser.add_argument("-t", "--trained", metavar="NAME", help="a fine-tuned checkpoint to compare")
    text = (
        "prompts to try in place of the examples' own, one a line, as `palitune prompts` takes them (the examples' own)"
    )
    parser.add_argument("--prompts", metavar="FILE", help=text)
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0], help="what is compared (%(default)s)")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the cross-validation (0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add(parser, LabelSettings)
    arguments.add_model(parser)
    arguments.add_images(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune baseline` with the arguments that were given."""
    from palitune import workspace
    from palitune.data import example_files, label_sets
    from palitune.errors import UsageError
    from palitune.evaluate.baseline import conclusion
    from palitune.evaluate.prompt_ranking import read_prompts, require_names
    from palitune.evaluate.report import baseline_table
    from palitune.infer.opening import Opened, open_model
    from palitune.run import baselines

    if not args.features:
        raise UsageError("the linear probe learns from stored image features: leave out --no-features")
    train_file, valid_file = dataset_files.data_files(args.data, args.valid_data)
    if valid_file is None:
        raise UsageError("--valid-data FILE names what to evaluate on, or -d a split")
    base = workspace.checkpoint_to_read(args.model)
    trained = workspace.checkpoint_to_read(args.trained) if args.trained else None
    how, folders = arguments.opening(args), arguments.folders(args)

    def opened(path: Path) -> Opened:
        return open_model(path, *how, quiet=args.quiet)

    train, valid = (
        baselines.known(dataset_files.load(path, folders, labels=None)) for path in (train_file, valid_file)
    )
    typed = label_sets.typed(arguments.read(LabelSettings, args)) or label_sets.of_examples(train)
    if typed is None:
        raise UsageError("the labels are free text", hint="--labels A,B,C or --labels-from FILE names classes")
    classes = label_sets.with_positive(typed, args.positive).classes
    for part in (train, valid):
        example_files.require_labels(part, classes)
    prompts = read_prompts(args.prompts, [classes]) if args.prompts else None
    require_names(prompts or (), train)
    split = baselines.Split(train_file, valid_file, train, valid, classes)
    found = baselines.contestants(
        split, base, opened, prompts=prompts, metric=args.metric, seed=args.seed, quiet=args.quiet
    )
    tuned = None
    if trained is not None:
        tuned = baselines.fine_tuned(trained, valid, args.valid_data or args.data, opened, args.quiet, classes)
    line = conclusion(found, tuned, args.metric)
    every = found if tuned is None else [*found, tuned]
    if args.json:
        streams.document(baseline_table.as_json(every, args.metric, line), 2)
    else:
        print("\n".join([*baseline_table.baseline_lines(every, args.metric), line]))
        sys.stdout.flush()

"""Which prompt does best before any training."""

import argparse
from pathlib import Path

from palitune import console, streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.answering import LabelSettings
from palitune.data import dataset_files
from palitune.errors import UsageError
from palitune.labels import LABELS

INPUT = Input()
DESCRIPTION = """\
Scores every prompt of the file PROMPTS, one a line, on the same examples before any training, and prints them sorted:
which is best, how sure that is, and which differences are noise. A prompt takes the place of the examples' own.

A line may have a tab and other answer words than yes and no behind the prompt: OK/NG, appropriate/inappropriate. The
first word stands for the label yes. --words tries several pairs with every prompt. Lines that begin with # are left
out.
"""
EXAMPLES = """\
examples:
  palitune prompts prompts.txt -d dataset/set1/valid.jsonl -m pt-224
  palitune prompts prompts.txt -d dataset/data.jsonl --words yes/no,OK/NG,appropriate/inappropriate
  palitune prompts prompts.txt dataset/data.jsonl --metric roc_auc --json | jq -r '.[0].prompt'
"""
METRICS = (
    *("balanced_accuracy", "accuracy", "precision", "recall"),
    *("f_measure", "matthews", "roc_auc", "average_precision"),
)


def words(text: str) -> list[tuple[str, ...]]:
    from palitune.evaluate.prompt_ranking import word_pair

    try:
        return [word_pair(pair) for pair in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune prompts` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="PROMPTS", help="a file of prompts, one a line; - is standard input")
    text = "labelled examples, JSONL or TSV; of a split, the training examples"
    parser.add_argument("-d", "--data", metavar="FILE", help=text)
    text = "what prompts are sorted by (%(default)s)"
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0], help=text)
    text = "answer words that every prompt is tried with, the first for the first label (the labels themselves)"
    parser.add_argument("--words", type=words, metavar="A/B,C/D", help=text)
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_labels(parser)
    arguments.add_model(parser)
    arguments.add_images(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune prompts` with the arguments that were given."""
    from palitune import workspace
    from palitune.data import label_sets
    from palitune.evaluate.prompt_ranking import ranked, read_prompts
    from palitune.evaluate.report import prompt_table
    from palitune.infer.asked import check_images
    from palitune.infer.loading import announce
    from palitune.infer.opening import open_model
    from palitune.run.prompt_search import score_prompts

    if args.file == args.data == "-":
        raise UsageError("standard input can be prompts or examples, not both")
    asked = label_sets.with_positive(label_sets.typed(arguments.read(LabelSettings, args)) or LABELS, args.positive)
    if asked.is_several:
        raise UsageError("prompts are scored for two labels")
    classes = asked.classes
    prompts = read_prompts(args.file, args.words or [classes])
    file = dataset_files.learning_file(args.data)
    opened = open_model(workspace.checkpoint_to_read(args.model), *arguments.opening(args), quiet=args.quiet)
    records = dataset_files.load(Path(file), arguments.folders(args), labels=classes)
    check_images([records], opened.images)
    if not args.quiet:
        announce(opened.model)
        if own := sum(bool(record.prompt) for record in records):
            console.note(f"{file}: {own} examples have prompts of their own, which are left out here")
    scored = score_prompts(
        *opened, opened.params(), records, prompts, classes=classes, batch_size=args.batch_size, quiet=args.quiet
    )
    order, rows = ranked(scored, args.metric)
    if args.json:
        streams.document([prompt_table.as_json(scored[i], row) for i, row in zip(order, rows, strict=True)])
    else:
        print("\n".join(prompt_table.prompt_lines([scored[i] for i in order], rows, args.metric)))

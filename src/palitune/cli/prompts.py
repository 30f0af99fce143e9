"""Which prompt does best before any training."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import console, streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.answering import LabelSettings
from palitune.data import dataset_files
from palitune.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palitune.data.example import Example
    from palitune.data.label_sets import LabelSet
    from palitune.evaluate.prompt_ranking import Prompt

INPUT = Input()
DESCRIPTION = """\
Scores every prompt of the file PROMPTS, one a line, on the same examples before any training, and prints them sorted:
which is best, how sure that is, and which differences are noise. A prompt takes the place of the examples' own.

A line may have a tab and other answer words than the labels behind the prompt: OK/NG, appropriate/inappropriate, a
word for each label, in their order; of yes and no the first word stands for yes. --words tries several with every
prompt. Where a record has several labels, {label} in a prompt is the name of the one that is asked for. Lines that
begin with # are left out.
"""
EXAMPLES = """\
examples:
  palitune prompts prompts.txt -d dataset/set1/valid.jsonl -m pt-224
  palitune prompts prompts.txt -d dataset/data.jsonl --words yes/no,OK/NG,appropriate/inappropriate
  palitune prompts prompts.txt dataset/data.jsonl --metric roc_auc --json | jq -r '.[0].prompt'
  palitune prompts prompts.txt -d reviews.jsonl --map 1=positive 0=normal -1=negative
"""
METRICS = (
    *("balanced_accuracy", "accuracy", "precision", "recall"),
    *("f_measure", "matthews", "roc_auc", "average_precision"),
)
OF_TWO = ("roc_auc", "average_precision")  # labels, or of one against the rest


def words(text: str) -> list[tuple[str, ...]]:
    from palitune.evaluate.prompt_ranking import answer_words

    try:
        return [answer_words(several, max(2, several.count("/") + 1)) for several in text.split(",")]
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
    text = "answer words that every prompt is tried with, one for each label in their order (the labels themselves)"
    parser.add_argument("--words", type=words, metavar="A/B,C/D", help=text)
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_labels(parser)
    arguments.add_model(parser)
    arguments.add_images(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune prompts` with the arguments that were given."""
    from palitune import workspace
    from palitune.data import example_files
    from palitune.evaluate.prompt_ranking import ranked, read_prompts
    from palitune.evaluate.report import prompt_table
    from palitune.infer import answering
    from palitune.infer.asked import check_images
    from palitune.infer.loading import announce
    from palitune.infer.opening import open_model
    from palitune.run.prompt_search import score_prompts

    if args.file == args.data == "-":
        raise UsageError("standard input can be prompts or examples, not both")
    file = dataset_files.learning_file(args.data)
    source = workspace.checkpoint_to_read(args.model)
    records = dataset_files.load(Path(file), arguments.folders(args), labels=None)
    labels = answering.labels_of(source, arguments.read(LabelSettings, args), records, args.quiet)
    classes = labels.classes
    prompts = read_prompts(args.file, args.words or [classes])
    _require_use(args, labels, prompts, records)
    example_files.require_labels(records, classes)
    opened = open_model(source, *arguments.opening(args), quiet=args.quiet)
    check_images([records], opened.images)
    if not args.quiet:
        announce(opened.model)
        if own := sum(bool(record.prompt) for record in records):
            console.note(f"{file}: {own} examples have prompts of their own, which are left out here")
    scored = score_prompts(
        *opened, opened.params(), records, prompts, classes=classes, batch_size=args.batch_size, quiet=args.quiet
    )
    if labels.positive:
        scored = [one._replace(outcomes=one.outcomes.against_rest(labels.positive)) for one in scored]
    order, rows = ranked(scored, args.metric)
    if args.json:
        streams.document([prompt_table.as_json(scored[i], row) for i, row in zip(order, rows, strict=True)])
    else:
        of = "known labels" if any(record.target.name for record in records) else "records"
        print("\n".join(prompt_table.prompt_lines([scored[i] for i in order], rows, args.metric, of)))


def _require_use(
    args: argparse.Namespace, labels: "LabelSet", prompts: "Sequence[Prompt]", records: "Sequence[Example]"
) -> None:
    """Raises UsageError: prompts cannot be scored so."""
    from palitune.evaluate.prompt_ranking import require_names

    classes = labels.classes
    if not classes:
        hint = "--labels A,B,C or --labels-from FILE names classes"
        raise UsageError("the labels are free text, and prompts are scored for labels", hint=hint)
    if args.words and any(len(words) != len(classes) for words in args.words):
        raise UsageError(f"--words: there are {len(classes)} labels, and each has a word: {'/'.join(classes[:8])}")
    if args.metric in OF_TWO and labels.is_several and not labels.positive:
        hint = "--positive LABEL takes one of them against the rest"
        raise UsageError(f"--metric {args.metric} is for two labels, and there are {len(classes)}", hint=hint)
    require_names(prompts, records)

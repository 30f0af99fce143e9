"""Which prompt is worth learning from."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from palitune import console
from palitune.cli import arguments, streams, values
from palitune.data import dataset
from palitune.data.records import LABELS
from palitune.errors import BadDataError, MissingInputError, UsageError

if TYPE_CHECKING:
    from palitune.data.images.loader import ImageSource
    from palitune.data.records import Record
    from palitune.evaluate.metrics import Figure, Judged
    from palitune.infer.loading import Model

DESCRIPTION = """\
Scores every prompt of FILE, one a line, on the same records before any learning, and prints them sorted: which is best,
how sure that is, and which differences are noise. A prompt takes the place of what records ask themselves.

A line may have a tab and other answer words than yes and no behind the prompt: OK/NG, appropriate/inappropriate. The
first word stands for the label yes. --words tries several pairs with every prompt. Lines that begin with # are left
out.
"""
EXAMPLES = """\
examples:
  palitune prompts prompts.txt -d dataset/set1/valid.jsonl -m pt-224
  palitune prompts prompts.txt -d dataset/data.jsonl --words yes/no,OK/NG,appropriate/inappropriate
  palitune prompts prompts.txt -d dataset/data.jsonl --metric roc_auc --json | jq -r '.[0].prompt'
"""
METRICS = (
    *("balanced_accuracy", "accuracy", "precision", "recall"),
    *("f_measure", "matthews", "roc_auc", "average_precision"),
)


def words(text: str) -> list[tuple[str, ...]]:
    return [_pair(pair) for pair in text.split(",")]


def _pair(text: str) -> tuple[str, ...]:
    pair = tuple(word.strip() for word in text.split("/"))
    if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
        raise argparse.ArgumentTypeError(f"{text!r} are not two words like yes/no")
    return pair


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="prompts, one a line; - is standard input")
    text = "records with labels, JSONL or TSV; of a split the training records"
    parser.add_argument("-d", "--data", required=True, metavar="FILE", help=text)
    text = "what prompts are sorted by (%(default)s)"
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0], help=text)
    text = "answer words that every prompt is tried with, the first for the first label (the labels themselves)"
    parser.add_argument("--words", type=words, metavar="A/B,C/D", help=text)
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_labels(parser)
    arguments.add_model(parser)
    arguments.add_pictures(parser)


class Prompt(NamedTuple):
    """A prompt with the words that stand for yes and no."""

    text: str
    words: tuple[str, ...]


class Scored(NamedTuple):
    """A prompt with what came of it."""

    prompt: Prompt
    judged: "Judged"


def read(file: str, every: Sequence[tuple[str, ...]]) -> list[Prompt]:
    """The prompts of a file, each with its own words or with all of `every`.

    Raises:
      MissingInputError, BadDataError: no such file, no prompts in it, or a line that is none.
    """
    if file == "-" and sys.stdin is None:
        raise MissingInputError("standard input is closed", hint="Name a file")
    try:
        if Path(file).is_dir():
            hint = "Name a file with a prompt a line"
            raise MissingInputError("cannot be read: it is a folder", where=file, hint=hint)
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=file) from None
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadDataError("not UTF-8 text", where=f"{file}:{line}", hint="Save the file as UTF-8") from None
    found = []
    for number, line in enumerate(lines, 1):
        text, _, own = line.partition("\t")
        if not text.strip() or text.strip().startswith("#"):
            continue
        if "\0" in line:
            raise BadDataError("the line has a NUL character", where=f"{file}:{number}")
        try:
            pairs = [_pair(own)] if own.strip() else every
            found += [Prompt(values.prompt(text.strip()), pair) for pair in pairs]
        except argparse.ArgumentTypeError as error:
            raise BadDataError(str(error), where=f"{file}:{number}") from None
    if not found:
        raise BadDataError("no prompts here", where=file, hint="It needs one a line")
    return list(dict.fromkeys(found))


def run(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.infer.loading import announce, image_source, load, shown_params
    from palitune.infer.predictor import check_pictures

    if args.file == args.data == "-":
        raise UsageError("standard input can be prompts or records, not both")
    if len(args.labels) > 2:
        raise UsageError("prompts are scored for two labels")
    prompts = read(args.file, args.words or [tuple(args.labels)])
    args.data = dataset.learning_file(args.data)
    model = load(workspace.checkpoint_to_read(args.model), **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    records = dataset.load(Path(args.data), **arguments.folder_options(args), labels=args.labels)
    check_pictures([records], shown)
    if not args.quiet:
        announce(model)
        if own := sum(bool(record.prefix) for record in records):
            console.note(f"{args.data}: {own} records ask something themselves, which is left out here")
    asking = Asking(model, shown, shown_params(model, shown), args.quiet, args.batch_size, tuple(args.labels))
    scored = score(asking, records, prompts)
    order, rows = ranked(scored, args.metric)
    if args.json:
        streams.document([_as_json(scored[i], row) for i, row in zip(order, rows, strict=True)])
    else:
        print("\n".join(_table([scored[i] for i in order], rows, args.metric)))


class Asking(NamedTuple):
    """Whom prompts are put to, and how."""

    model: "Model"
    shown: "ImageSource"
    params: Mapping[str, Any]
    quiet: bool
    batch_size: int = 8
    classes: tuple[str, ...] = LABELS


def score(asking: Asking, records: "Sequence[Record]", prompts: Sequence[Prompt]) -> list[Scored]:
    """Every prompt on the same records, with image tokens that are computed once."""
    from tqdm import tqdm

    from palitune.data.images.loader import ImageRequest, raise_first
    from palitune.evaluate import answers, metrics
    from palitune.infer.scoring import Scorer

    model, shown, params, quiet, batch_size, classes = asking
    scorers = {
        pair: Scorer(model.sizes, model.tokenizer, pair, model.dtype, batch_size)
        for pair in dict.fromkeys(prompt.words for prompt in prompts)
    }
    labels = [record.suffix for record in records]
    questions = [model.tokenizer.prompt(prompt.text) for prompt in prompts]  # the longest is refused before all work
    found = []
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=len(prompts) * len(records), desc="scoring", unit="answers", leave=False, disable=silent) as bar:
        for prompt, question in zip(prompts, questions, strict=True):
            tokens = raise_first(shown.prefetch(ImageRequest(record.image, record.where) for record in records))
            p = []
            asked = ((one, question) for one in tokens)
            for record, scores in zip(records, scorers[prompt.words](params, asked), strict=True):
                answers.require_numbers(scores, record, model.path)
                p.append(float(answers.probabilities(scores)[0]))
                bar.update()
            said = [classes[0] if one >= 0.5 else classes[1] for one in p]
            found.append(Scored(prompt, metrics.judged(labels, said, p, classes)))
    return found


class Row(NamedTuple):
    """How a prompt did, and how far it is from the best one."""

    figure: "Figure"
    behind: "Figure | None"  # difference from the best with its interval; None of the best
    is_noise: bool
    yes: int  # answers that are yes


def ranked(scored: Sequence[Scored], metric: str) -> tuple[list[int], list[Row]]:
    """Places of the best first, with rows in that order. Ties go to the lower log loss, then to what comes first."""
    import numpy as np

    from palitune.evaluate import comparison, metrics, threshold

    figures = [metrics.with_intervals(one.judged, only=metric)[metric] for one in scored]
    losses = []
    for one in scored:
        assert one.judged.p is not None
        losses.append(
            threshold.log_loss(one.judged.p, np.array([x == one.judged.classes[0] for x in one.judged.labels]))
        )

    def rank(i: int) -> tuple[float, float]:
        figure = figures[i].value
        return (2.0 if figure is None else -figure, losses[i])  # what has none comes last

    order = sorted(range(len(scored)), key=rank)
    others = comparison.differences(scored[order[0]].judged, [scored[i].judged for i in order[1:]], metric)
    rows = []
    for place, i in enumerate(order):
        behind = others[place - 1] if place else None
        noise = behind is not None and (behind.high is None or behind.high >= 0)
        judged = scored[i].judged
        rows.append(Row(figures[i], behind, noise, sum(said == judged.classes[0] for said in judged.answers)))
    return order, rows


def _table(scored: Sequence[Scored], rows: Sequence[Row], metric: str) -> list[str]:
    from palitune.evaluate.metrics import NAMES
    from palitune.evaluate.report.text import between, value
    from palitune.tables import aligned

    table = [[NAMES[metric], "95 %", "behind", f"says {scored[0].judged.classes[0]}", "words", "prompt"]]
    for one, row in zip(scored, rows, strict=True):
        behind = "best" if row.behind is None else value(-row.behind.value) if row.behind.value is not None else "-"
        behind += " (noise)" if row.is_noise else ""
        figure = row.figure
        table.append([value(figure.value), between(figure.low, figure.high), behind, str(row.yes),
                      "/".join(one.prompt.words), one.prompt.text])  # fmt: skip
    lines = aligned(table)
    noise = sum(row.is_noise for row in rows)
    lines.append(f"{len(scored)} prompts, {len(scored[0].judged.labels)} records; behind is how far from the best")
    if noise:
        lines.append(f"noise: {noise} of the others cannot be told from the best with so few records")
    return lines


def _as_json(one: Scored, row: Row) -> dict[str, Any]:
    from palitune.evaluate import metrics

    return {
        "prompt": one.prompt.text,
        "words": list(one.prompt.words),
        "low": row.figure.low,
        "high": row.figure.high,
        "behind": None if row.behind is None or row.behind.value is None else -row.behind.value,
        "noise": row.is_noise,
        "figures": metrics.figures(one.judged),
    }

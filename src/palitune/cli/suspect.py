"""Which labels are wrong."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palitune import console
from palitune.cli import arguments, streams, values
from palitune.data import dataset
from palitune.data.image_folders import ImageFolders

if TYPE_CHECKING:
    from palitune.data.records import Record
    from palitune.evaluate.metrics import Judged

DESCRIPTION = """\
Ranks records by how much a model doubts their label, each asked of a model that has not learned from it: the data are
parted into folds, and every fold is judged by what was learned from the others. At once by a logistic regression on
what the image tower sees; with --learn by fine-tuning, which takes as many runs as there are folds.

It writes lines as 13-inference.py does, the most doubtful first: image, correct, p_yes, label, answer. A wrong label
stands near the top; so does a picture that is hard. Look at them before you change one.
"""
EXAMPLES = """\
examples:
  palitune suspect -d dataset/data.jsonl | head -10
  palitune suspect -d dataset/data.jsonl -n 48 --sheet suspects.png -o suspects.html > /dev/null
  palitune suspect -d dataset/data.jsonl --learn --folds 3 --examples 256 > suspects.tsv
"""
SHOWN = 60  # on the page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    text = "records with labels, JSONL or TSV; of a split the training records"
    parser.add_argument("-d", "--data", required=True, metavar="FILE", help=text)
    parser.add_argument("--folds", type=values.folds, default=5, metavar="K", help="(%(default)s)")
    parser.add_argument("-n", "--number", type=values.positive_int, metavar="N", help="how many lines (all)")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the folds, and of learning (0)")
    parser.add_argument("--learn", action="store_true", help="fine-tune for every fold instead of a linear probe")
    text = "with --learn: training examples shown for each fold (512)"
    parser.add_argument("--examples", type=values.positive_int, metavar="N", help=text)
    text = "with --learn: the highest learning rate (0.03)"
    parser.add_argument("-r", "--learning-rate", type=values.positive_float, metavar="R", help=text)
    parser.add_argument("--sheet", metavar="PNG", help="also draw the most doubtful pictures")
    parser.add_argument("-o", "--output", metavar="HTML", help="also write a page with them")
    parser.add_argument("--overwrite", action="store_true", help="let -o and --sheet replace files")
    arguments.add_classes(parser)
    arguments.add_model(parser)
    arguments.add_records(parser)


def run(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.data import records
    from palitune.data.checks import seen_in_training
    from palitune.errors import UsageError
    from palitune.evaluate import answer_files, probe
    from palitune.evaluate.report import page_files
    from palitune.infer.loading import announce, image_source, load
    from palitune.infer.predictor import check_pictures, tell_of_questions

    if not args.learn and (args.examples or args.learning_rate or args.prompt):
        raise UsageError("--examples, --learning-rate and --prompt are for --learn")
    if not args.learn and not args.features:
        raise UsageError("the linear probe learns from kept image tokens: leave out --no-features")
    args.data = dataset.learning_file(args.data)
    target = None if args.output is None else page_files.page_to_write(args.output, args.overwrite, [args.data])
    sheet = None if args.sheet is None else workspace.file_to_write(args.sheet, args.overwrite, [args.data])
    found = records.read(Path(args.data), ImageFolders.of(Path(args.data), args.images, args.allow_outside))
    classes = answer_files.classes_of(found, args.labels, args.quiet)
    labels = [record.suffix for record in found]
    probe.require_classes(labels, args.folds, args.data)
    tell_of_questions([found], args.prompt, args.quiet)
    seen_in_training.tell(workspace.checkpoint_to_read(args.model), args.data, found, args.quiet)
    if args.learn:
        p = _learned(found, labels, classes, args)
    else:
        from palitune.infer import probe_features

        model = load(workspace.checkpoint_to_read(args.model), **arguments.model_options(args))
        shown = image_source(model, **arguments.image_options(args))
        check_pictures([found], shown)
        if not args.quiet:
            announce(model)
        p = probe.out_of_fold(probe_features.features(found, shown, args.quiet), labels, args.folds, classes, args.seed)
    _write(found, p, classes, target, sheet, args)


def _learned(
    found: "Sequence[Record]", labels: Sequence[str], classes: tuple[str, ...], args: argparse.Namespace
) -> Any:
    """Probabilities float64[N, 2] by fine-tuning, fold by fold."""
    import numpy as np

    from palitune.data.records import LABELS, to_json
    from palitune.errors import UsageError
    from palitune.evaluate import probe

    if classes != LABELS:
        raise UsageError("learning takes yes and no: leave out --learn for other labels")
    p = np.zeros((len(found), 2))
    with tempfile.TemporaryDirectory() as scratch:
        for number, (learned, held_out) in enumerate(probe.parts(labels, args.folds, args.seed), 1):
            if not args.quiet:
                console.note(f"fold {number} of {args.folds}: learning from {len(learned)} records")
            files: list[Path] = []
            for name, indices in (("train", learned), ("valid", held_out)):
                file = Path(scratch) / f"{name}{number}.jsonl"
                lines = [
                    to_json(
                        {"prefix": found[i].prefix, "suffix": found[i].suffix, "image": str(found[i].image.resolve())}
                    )
                    for i in indices
                ]
                file.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
                files.append(file)
            p[held_out] = _one_fold(files[0], files[1], Path(scratch) / f"fold{number}", args)
    return p


def _one_fold(train: Path, valid: Path, target: Path, args: argparse.Namespace) -> Any:
    """Learns from one file; probabilities float64[M, 2] of the other."""
    import contextlib
    import io
    import signal

    import numpy as np

    from palitune.checkpoint import manifest
    from palitune.cli import learn
    from palitune.cli.main import Parser, Stopped, signals
    from palitune.config import PROMPT
    from palitune.errors import ResumableError
    from palitune.infer.loading import image_source, load, shown_params
    from palitune.infer.predictor import Judge
    from palitune.run import setup

    parser = Parser(prog="palitune suspect --learn")
    learn.add_arguments(parser)
    # Learning must not see the held-out labels, not even to choose its best look: it judges by its own records.
    typed = ["-d", str(train), "-w", str(target), "--seed", str(args.seed), "--save-every", "0", "--allow-outside"]
    typed += ["-i", str(Path(train.root))]
    for option in ("model", "tokenizer", "dtype", "allocator", "prompt", "frames", "max_pixels", "examples",
                   "learning_rate"):  # fmt: skip
        if getattr(args, option) is not None:
            typed += [f"--{option.replace('_', '-')}={getattr(args, option)}"]
    typed += [] if args.features else ["--no-features"]
    own = parser.parse_args(typed)
    own.quiet, own.debug, own.typed = True, args.debug, {"data", "write"}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            setup.run(own)
        except ResumableError:  # one fold could go on, and all of them cannot
            raise Stopped(signals[-1] if signals else signal.SIGINT) from None
    path = target.with_suffix(".npz")
    model = load(path, **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    judge = Judge(model, shown, manifest.prompt(path, PROMPT), True)
    verdict = judge(shown_params(model, shown), dataset.load(valid, images=own.images, allow_outside=True))
    return np.array([answer.p for answer in verdict.answers])


def _write(
    found: "Sequence[Record]",
    p: Any,
    classes: tuple[str, ...],
    target: Path | None,
    sheet: Path | None,
    args: argparse.Namespace,
) -> None:
    """Lines on stdout, the most doubtful first, and the pictures that were asked for."""
    import numpy as np

    from palitune.checkpoint.operating_point import OperatingPoint
    from palitune.data.records import to_answer
    from palitune.evaluate import answers, metrics
    from palitune.evaluate.confusion import is_right
    from palitune.evaluate.report import canvas, plots, summary

    said = [answers.answer(row, classes, OperatingPoint()) for row in p]
    own = np.array([p[i, classes.index(record.suffix)] for i, record in enumerate(found)])
    order = np.argsort(own, kind="stable")[: args.number]
    verdicts = [is_right(answer.text, record.suffix) for answer, record in zip(said, found, strict=True)]
    lines = [to_answer(found[i], verdicts[i], said[i].p_yes, said[i].text) for i in order]
    doubted = verdicts.count(False)
    how = "fine-tuning" if args.learn else "a linear probe"
    if not args.quiet:
        console.note(f"{doubted} of {len(found)} labels are not what {how} says out of fold")
    if sheet is not None:
        doubtful = [(found[i], said[i]) for i in order]
        plots.sheet(sheet, [plots.Shot(r.image, r.suffix, a.text, r.name, a.p_yes) for r, a in doubtful])
        if why := canvas.reason():
            console.note(f"{args.sheet}: {why}")
    if target is not None:
        from palitune.evaluate.report import page_files

        judged: Judged = metrics.judged(
            [record.suffix for record in found], [a.text for a in said], [a.p_yes for a in said], classes
        )
        facts = {
            "data": args.data,
            "asked": f"{how}, each record of what was learned from the other folds of {args.folds}",
        }
        made = summary.summarize(f"Doubted labels of {args.data}", facts, found, judged)
        made.wrong, made.uncertain, made.leads = [made.items[i] for i in order[:SHOWN]], [], True
        made.heading = "The most doubtful labels first"
        made.advice = "A wrong label, or a picture that is hard: look before you change one."
        page_files.write(target, made, args.quiet)
    # The last thing, because a reader may have had enough of it: `| head`.
    for one in lines:
        streams.line(one)

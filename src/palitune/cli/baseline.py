"""Is fine-tuning worth it?"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from palitune.cli import arguments, streams, values
from palitune.data import dataset

if TYPE_CHECKING:
    from palitune.cli.prompts import Prompt
    from palitune.data.images.loader import ImageLoader
    from palitune.data.records import Record
    from palitune.evaluate.metrics import Judged
    from palitune.infer.features import Features
    from palitune.infer.loading import Model

DESCRIPTION = """\
What there is to beat, on the same split that learning gets: always the commonest label, the base model asked the
records' own questions (or the best of some prompts), and a logistic regression on what its image tower sees. Each
learns or chooses on the training records alone and is judged on the validation records; -t adds a fine-tuned model. The
last line is the one that matters.
"""
EXAMPLES = """\
examples:
  palitune baseline -d set1 -m pt-224
  palitune baseline -d set1 -t trained-set1                what did learning add?
  palitune baseline -d set1 --prompts prompts.txt --json
"""
WIDEST = 60  # characters of a prompt in the table
METRICS = ("balanced_accuracy", "accuracy", "matthews", "f_measure")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    text = "a split in dataset/, or its folder; or a file of records to learn from, with --valid-data (set1)"
    parser.add_argument("-d", "--data", default="set1", metavar="DATA", help=text)
    parser.add_argument("--valid-data", metavar="FILE", help="records to judge on, where -d is no split")
    parser.add_argument("-t", "--trained", metavar="NAME", help="a fine-tuned checkpoint to compare")
    text = (
        "prompts to try in place of the records' own, one a line, as `palitune prompts` takes them (the records' own)"
    )
    parser.add_argument("--prompts", metavar="FILE", help=text)
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0], help="what is compared (%(default)s)")
    parser.add_argument("--seed", type=values.seed, default=0, help="of the cross-validation (0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_model(parser)
    arguments.add_pictures(parser)


class Contestant(NamedTuple):
    """A way to answer, and its answers to the validation records."""

    name: str
    detail: str
    judged: "Judged"


def run(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.cli import prompts
    from palitune.data.checks import seen_in_training
    from palitune.data.records import LABELS
    from palitune.errors import UsageError
    from palitune.evaluate import metrics, probe
    from palitune.infer import probe_features
    from palitune.infer.loading import announce, image_source, load
    from palitune.infer.predictor import check_pictures

    if not args.features:
        raise UsageError("the linear probe learns from kept image tokens: leave out --no-features")
    train_file, valid_file = dataset.data_files(args.data, args.valid_data)
    if valid_file is None:
        raise UsageError("--valid-data FILE names what to judge on, or -d a split")
    asked = prompts.read(args.prompts, [LABELS]) if args.prompts else None
    source = workspace.checkpoint_to_read(args.model)
    trained = workspace.checkpoint_to_read(args.trained) if args.trained else None
    model = load(source, **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    folders = arguments.folder_options(args)
    train, valid = dataset.load(train_file, **folders), dataset.load(valid_file, **folders)
    labels = [record.suffix for record in train]
    probe.require_classes(labels, where=str(train_file))
    check_pictures([train, valid], shown)
    if not args.quiet:
        announce(model)

    seen_in_training.tell(source, str(valid_file), valid, args.quiet)
    common = Counter(labels).most_common(1)[0][0]
    truth = [record.suffix for record in valid]
    found = [Contestant("majority", f"always {common}", metrics.judged(truth, [common] * len(valid), [None], LABELS))]
    found.append(_zero_shot(model, shown, train, valid, asked, args))
    p = probe.fit_predict(
        probe_features.features(train, shown, args.quiet),
        labels,
        probe_features.features(valid, shown, args.quiet),
        LABELS,
        args.seed,
    )
    said = [LABELS[0] if one >= 0.5 else LABELS[1] for one in p[:, 0]]
    judged = metrics.judged(truth, said, p[:, 0].tolist(), LABELS)
    found.append(Contestant("linear probe", "logistic regression on image features", judged))
    if trained is not None:
        found.append(Contestant("fine-tuned", trained.stem, _of_model(trained, valid, args)))
    _tell(found, args)


def _zero_shot(
    model: "Model",
    shown: "ImageLoader | Features",
    train: "list[Record]",
    valid: "list[Record]",
    asked: "list[Prompt] | None",
    args: argparse.Namespace,
) -> Contestant:
    """The base model's answers: to the best of some prompts, or to what the records ask themselves, else its own."""
    from palitune.checkpoint import manifest
    from palitune.cli import prompts
    from palitune.config import PROMPT
    from palitune.data.records import LABELS
    from palitune.infer.loading import shown_params
    from palitune.infer.predictor import Judge

    params = shown_params(model, shown)
    if asked is None:
        own = manifest.prompt(model.path, PROMPT)
        judged = Judge(model, shown, own, args.quiet)(params, valid).judged
        return Contestant("zero-shot", _questions(valid, own), judged)
    if (count := sum(bool(record.prefix) for record in valid)) and not args.quiet:
        what = f"--prompts takes the place of the questions of {count} of {len(valid)} records"
        print(f"{what}: without it they are asked their own", file=sys.stderr)
    asking = prompts.Asking(model, shown, params, args.quiet)
    chosen = asked[0]
    if len(asked) > 1:
        order, _ = prompts.ranked(prompts.score(asking, train, asked), args.metric)
        chosen = asked[order[0]]
    (zero,) = prompts.score(asking, valid, [chosen])
    detail = chosen.text + (f" ({'/'.join(chosen.words)})" if chosen.words != LABELS else "")
    return Contestant("zero-shot", detail, zero.judged)


def _questions(records: "list[Record]", prompt: str) -> str:
    """What records are asked, in words."""
    own = sorted({record.prefix or prompt for record in records})
    return own[0] if len(own) == 1 else f"{len(own)} questions of the records' own"


def _of_model(source: Path, valid: "list[Record]", args: argparse.Namespace) -> "Judged":
    """A checkpoint's own answers, with its own prompt and threshold."""
    from palitune.checkpoint import manifest
    from palitune.config import PROMPT
    from palitune.data.checks import seen_in_training
    from palitune.data.records import LABELS
    from palitune.evaluate import metrics
    from palitune.infer.answering import answering_of
    from palitune.infer.loading import image_source, load, shown_params
    from palitune.infer.predictor import Judge

    model = load(source, **arguments.model_options(args))
    shown = image_source(model, **arguments.image_options(args))
    judge = Judge(
        model, shown, manifest.prompt(source, PROMPT), args.quiet, answering=answering_of(model, quiet=args.quiet)
    )
    seen_in_training.tell(source, args.valid_data or args.data, valid, args.quiet)
    verdict = judge(shown_params(model, shown), valid)
    return metrics.judged(verdict.labels, verdict.texts, [answer.p_yes for answer in verdict.answers], LABELS)


def _tell(found: list[Contestant], args: argparse.Namespace) -> None:
    from palitune.evaluate import comparison, metrics
    from palitune.evaluate.metrics import NAMES
    from palitune.evaluate.report.text import between, value
    from palitune.tables import aligned

    figures = [metrics.with_intervals(one.judged) for one in found]
    metric = args.metric
    shown = [name for name in ("accuracy", "balanced_accuracy", "f_measure", "roc_auc") if name != metric]
    tuned = found[-1] if args.trained else None
    others = found[: len(found) - 1] if tuned else found
    best = max(others, key=lambda one: metrics.figures(one.judged)[metric] or 0)
    score = metrics.figures(best.judged)[metric]
    count = len(best.judged.labels)
    change = comparison.difference(best.judged, tuned.judged, metric) if tuned else None
    if score is None:  # as where all validation records have one label
        line = f"to beat: nothing yet, since {NAMES[metric]} cannot be computed on {count} validation records. "
        line += "Take more of both labels, or --metric accuracy"
    elif change is None or change.value is None:
        line = f"to beat: {NAMES[metric]} {value(score)} ({best.name}) on {count} validation records"
    else:
        is_noise = change.low is None or change.high is None or change.low <= 0 <= change.high
        interval = "" if change.low is None else f", 95 % {change.low:+.3f} to {change.high:+.3f}"
        verdict = "which can be chance" if is_noise else "more than chance"
        base = f"the best baseline's {NAMES[metric]} of {value(score)} ({best.name}) on {count} records"
        if abs(change.value) < 5e-5:
            line = f"fine-tuning changes nothing of {base}"
        elif change.value > 0:
            line = f"fine-tuning adds {change.value:.4f} to {base}{interval}: {verdict}"
        else:
            line = f"fine-tuning loses {-change.value:.4f} of {base}{interval}: {verdict}"
    if args.json:
        rows: list[dict[str, Any]] = [
            {"name": one.name, "detail": one.detail, "figures": {n: f._asdict() for n, f in own.items()}}
            for one, own in zip(found, figures, strict=True)
        ]
        streams.document({"contestants": rows, "metric": metric, "verdict": line}, 2)
        return
    table = [["", NAMES[metric], "95 %", *(NAMES[name] for name in shown), ""]]
    for one, own in zip(found, figures, strict=True):
        main = own[metric]
        rest = [value(own[name].value if name in own else None) for name in shown]
        table.append([one.name, value(main.value), between(main.low, main.high), *rest, _shortened(one.detail)])
    print("\n".join(aligned(table)))
    print(line)
    sys.stdout.flush()


def _shortened(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 2]} …"

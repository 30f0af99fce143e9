"""From which p_yes on a model says yes."""

import argparse
import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palitune import console
from palitune.cli import arguments, values
from palitune.data.labels import plain

if TYPE_CHECKING:
    from palitune.checkpoint.operating_point import Stored

DESCRIPTION = """\
Chooses the threshold of p_yes from which on a model says yes, on a FILE of answers of 13-inference.py to validation
records, and shows what it costs there. With -m it is stored beside the checkpoint, and 04-validate.py and
13-inference.py use it from then on; --threshold there overrides.

--temperature also makes p_yes as likely as it says (temperature scaling); answers stay as they are, unless a threshold
is chosen with it. Choose on records that nothing was learned from, and judge on others than these.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l trained-set1 -d dataset/set1/valid.jsonl > valid.tsv
  palitune threshold valid.tsv --precision 0.95 -m trained-set1    of what it lets through 95 % are right
  palitune threshold valid.tsv --recall 0.99                       it misses one in a hundred
  palitune threshold valid.tsv --cost fp=10,fn=1 --temperature     a false yes is as bad as ten false noes
  palitune threshold -m trained-set1                               what is stored
  palitune threshold --remove -m trained-set1                      as likely as not again
"""
FEW = 100  # records


def cost(text: str) -> tuple[float, float]:
    parts = dict(part.partition("=")[::2] for part in text.lower().split(","))
    if set(parts) != {"fp", "fn"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not like fp=10,fn=1")
    try:
        costs = float(parts["fp"]), float(parts["fn"])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} has something that is no number") from None
    if not all(0 <= value < 1e12 for value in costs) or not any(costs):
        raise argparse.ArgumentTypeError(f"{text!r}: costs are at least 0, and not both are 0")
    return costs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="answers to validation records, TSV or JSONL; - is stdin"
    )
    group = parser.add_argument_group("what it is chosen for").add_mutually_exclusive_group()
    text = "at least this share of its yes answers is right, and as many as possible are found"
    group.add_argument("--precision", type=values.probability, metavar="P", help=text)
    text = "at least this share of what is yes is found, and as much as possible of what it says is right"
    group.add_argument("--recall", type=values.probability, metavar="R", help=text)
    text = "the least cost, of a false positive and of a false negative"
    group.add_argument("--cost", type=cost, metavar="fp=X,fn=Y", help=text)
    group.add_argument("--f-measure", action="store_true", help="the highest F-measure")
    parser.add_argument("--temperature", action="store_true", help="also fit the temperature of p_yes")
    parser.add_argument("-m", "--model", metavar="NAME", help="store it beside this checkpoint")
    parser.add_argument("--remove", action="store_true", help="remove what is stored there instead")
    text = "temperature with which FILE was written, if it was written with one that -m does not have any more"
    parser.add_argument("--written-with", type=values.positive_float, metavar="T", help=text)
    arguments.add_classes(parser)


def run(args: argparse.Namespace) -> None:
    from palitune.errors import UsageError

    wish = any(value is not None for value in (args.precision, args.recall, args.cost)) or args.f_measure
    if args.file is None and args.model is not None and not wish and not args.temperature:
        _remove(args) if args.remove else _show(args)
    elif args.remove:
        raise UsageError("--remove needs -m NAME, and nothing else")
    elif args.file is None:
        hint = f"{console.command('inference')} -d FILE > OUT writes one"
        raise UsageError("name a FILE of answers to validation records", hint=hint)
    elif not wish and not args.temperature:
        raise UsageError("say what for: --precision P, --recall R, --cost fp=X,fn=Y, --f-measure or --temperature")
    else:
        with _copied(args.file) as path:
            _choose(path, args, wish)


@contextlib.contextmanager
def _copied(name: str) -> Iterator[Path]:
    """The file; standard input as a file, because it is read more than once."""
    from palitune import workspace
    from palitune.data.records import require_file

    if name != "-":
        require_file(Path(name))
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield workspace.copied_stdin(Path(scratch))


def _remove(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.checkpoint import operating_point

    file = operating_point.path_of(workspace.checkpoint_to_annotate(args.model))
    there = file.is_file()
    if there:
        file.unlink()
    if not args.quiet:
        console.note(f"removed {file}" if there else f"{file}: nothing is stored")


def _show(args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.checkpoint import operating_point
    from palitune.errors import MissingInputError

    source = workspace.checkpoint_to_read(args.model)
    stored = operating_point.read(source)
    if stored is None:
        raise MissingInputError(
            "no threshold is stored", where=str(source), hint="Choose one: palitune threshold --help"
        )
    print(f"threshold: {stored.point.threshold:.9g}\ntemperature: {stored.point.temperature:.6g}")
    console.note(f"{stored.chosen}; labels {','.join(stored.labels)}")


def _choose(path: Path, args: argparse.Namespace, wanted: bool) -> None:
    import numpy as np

    from palitune import workspace
    from palitune.checkpoint import delta, operating_point
    from palitune.checkpoint.operating_point import OperatingPoint, Stored
    from palitune.errors import BadDataError
    from palitune.evaluate import answer_files, threshold
    from palitune.evaluate.answers import log_odds

    found = answer_files.read(path, args.labels, args.quiet)
    classes = found.judged.classes
    if found.judged.p is None:
        what = "the lines have no p_yes that their answers follow from"
        what = what if found.judged.is_binary else "a threshold is for two labels"
        raise BadDataError(what, where=args.file, hint="Answers as 13-inference.py writes them are needed")
    source = workspace.checkpoint_to_annotate(args.model) if args.model else None
    mark = operating_point.mark(delta.load(source, workspace.checkpoint_to_read)) if source else ""
    stored = operating_point.read(source) if source else None
    if stored is not None and (
        stored.checkpoint != mark or list(map(plain, stored.labels)) != list(map(plain, classes))
    ):
        stored = None  # of other parameters or labels
    written = _written_with(args, path, stored, source)
    scores = log_odds(found.judged.p) * written
    positive = np.array([label == classes[0] for label in found.judged.labels], bool)
    now = stored.point if stored else OperatingPoint()
    place = before = _place(now)
    chosen = stored.chosen if stored else "as likely as not"
    try:
        heat = threshold.temperature(scores, positive) if args.temperature else now.temperature
        if wanted:
            wish = threshold.Wish(args.precision, args.recall, args.cost, args.f_measure)
            place = threshold.choose(scores, positive, wish).log_odds
            chosen = f"{wish} on {args.file}, {len(positive)} records"
    except BadDataError as error:
        raise BadDataError(error.what, where=args.file, hint=error.hint) from None
    # Answers stay as they are with another temperature: the threshold moves with it.
    point = OperatingPoint(round(threshold.to_probability(place, heat), 9), heat)
    if not args.quiet:
        _tell(args, scores, positive, (before, place), now, point)
    print(f"threshold: {point.threshold:.9g}")
    if args.temperature:
        print(f"temperature: {heat:.6g}")
    if source is not None:
        files = {**(stored.files if stored else {}), _sha256(path): written}
        operating_point.write(source, Stored(point, classes, _printable(chosen), files, mark))
    if not args.quiet:
        what = "both" if args.temperature else "it"
        advice = f"-m NAME stores {what} with the model"
        console.note(f"stored in {operating_point.path_of(source)}" if source else advice)


def _place(point: Any) -> float:
    """A threshold in log-odds without the temperature."""
    import numpy as np

    from palitune.evaluate.answers import log_odds

    return float(log_odds(np.array(point.threshold))) * float(point.temperature) if point.threshold else -math.inf


def _printable(text: str) -> str:
    from palitune.errors import printable

    return printable(text)[:1_000]


def _tell(
    args: argparse.Namespace, scores: Any, positive: Any, places: tuple[float, float], now: Any, point: Any
) -> None:
    """Blocks before and after, how sure that is, and what the temperature does."""
    from palitune.data.checks.findings import interval
    from palitune.evaluate import threshold
    from palitune.evaluate.report.result_block import result_block

    before, after = (threshold.at(scores, positive, place) for place in places)
    print(result_block(args.file, before, f"threshold {now.threshold:.4g}"))
    if places[0] != places[1]:
        print(result_block(args.file, after, f"threshold {point.threshold:.4g}"))
        for name, right, total in (
            ("precision", after.tp, after.tp + after.fp),
            ("recall", after.tp, after.tp + after.fn),
        ):
            if total:
                low, high = interval(right, total)
                print(f"{name} {right / total:.4f}, 95 % {low:.3f} to {high:.3f}")
    if args.temperature:
        _tell_of_temperature(scores, positive, point.temperature)
    if len(positive) < FEW:
        console.note(f"{len(positive)} records are few: another {len(positive)} may well choose otherwise")


def _written_with(args: argparse.Namespace, path: Path, stored: "Stored | None", source: Path | None) -> float:
    """The temperature with which a file's p_yes were written.

    A file that was there before a temperature was stored has none of it: files that something was chosen on are
    recognised by their content, others by their time.
    """
    from palitune.checkpoint import operating_point

    if args.written_with is not None:
        return float(args.written_with)
    if stored is None or source is None:
        return 1.0
    known = stored.files.get(_sha256(path))
    if known is not None:
        return known
    if stored.point.temperature == 1:
        return 1.0
    newer = path.stat().st_mtime >= operating_point.path_of(source).stat().st_mtime
    written = stored.point.temperature if newer else 1.0
    if not args.quiet:
        what = f"is {'newer' if newer else 'older'} than the stored temperature: taken as written with {written:.4g}"
        console.note(f"{args.file} {what} (--written-with says otherwise)")
    return written


def _tell_of_temperature(scores: Any, positive: Any, heat: float) -> None:
    import numpy as np

    from palitune.evaluate import metrics
    from palitune.evaluate.report.result_block import aligned
    from palitune.evaluate.threshold import log_loss

    rows = [["", "before", "after"]]
    before, after = (1 / (1 + np.exp(-scores / t)) for t in (1.0, heat))
    for name, figure in (("calibration error", metrics.calibration_error), ("log loss", log_loss)):
        rows.append([name, f"{figure(before, positive):.4f}", f"{figure(after, positive):.4f}"])
    print("\n".join(aligned(rows)))


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()

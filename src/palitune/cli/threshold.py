"""From which p_yes on a model says yes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palitune.cli import arguments, values

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
  palitune threshold --remove -m trained-set1                      as likely as not again
"""


def cost(text: str) -> tuple[float, float]:
    parts = dict(part.partition("=")[::2] for part in text.lower().split(","))
    if set(parts) != {"fp", "fn"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not like fp=10,fn=1")
    try:
        values = float(parts["fp"]), float(parts["fn"])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} has something that is no number") from None
    if not all(0 <= value < 1e12 for value in values) or not any(values):
        raise argparse.ArgumentTypeError(f"{text!r}: costs are at least 0, and not both are 0")
    return values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", metavar="FILE", help="answers to validation records, TSV or JSONL")
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

    if args.remove:
        _remove(args)
        return
    if args.file is None:
        raise UsageError("name a FILE of answers to validation records")
    if not args.temperature and args.precision is None and args.recall is None and not args.cost and not args.f_measure:
        raise UsageError("say what for: --precision P, --recall R, --cost fp=X,fn=Y, --f-measure or --temperature")
    _choose(args)


def _remove(args: argparse.Namespace) -> None:
    from palitune.checkpoint import operating_point
    from palitune.cli import workspace
    from palitune.errors import UsageError

    if args.model is None:
        raise UsageError("--remove needs -m NAME")
    file = operating_point.path_of(workspace.checkpoint_to_read(args.model))
    print(f"removed {file}" if file.is_file() else f"{file}: nothing is stored", file=sys.stderr)
    file.unlink(missing_ok=True)


def _choose(args: argparse.Namespace) -> None:
    import numpy as np

    from palitune.checkpoint import delta, operating_point
    from palitune.checkpoint.operating_point import OperatingPoint, Stored
    from palitune.cli import answer_files, workspace
    from palitune.data.records import require_file
    from palitune.errors import BadDataError
    from palitune.judge import threshold
    from palitune.judge.answers import log_odds
    from palitune.judge.report import result_block

    path = Path(args.file)
    require_file(path)
    found = answer_files.read(path, args)
    if found.judged.p is None:
        what = "a threshold is for two labels" if not found.judged.is_binary else "the lines have no p_yes"
        raise BadDataError(what, where=args.file)
    source = checkpoint = stored = None
    if args.model:
        source = workspace.checkpoint_to_read(args.model)
        checkpoint = delta.load(source, workspace.checkpoint_to_read)
        stored = operating_point.read(source, checkpoint)
    written = _written_with(args, path, stored, source)
    scores = log_odds(found.judged.p) * written
    positive = np.array([label == found.judged.classes[0] for label in found.judged.labels], bool)
    wish = threshold.Wish(args.precision, args.recall, args.cost, args.f_measure)
    wanted = any(part not in (None, False) for part in wish)
    now = stored.point if stored else OperatingPoint()
    heat = threshold.temperature(scores, positive) if args.temperature else now.temperature
    if wanted:
        choice = threshold.choose(scores, positive, wish)
        chosen, place, counts = str(wish), choice.log_odds, choice.counts
    else:
        # Answers stay as they are: the threshold moves with the temperature.
        chosen = stored.chosen if stored else "as likely as not"
        place = float(log_odds(np.array(now.threshold))) * now.temperature
        counts = threshold.at(scores, positive, place)
    point = OperatingPoint(threshold.to_probability(place, heat), heat)
    if not args.quiet:
        print(result_block(args.file, threshold.at(scores, positive, 0.0), "threshold 0.5"))
        print(result_block(args.file, counts, f"threshold {point.threshold:.4f}, {chosen}"))
        if args.temperature:
            _tell_of_temperature(scores, positive, heat)
    print(f"threshold: {point.threshold:.6f}")
    if args.temperature:
        print(f"temperature: {heat:.4f}")
    if source is not None and checkpoint is not None:
        facts = {"file": args.file, "sha256": _sha256(path), "temperature": written, "records": len(positive)}
        operating_point.write(source, checkpoint, Stored(point, found.judged.classes, chosen, facts))
        print(f"stored in {operating_point.path_of(source)}", file=sys.stderr)
    elif not args.quiet:
        print("-m NAME stores it with the model; or use 13-inference.py --threshold", file=sys.stderr)


def _written_with(args: argparse.Namespace, path: Path, stored: "Stored | None", source: Path | None) -> float:
    """The temperature with which a file's p_yes were written.

    A file that was there before a temperature was stored has none of it: the very file of that time is recognised by
    its content, others by their time.
    """
    from palitune.checkpoint import operating_point

    if args.written_with is not None:
        return float(args.written_with)
    if stored is None or source is None or stored.point.temperature == 1:
        return 1.0
    if stored.scores.get("sha256") == _sha256(path):
        known = stored.scores.get("temperature")
        return float(known) if isinstance(known, (int, float)) and known > 0 else 1.0
    newer = path.stat().st_mtime >= operating_point.path_of(source).stat().st_mtime
    written = stored.point.temperature if newer else 1.0
    when = "newer" if newer else "older"
    what = (
        f"{path} is {when} than the stored temperature, so its p_yes are taken to have been written with {written:.4g}"
    )
    print(f"{what} (--written-with says otherwise)", file=sys.stderr)
    return written


def _tell_of_temperature(scores: Any, positive: Any, heat: float) -> None:
    import numpy as np

    from palitune.judge import metrics
    from palitune.judge.report import aligned
    from palitune.judge.threshold import log_loss

    rows = [["", "before", "after"]]
    before, after = (1 / (1 + np.exp(-scores / t)) for t in (1.0, heat))
    for name, figure in (("calibration error", metrics.calibration_error), ("log loss", log_loss)):
        rows.append([name, f"{figure(before, positive):.4f}", f"{figure(after, positive):.4f}"])
    print("\n".join(aligned(rows)))


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()

"""From which p_yes on a model says yes."""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import console
from palitune.cli import arguments, values

if TYPE_CHECKING:
    from palitune.checkpoint.operating_point import Stored
    from palitune.evaluate.threshold import Goal

DESCRIPTION = """\
Chooses the threshold of p_yes from which on a model says yes, on a FILE of answers of 13-inference.py to validation
records, and shows what it costs there. With -m it is stored beside the checkpoint, and 04-validate.py and
13-inference.py use it from then on; --threshold there overrides.

Where FILE has answers to several labels, each label gets a threshold of its own by the same rule.

--temperature also calibrates p_yes by temperature scaling, so that of the answers with p_yes 0.9 about nine in ten are
yes; answers stay as they are, unless a threshold is chosen with it. Choose on records that the model was not trained
on, and evaluate on others.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l trained-set1 -d dataset/set1/valid.jsonl > valid.tsv
  palitune threshold valid.tsv --precision 0.95 -m trained-set1    of what it lets through 95 % are right
  palitune threshold valid.tsv --recall 0.99                       it misses one in a hundred
  palitune threshold valid.tsv --cost fp=10,fn=1 --temperature     a false positive costs as much as ten false negatives
  palitune threshold -m trained-set1                               what is stored
  palitune threshold --remove -m trained-set1                      forget it: 0.5 again
"""
FEW = 100  # examples


def cost(text: str) -> tuple[float, float]:
    """Returns the costs of a false positive and of a false negative, of a text like fp=10,fn=1."""
    parts = dict(part.partition("=")[::2] for part in text.lower().split(","))
    if set(parts) != {"fp", "fn"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not like fp=10,fn=1")
    try:
        costs = float(parts["fp"]), float(parts["fn"])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} has something that is not a number") from None
    if not all(0 <= value < 1e12 for value in costs) or not any(costs):
        raise argparse.ArgumentTypeError(f"{text!r}: costs are at least 0, and not both are 0")
    return costs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune threshold` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="answers to validation examples, TSV or JSONL; - is stdin"
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
    """Runs `palitune threshold` with the arguments that were given."""
    from palitune.errors import UsageError

    wanted = any(value is not None for value in (args.precision, args.recall, args.cost)) or args.f_measure
    if args.file is None and args.model is not None and not wanted and not args.temperature:
        _remove(args) if args.remove else _show(args)
    elif args.remove:
        raise UsageError("--remove needs -m NAME, and nothing else")
    elif args.file is None:
        hint = f"{console.command('inference')} -d FILE > OUT writes one"
        raise UsageError("name a FILE of answers to validation examples", hint=hint)
    elif not wanted and not args.temperature:
        raise UsageError("say what for: --precision P, --recall R, --cost fp=X,fn=Y, --f-measure or --temperature")
    else:
        with _copied(args.file) as path:
            _choose(path, args, wanted)


@contextlib.contextmanager
def _copied(name: str) -> Iterator[Path]:
    """The file; standard input as a file, because it is read more than once."""
    from palitune import workspace
    from palitune.data.formats.lines import require_file

    if name != "-":
        require_file(Path(name))
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield workspace.copied_stdin(Path(scratch))


def _remove(args: argparse.Namespace) -> None:
    from palitune.evaluate import stored_threshold

    file, was_there = stored_threshold.remove(args.model)
    if not args.quiet:
        console.note(f"removed {file}" if was_there else f"{file}: nothing is stored")


def _show(args: argparse.Namespace) -> None:
    from palitune.evaluate import several_thresholds, stored_threshold

    stored = stored_threshold.of_model(args.model)
    for line in several_thresholds.shown(stored.thresholds):
        print(line)
    print(f"threshold: {stored.point.threshold:.9g}\ntemperature: {stored.point.temperature:.6g}")
    console.note(f"{stored.chosen}; labels {','.join(stored.labels)}")


def _choose(path: Path, args: argparse.Namespace, has_goal: bool) -> None:
    from palitune import workspace
    from palitune.evaluate import class_threshold, several_answers, stored_threshold
    from palitune.evaluate.report.threshold_text import chosen_lines
    from palitune.evaluate.threshold import Goal

    checkpoint = workspace.checkpoint_to_annotate(args.model) if args.model else None
    goal = Goal(args.precision, args.recall, args.cost, args.f_measure) if has_goal else None
    if several_answers.are_in(path):
        _choose_several(path, args, goal, checkpoint)
        return
    labels = arguments.classes(args)
    are_several = class_threshold.are_several(path, labels)
    wanted = stored_threshold.Wanted(
        path,
        args.file,
        goal,
        args.temperature,
        checkpoint,
        labels,
        args.positive,
        args.written_with,
        args.quiet,
    )
    chosen = class_threshold.choose(wanted) if are_several else stored_threshold.choose(wanted)
    if not args.quiet:
        if isinstance(chosen, class_threshold.ChosenOfSeveral):
            lines, count = class_threshold.chosen_lines(chosen, args.temperature), len(chosen.codes)
        else:
            lines, count = chosen_lines(chosen, args.temperature), len(chosen.positive)
        for line in lines:
            print(line)
        if count < FEW:
            console.note(f"{count} examples are few: another {count} may well choose otherwise")
    if not are_several or has_goal:
        print(f"threshold: {chosen.point.threshold:.9g}")
    if args.temperature:
        print(f"temperature: {chosen.point.temperature:.6g}")
    _store(args, checkpoint, chosen.stored)


def _choose_several(path: Path, args: argparse.Namespace, goal: "Goal | None", checkpoint: Path | None) -> None:
    """Chooses a threshold for each of several labels."""
    from palitune.evaluate import several_thresholds
    from palitune.evaluate.report.text import value
    from palitune.text_tables import aligned

    how = {"fit_temperature": args.temperature, "written_with": args.written_with, "quiet": args.quiet}
    chosen = several_thresholds.choose(path, args.file, goal, checkpoint=checkpoint, **how)
    if not args.quiet:
        print("\n".join(aligned(several_thresholds.rows(chosen))))
        before, after = several_thresholds.macro_f(chosen)
        print(f"macro F-measure: {value(before)} -> {value(after)}")
        if args.temperature:
            print("log loss: {:.4f} -> {:.4f}".format(*chosen.log_losses))
        if (count := min(one.records for one in chosen.choices)) < FEW:
            console.note(f"{count} examples are few: another {count} may well choose otherwise")
    for line in several_thresholds.shown({one.name: one.after for one in chosen.choices}):
        print(line)
    if args.temperature:
        print(f"temperature: {chosen.temperature:.6g}")
    _store(args, checkpoint, chosen.stored)


def _store(args: argparse.Namespace, checkpoint: Path | None, stored: "Stored") -> None:
    from palitune.checkpoint import operating_point

    if checkpoint is not None:
        operating_point.write(checkpoint, stored)
    if not args.quiet:
        what = "both" if args.temperature else "it"
        advice = f"-m NAME stores {what} with the model"
        console.note(f"stored in {operating_point.path_of(checkpoint)}" if checkpoint else advice)

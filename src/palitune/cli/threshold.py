"""From which p_yes on a model says yes."""

import argparse

from palitune import console
from palitune.cli import arguments, values

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
    from palitune.evaluate.threshold import Goal
    from palitune.run import threshold_choice

    wanted = any(value is not None for value in (args.precision, args.recall, args.cost)) or args.f_measure
    if args.file is None and args.model is not None and not wanted and not args.temperature:
        threshold_choice.remove(args.model, args.quiet) if args.remove else threshold_choice.show(args.model)
    elif args.remove:
        raise UsageError("--remove needs -m NAME, and nothing else")
    elif args.file is None:
        hint = f"{console.command('inference')} -d FILE > OUT writes one"
        raise UsageError("name a FILE of answers to validation examples", hint=hint)
    elif not wanted and not args.temperature:
        raise UsageError("say what for: --precision P, --recall R, --cost fp=X,fn=Y, --f-measure or --temperature")
    else:
        goal = Goal(args.precision, args.recall, args.cost, args.f_measure) if wanted else None
        how = {"fit_temperature": args.temperature, "written_with": args.written_with, "quiet": args.quiet}
        labels = {"labels": arguments.classes(args), "positive": args.positive}
        threshold_choice.choose(args.file, goal, args.model, **labels, **how)

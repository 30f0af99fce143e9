"""A data set to practise on."""

import argparse

from palitune import console
from palitune.cli import values

DESCRIPTION = """\
Draws a data set to practise on into FOLDER, by --task:

adverts    96 advertisements for bottles, jars, boxes and tubes, in FOLDER/images and FOLDER/data.jsonl.
           The rule to learn: an advertisement with a cross on it is not allowed ("no"), any other is ("yes").
sentiment  600 reviews in Japanese and English under the labels 1, 0 and -1: FOLDER/data.jsonl.
           One line in a hundred is a copy of an earlier line, and one in a hundred has a wrong label;
           the command prints which.
emoji      250 tweets, each answered by one of 25 emoji, ten for each: FOLDER/data.tsv.
toxicity   800 posts with four labels, obscene, violent, insult and personal, which are 1, 0 or missing:
           FOLDER/data.csv. The rarest is on 4 % of the posts, and some posts have several.
           FOLDER/questions.tsv has a question for each label.
chat       300 chats of a shop's support, as "messages": FOLDER/data.jsonl. Some of the assistant's turns are
           bad answers; they have "weight": 0.
"""
EXAMPLES = """\
examples:
  palitune demo-data                              dataset/images and dataset/data.jsonl
  palitune demo-data -o more --count 200 --seed 1
  palitune demo-data --task sentiment -o dataset/sentiment
"""
TASKS = ("adverts", "toxicity", "emoji", "sentiment", "chat")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune demo-data` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--output", default="dataset", metavar="FOLDER", help="(default: %(default)s)")
    parser.add_argument("--task", choices=TASKS, default="adverts", help="what is to be learned (default: %(default)s)")
    parser.add_argument(
        "--count",
        type=values.positive_int,
        help="how many records (default: as above; of 96 advertisements 54 are allowed and 42 not)",
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="another seed draws others (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace another data set")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune demo-data` with the arguments that were given."""
    from collections import Counter
    from pathlib import Path

    from palitune.data.demo import demo_data

    folder = Path(args.output)
    if args.task != "adverts":
        text = demo_data.make_text(args.task, folder, args.count, args.seed, args.overwrite)
    else:
        count = demo_data.COUNT if args.count is None else args.count
        records = demo_data.make(folder, count, args.seed, args.overwrite)
        labels = Counter(record["suffix"] for record in records)
        kinds = Counter(record["image"].rpartition(".")[2] for record in records)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        text = f"{len(records)} advertisements in {args.output}: {labels['yes']} yes, {labels['no']} no; {listed}"
    if not args.quiet:
        console.note(text)

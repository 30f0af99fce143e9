"""Stage 7: a loop that learns, evaluates and chooses by itself."""

import argparse

from palitune.cli import arguments
from palitune.cli.inputs import Input
from palitune.config.iterate_config import LEFT_OUT, IterateConfig

INPUT = Input(metavar="DATA")
DESCRIPTION = """\
Does what a person does over an evening: checks the data, asks the base and a linear probe about them, learns by the
recipe, then by other settings (learning rate, length, method, augmentation, balance; questions of --prompts), each in
folds so that every record is answered by a model that has not learned from it. Of many settings the best third is tried
again from another seed, and so on; what is best learns once more from a seed that nothing was chosen by, on everything,
as an ensemble. A temperature is fitted on the answers out of fold.

At the end one page says whether it was worth it: against the most frequent label, the base and the probe, on the same
records, with McNemar's test. NAME.npz is the model, NAME.iterate/ has the page and every step, each of which is a
command that you can type.

A loop that was stopped or killed continues with --resume, and comes to the same end. Settings that you name are the
same in all runs. --hard-examples is another loop: it learns again from the training records that were answered wrong
(or as --keep says), as long as that helps, and says when one answer takes over.
"""
EXAMPLES = """\
examples:
  palitune iterate -d dataset/data.jsonl --budget 10m -w best
  palitune iterate -d set1 --runs 20 --method lora -w best     a split: its test part is left alone until the end
  palitune iterate -d dataset/data.jsonl --prompts prompts.txt --unlabelled new.jsonl --goal precision=0.95 -w best
  palitune iterate --resume -w best
  palitune iterate -d set1 --hard-examples --keep tn,fp -w hard
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune iterate` to its parser."""
    parser.epilog = EXAMPLES
    arguments.add(parser, IterateConfig, LEFT_OUT)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune iterate` with the arguments that were given."""
    config = arguments.read(IterateConfig, args)

    from palitune.iterate.run import iterate

    iterate(config)

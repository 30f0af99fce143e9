"""Stage 15: learning from a file of records, such as what a filter left."""

import argparse

from palitune.cli import learn
from palitune.cli.inputs import Input

INPUT = Input()
DESCRIPTION = """\
Fine-tunes a model on one file of records, JSONL or TSV, also of lines that inference or a filter wrote. All options are
those of 03-do_learn.py, and everything it says of learning holds here. Without --valid-data the training records are
also used for evaluation during training: that shows whether the model has memorised them, not how good it is.
"""
EXAMPLES = """\
examples:
  ./15-train.py -d tmp/false64.tsv -i dataset -b 10 -r 0.001 -t 8 -s checkpoints/false64.npz
                                                  eight times through 64 records, ten at a time
  ./15-train.py -l x -d tmp/false64.tsv --valid-data tmp/splitted-ac.tsv -s y
                                                  continue from checkpoints/x.npz, evaluate on other records
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune train` to its parser."""
    learn.add_arguments(parser)
    parser.epilog = EXAMPLES


run = learn.run

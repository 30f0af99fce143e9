"""Stage 13: a model's answers as lines of text."""

import argparse

from palitune.cli import arguments
from palitune.cli.inputs import Input
from palitune.config.predictor_config import PredictorConfig
from palitune.config.sharding import ShardSettings

INPUT = Input()
DESCRIPTION = """\
Asks a model about every record and writes a line for each, in their order, as soon as its batch is done:
  image, correct (True or False), p_yes (from 0 to 1), label, answer, with tabs between
Training, filtering and 14-validate_outtsv.py read these lines again. A record without a label is answered too; it is
neither correct nor wrong. p_yes is the probability of yes against no. With other --labels it is that of the first of
two, and of more than two the answer's own; JSONL then has that of each label too. A threshold or a temperature that
`palitune threshold` stored with the model is used.

All images are checked before the model runs, and every unusable one is named. With --on-bad-image skip they are
named on the way and left out, and standard input is answered while it comes, however long it is.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l checkpoints/x.npz -d tmp/splitted-ab.tsv -i dataset -b 4 | tee tmp/out-ab.tsv
  ./13-inference.py -l x -d tmp/all.tsv --resume tmp/out.tsv       write tmp/out.tsv, or continue it
  ./13-inference.py -d tmp/all.tsv | grep -v '\\bTrue\\b.*\\byes$'    all but the true positives
  ls dataset/images | ./13-inference.py -d - -i dataset/images      images without labels
  ./13-inference.py -d tmp/all.tsv --resume tmp/out.tsv --shard 3/64   a part, for `palitune gather tmp/out.tsv`

Without --shard, --resume does not check which model and prompt wrote the lines that are in OUT: use the same ones.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune inference` to its parser."""
    parser.epilog = EXAMPLES
    arguments.add(parser, ShardSettings)
    arguments.add(parser, PredictorConfig)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune inference` with the arguments that were given."""
    from palitune.run import inference, ray_pipeline, wanted_answers

    wanted = wanted_answers.Wanted.of(arguments.read(ShardSettings, args), args.quiet)
    answer = inference.answer if wanted.ray_workers is None else ray_pipeline.answer
    answer(arguments.read(PredictorConfig, args), wanted)

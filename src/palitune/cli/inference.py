"""Stage 13: a model's answers as lines of text."""

import argparse

from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.predictor_config import PredictorConfig
from palitune.config.sharding import Shard, ShardSettings

INPUT = Input()
DESCRIPTION = """\
Asks a model about every record and writes a line for each, in their order, as soon as its batch is done:
  image, correct (True or False), p_yes (from 0 to 1), label, answer, with tabs between
Training, filtering and 14-validate_outtsv.py read these lines again. A record without a label is answered too; it is
neither correct nor wrong. p_yes is the probability of yes against no. With other --labels it is that of the first of
two, and of more than two the answer's own; JSONL then has that of each label too.

A threshold or a temperature that `palitune threshold` stored with the model is used.

All images are checked before the model runs, and every unusable one is named. With --on-bad-image skip they are
named on the way and left out, and standard input is answered while it comes, however long it is.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l checkpoints/x.npz -d tmp/splitted-ab.tsv -i dataset -b 4 | tee tmp/out-ab.tsv
  ./13-inference.py -l x -d tmp/all.tsv --resume tmp/out.tsv       write tmp/out.tsv, or continue it
  ./13-inference.py -d tmp/all.tsv | grep -v '\\bTrue\\b.*\\byes$'    all but the true positives
  ls dataset/images | ./13-inference.py -d - -i dataset/images      images without labels
  ./13-inference.py -d tmp/all.tsv --resume tmp/out.tsv --shard 3/64    the third of 64 parts, on as many machines;
                                                                    palitune gather tmp/out.tsv puts them together

--resume does not check which model and prompt wrote the lines that are already in OUT, except with --shard: use the
same ones.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune inference` to its parser."""
    parser.epilog = EXAMPLES
    text = "records, JSONL, TSV, CSV or Parquet, or an address such as s3://; - is standard input"
    parser.add_argument("-d", "--data", metavar="FILE", help=text)
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    text = "stop before the model is asked, naming all of them, or leave their records out (stop)"
    parser.add_argument("--on-bad-image", choices=("stop", "skip"), default="stop", help=text)
    text = "write to OUT instead of standard output, after the lines that an interrupted run left there"
    parser.add_argument("--resume", metavar="OUT", help=text)
    text = "write to OUT when all answers are there, to an address such as s3:// too; OUT.parquet is a table"
    parser.add_argument("--output", metavar="OUT", help=text)
    text = "write JSONL: all keys of a record, with correct, p_yes and answer"
    parser.add_argument("--jsonl", action="store_true", help=text)
    arguments.add(parser, ShardSettings)
    arguments.add(parser, PredictorConfig)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune inference` with the arguments that were given."""
    from palitune.run.inference import Wanted, answer

    shard = arguments.read(ShardSettings, args).shard
    skip = args.on_bad_image == "skip"
    part = Shard(*shard) if shard else None
    wanted = Wanted(args.data, skip, args.resume, args.jsonl, args.batch_size, args.quiet, part, args.output)
    answer(arguments.read(PredictorConfig, args), wanted)

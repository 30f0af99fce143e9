"""A model's answers from all workers of a Ray cluster."""

import argparse

from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.config.predictor_config import PredictorConfig

INPUT = Input()
DESCRIPTION = """\
Asks a model about every record, as `palitune inference` does, on the workers of a Ray cluster: the one that RAY_ADDRESS
names, or else one of this machine alone. OUT appears whole or not at all, and is what one process would have written.
A worker that is lost is replaced. After an interruption the same command continues: the shards' files beside OUT are
not asked about again. Every machine has to see the data, the images and the model under the same paths.
"""
EXAMPLES = """\
examples:
  palitune ray-inference -d tmp/all.tsv -o tmp/out.tsv -m trained-set1 -i dataset -b 64 --workers 2
  RAY_ADDRESS=auto palitune ray-inference -d tmp/all.tsv -o tmp/out.tsv --workers 16 --gpus 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune ray-inference` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-d", "--data", metavar="FILE", help="records, JSONL, TSV, CSV or Parquet")
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="where the answers go")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    text = "processes, each with the model (%(default)s)"
    parser.add_argument("--workers", type=values.positive_int, default=2, metavar="N", help=text)
    text = "parts that the records are dealt to (8 for each worker)"
    parser.add_argument("--shards", type=values.positive_int, metavar="N", help=text)
    parser.add_argument("--gpus", type=float, default=0, metavar="N", help="of each worker, as 1 or 0.5 (%(default)s)")
    text = "stop at an image that cannot be used, or leave its record out (stop)"
    parser.add_argument("--on-bad-image", choices=("stop", "skip"), default="stop", help=text)
    parser.add_argument("--jsonl", action="store_true", help="write JSONL, as `palitune inference --jsonl`")
    arguments.add(parser, PredictorConfig)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune ray-inference` with the arguments that were given."""
    from palitune.run.inference import Wanted
    from palitune.run.ray_pipeline import Work, answer

    skip = args.on_bad_image == "skip"
    wanted = Wanted(args.data, skip, args.out, args.jsonl, args.batch_size, args.quiet)
    work = Work(args.workers, args.shards, args.gpus)
    answer(arguments.read(PredictorConfig, args), wanted, work, overwrite=args.overwrite)

"""Stage 3: learning, judged before and after."""

import argparse

from palitune.cli import arguments, values
from palitune.cli.inputs import Input

INPUT = Input(metavar="DATA")
DESCRIPTION = """\
Fine-tunes a model on dataset/SET/train.jsonl and judges it on train.jsonl, valid.jsonl and all of it (shuffle.jsonl)
before and after.

Learning is a lottery: a run can fail, so keep it short, look at the blocks it prints, and run it again with another
--seed, prompt or data. When the "trained" block of train.jsonl says accuracy 1.0, learning has converged; what the
model is worth is what the block of valid.jsonl says. --repeat and --sweep learn several times and keep the best.

While it learns, valid.jsonl is looked at again and again, and the weights of the best look are what is kept. A run
whose loss runs away begins again from the base, and ends with exit code 79 when all --attempts fail. With -w, Ctrl-C
saves the run and ends with exit code 75; --resume goes on, after a crash too. A run that cannot fit into memory is
refused before it starts (`palitune plan` shows what fits).
"""
EXAMPLES = """\
examples:
  ./03-do_learn.py -d set1 -w trained-set1        learn on set1, save checkpoints/trained-set1.npz
  ./03-do_learn.py -d set2 -w trained-set2 -2     and once more at a tenth of the learning rate
  ./03-do_learn.py -d set1 -m pt-224 --seed 7     from PaliGemma 3B, with another order of the examples
  ./03-do_learn.py -d set1 --method lora -b 8     adapters beside frozen weights
  ./03-do_learn.py -d set1 --repeat 5 -w best     from five seeds, the best is saved
  ./03-do_learn.py -d set1 --sweep lr=0.01,0.03 batch=2,8 -w best
                                                  for each of four settings
  ./03-do_learn.py --resume -w best               what was stopped or killed
  ./03-do_learn.py --from ../checkpoints/best.run/config.json --balance weights -w other
                                                  the same run but for one option
  ./03-do_learn.py -d set1 --method full --learning-rate-scale 'img/.*=0.1'
                                                  every parameter, the image tower at a tenth of the rate

NAME.npz holds what was learned and which base it belongs to, NAME.run/ how it was learned: metrics.csv, loss.png,
config.json. `palitune merge` makes one whole file of what was learned and its base.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune learn` to its parser."""
    parser.epilog = EXAMPLES
    text = "a split in dataset/, or its folder; or a file of records, JSONL or TSV (set1)"
    parser.add_argument("-d", "--data", default="set1", metavar="DATA", help=text)
    text = "what judges while it learns, where -d is no split (default: the records that it learns from)"
    parser.add_argument("--valid-data", metavar="FILE", help=text)
    text = "save the result: a bare name goes into checkpoints/"
    parser.add_argument("-w", "-s", "--write", metavar="NAME", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint and its run")
    text = "also write NAME.run/report.html: the validation set before and after, with curves and pictures"
    parser.add_argument("--report", action="store_true", help=text)
    parser.add_argument("--seed", type=values.seed, help="another seed shows the examples in another order (0)")
    arguments.add_run(parser)
    _add_lottery(parser)
    _add_safety(parser)
    arguments.add_method(parser)
    arguments.add_model(parser)
    arguments.add_records(parser)


def _add_lottery(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several times in one process; the best is kept")
    group.add_argument("--repeat", type=values.positive_int, default=1, metavar="N", help="from N seeds (1)")
    text = "for each of several values, e.g. lr=0.01,0.03 batch=2,8; names are those of the options here"
    group.add_argument("--sweep", nargs="+", metavar="NAME=V,V", help=text)
    text = "look N times for better settings in what --sweep allows, ranges lr=0.003..0.1 too (needs palitune[search])"
    group.add_argument("--search", type=values.positive_int, metavar="N", help=text)


def _add_safety(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("going on and starting over")
    text = "steps between two saved states of the run; 0 saves none (every ten minutes)"
    group.add_argument("--save-every", type=values.non_negative_int, metavar="N", help=text)
    text = "go on with the run of -w NAME, which was stopped or killed; it needs no other option"
    group.add_argument("--resume", action="store_true", help=text)
    text = "everything as in a run's config.json, but what is typed beside it"
    group.add_argument("--from", dest="source", metavar="FILE", help=text)
    text = "write the metrics for TensorBoard too (needs palitune[tensorboard])"
    group.add_argument("--tensorboard", action="store_true", help=text)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune learn` with the arguments that were given."""
    from palitune.errors import UsageError

    for option in ("resume", "tensorboard", "save_every", "report"):
        if getattr(args, option) and args.write is None:
            raise UsageError(f"--{option.replace('_', '-')} needs -w NAME: without it nothing is saved")
    if args.resume and (args.overwrite or args.source):
        raise UsageError("--resume goes on with a run as it is: leave out --overwrite and --from")

    from palitune.run import setup

    setup.run(args)

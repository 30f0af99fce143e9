"""Stage 3: training, with an evaluation before and after."""

import argparse
import os
import sys

from palitune.cli import arguments
from palitune.cli.inputs import Input
from palitune.config.hosts import joining
from palitune.config.run_config import RunConfig

INPUT = Input(metavar="DATA")
DESCRIPTION = """\
Fine-tunes a model on dataset/SET/train.jsonl and evaluates it on train.jsonl, valid.jsonl and all of it (shuffle.jsonl)
before and after.

A run can fail, so keep it short, check the result blocks that it prints, and run it again with another
--seed, prompt or data. When the "trained" block of train.jsonl says accuracy 1.0, learning has converged; what the
model is worth is what the block of valid.jsonl says. --repeat and --sweep learn several times and keep the best.

During training the model is evaluated on valid.jsonl, and the weights of the best evaluation are kept. A run whose
loss diverges restarts from the base, and ends with exit code 79 when all --attempts fail. With -w, Ctrl-C
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
                                                  every parameter, the image encoder at a tenth of the rate

NAME.npz holds what was learned and which base it belongs to, NAME.run/ how it was learned: metrics.csv, loss.png,
config.json. `palitune merge` makes one whole file of what was learned and its base.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune learn` to its parser."""
    parser.epilog = EXAMPLES
    arguments.add(parser, RunConfig)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune learn` with the arguments that were given."""
    config = arguments.read(RunConfig, args)

    program = os.path.basename(sys.argv[0])
    program = "palitune learn" if program in ("palitune", "__main__.py") else f"./{program}"
    if joining(config) is not None:
        from palitune.run import supervision

        supervision.supervise(supervision.again(program, config.write))

    from palitune.run import learn

    learn.learn(config, program=program, command=sys.argv[1:])

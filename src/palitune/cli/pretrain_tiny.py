"""The tiny models, made again."""

import argparse
import sys

from palitune.cli import values

DESCRIPTION = """\
Trains one of the tiny models that ship with palitune from nothing but a seed: the tokenizer, the image encoder, then
the whole model, on images it draws. It takes about a quarter of an hour on two cores. Of "tiny" it writes
FOLDER/tiny.npz and FOLDER/tokenizer.model; of "tiny3" the files of a model of Hugging Face.
"""
EXAMPLES = """\
examples:
  palitune pretrain-tiny -o tiny
  palitune pretrain-tiny -o tiny3 --model tiny3
  palitune pretrain-tiny -o tiny --pictures 2000 --tower-steps 300 --steps 150
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune pretrain-tiny` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write the model")
    parser.add_argument("--model", choices=("tiny", "tiny3"), default="tiny", help="(default: %(default)s)")
    parser.add_argument(
        "--pictures", type=values.positive_int, default=16_000, help="drawn images (default: %(default)s)"
    )
    parser.add_argument(
        "--tower-steps", type=values.positive_int, default=3000, help="for the image encoder (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=values.positive_int, default=1500, help="for the language model (default: %(default)s)"
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="(default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune pretrain-tiny` with the arguments that were given."""
    from pathlib import Path

    from palitune.train import pretrain_tiny

    folder, spec = Path(args.output), pretrain_tiny.MODELS[args.model]
    folder.mkdir(parents=True, exist_ok=True)
    params = pretrain_tiny.pretrain(
        spec, folder, images=args.pictures, encoder_steps=args.tower_steps, steps=args.steps, seed=args.seed
    )
    path = pretrain_tiny.save(spec, folder, params)
    if not args.quiet:
        print(f"saved {path}", file=sys.stderr)

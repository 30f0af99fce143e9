"""The tiny model, made again."""

import argparse
import sys

from palitune.cli import values

DESCRIPTION = """\
Trains the tiny model that ships with palitune from nothing but a seed: the tokenizer, the image encoder, then the whole
model, on images it draws. It takes about a quarter of an hour on two cores and writes FOLDER/tiny.npz and
FOLDER/tokenizer.model.
"""
EXAMPLES = """\
examples:
  palitune pretrain-tiny -o tiny
  palitune pretrain-tiny -o tiny --pictures 2000 --tower-steps 300 --steps 150
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune pretrain-tiny` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write the model")
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

    import numpy as np

    from palitune.checkpoint import npz
    from palitune.train.pretrain_tiny import pretrain

    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    params = pretrain(folder, images=args.pictures, encoder_steps=args.tower_steps, steps=args.steps, seed=args.seed)
    npz.save(folder / "tiny.npz", {name: array.astype(np.float16) for name, array in params.items()})
    if not args.quiet:
        print(f"saved {folder / 'tiny.npz'}", file=sys.stderr)

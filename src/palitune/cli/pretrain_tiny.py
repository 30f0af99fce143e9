"""The tiny models, made again."""

import argparse
import sys

from palitune.cli import values

DESCRIPTION = """\
Trains one of the tiny models that ship with palitune from nothing but a seed: the tokenizer, the image encoder if it
has one, then the whole model, on images it draws or texts it makes up. It takes about a quarter of an hour on two
cores, and longer for "tinytext", which takes two minutes on a GPU. Of "tiny" it writes FOLDER/tiny.npz and
FOLDER/tokenizer.model; of the others the files of a model of Hugging Face.
"""
EXAMPLES = """\
examples:
  palitune pretrain-tiny -o tiny
  palitune pretrain-tiny -o tiny3 --model tiny3
  palitune pretrain-tiny -o tinytext --model tinytext
  palitune pretrain-tiny -o tiny --pictures 2000 --tower-steps 300 --steps 150
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune pretrain-tiny` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write the model")
    parser.add_argument("--model", choices=("tiny", "tiny3", "tinytext"), default="tiny", help="(default: %(default)s)")
    parser.add_argument(
        "--pictures",
        type=values.positive_int,
        default=16_000,
        help="drawn images; not for tinytext (default: %(default)s)",
    )
    parser.add_argument(
        "--tower-steps",
        type=values.positive_int,
        default=3000,
        help="for the image encoder; not for tinytext (default: %(default)s)",
    )
    parser.add_argument(
        "--steps", type=values.positive_int, help="for the language model (default: 1500; 4000 for tinytext)"
    )
    parser.add_argument("--seed", type=values.seed, help="(default: that of the models that ship: 0; 1 for tinytext)")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune pretrain-tiny` with the arguments that were given."""
    from pathlib import Path

    from palitune.models.families import TINYTEXT
    from palitune.train import pretrain_text, pretrain_tiny

    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    if args.model == "tinytext":
        spec = TINYTEXT
        seed = pretrain_text.SEED if args.seed is None else args.seed
        params = pretrain_text.pretrain(spec, folder, steps=args.steps or pretrain_text.STEPS, seed=seed)
    else:
        spec = pretrain_tiny.MODELS[args.model]
        settings = {"images": args.pictures, "encoder_steps": args.tower_steps}
        params = pretrain_tiny.pretrain(
            spec, folder, steps=args.steps or pretrain_tiny.STEPS, seed=args.seed or 0, **settings
        )
    path = pretrain_tiny.save(spec, folder, params)
    if not args.quiet:
        print(f"saved {path}", file=sys.stderr)

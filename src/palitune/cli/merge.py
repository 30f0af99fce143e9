"""One whole checkpoint out of a delta and its base."""

import argparse

from palitune.cli.inputs import Input

INPUT = Input("model", "-m", "CHECKPOINT")
DESCRIPTION = """\
Writes one whole checkpoint from a trained one and its base, under big_vision's parameter paths, for palitune and for
programs that know nothing of deltas or adapters. LoRA adapters are multiplied into their weights, which are then kept
in float32 unless --save-dtype says else; all other parameters stay in the dtype they have. An adapter of Hugging Face's
PEFT is a trained checkpoint too: the folder with its adapter_config.json, which names its base. A folder of
.safetensors becomes such a checkpoint as well; rows that palitune export has added to the vocabulary are left out
again.

Adapters of --method qlora were trained beside rounded weights. They are merged onto the weights as they are, and how
far these are from the rounded ones is printed: scores differ. --keep-quantized writes the rounded ones, with which
scores stay what they were, to their last digits.
"""
EXAMPLES = """\
examples:
  palitune merge -m trained-set1 -w whole                         checkpoints/whole.npz
  palitune merge -m trained-lora -w whole --save-dtype bfloat16   adapted weights rounded to 16 bit
  palitune merge -m trained-qlora -w whole --keep-quantized       with the scores that it has
  palitune merge -m folder-of-safetensors -w whole                from Hugging Face's form to big_vision's
  palitune merge -m their-adapter/ -w whole                       an adapter of PEFT, in its base
"""


SAVE_DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune merge` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-m", "--model", metavar="NAME", help="a path, or a bare name in checkpoints/")
    parser.add_argument(
        "-w", "--write", required=True, metavar="NAME", help="where to save; a bare name in checkpoints/"
    )
    text = "of weights that had an adapter (default: float32, in which nothing is lost)"
    parser.add_argument("--save-dtype", choices=SAVE_DTYPES, default="float32", help=text)
    text = (
        "where adapters were trained beside weights of 4 or 8 bits: write those, as numbers, and not the weights that "
        "they were made of"
    )
    parser.add_argument("--keep-quantized", action="store_true", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune merge` with the arguments that were given."""
    from palitune.run.merging import merge

    merge(args.model, args.write, args.save_dtype, args.keep_quantized, overwrite=args.overwrite, quiet=args.quiet)

"""A checkpoint as a folder for transformers."""

import argparse
import sys

from palitune.cli import arguments
from palitune.cli.inputs import Input
from palitune.config.export import ExportSettings

INPUT = Input("model", "-m", "CHECKPOINT")
DESCRIPTION = """\
Writes a checkpoint as the folder that transformers, vLLM and others load: weights as .safetensors under the published
names, in files of at most 5 GB; config.json; tokenizer and processor; and README.md, a model card with the settings of
the training, its figures with their intervals, and the threshold that palitune threshold has stored.

A trained checkpoint is merged with its base on the way, and LoRA adapters are multiplied into their weights. With
--adapter they are written alone, as PEFT has them; --as-lora makes adapters of changed weights. What it reads is left
as it is. The folder appears when all of it is written. docs/huggingface.md tells more, and palitune verify --against
transformers compares what both compute.
"""
EXAMPLES = """\
examples:
  palitune export trained-set1 --to trained-set1-hf                 in the dtype of its base
  palitune export trained-set1 --to served --dtype bfloat16         for vLLM
  palitune export trained-lora --to adapter --adapter               for PEFT, a few MB
  palitune export trained-set1 --to adapter --as-lora 16            nearly the same, of a delta of the attention
  palitune merge -m trained-set1-hf -w again                        the way back: checkpoints/again.npz
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune export` to its parser."""
    parser.epilog = EXAMPLES
    arguments.add(parser, ExportSettings)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune export` with the arguments that were given."""
    from palitune.console import note
    from palitune.run.export import export

    done = export(arguments.read(ExportSettings, args), quiet=args.quiet)
    if not args.quiet:
        for remark in done.notes:
            note(f"note: {remark}")
        print(
            f"saved {done.folder}, {sum(done.files.values()) / 1e6:,.1f} MB: {', '.join(done.files)}", file=sys.stderr
        )

"""What fits: memory and time by method and batch size, before a weight is loaded."""

import argparse
import dataclasses
import json

from palitune.cli import arguments, values
from palitune.config.learning import LearningSettings
from palitune.config.model import ModelSettings
from palitune.config.settings import settings_of
from palitune.run import planning
from palitune.train import cards

DESCRIPTION = """\
Shows what learning needs on a card, by method and batch size: weights, optimizer, activations and peak, whether it
fits, the operations of a step, and how long they take at least. Nothing is loaded, and no GPU is needed.

With JAX's CUDA plugin (pip install -e '.[cuda12]') the very step that would run is compiled for the described card
and XLA's count of its buffers is shown; without it, an estimate from the sizes.
"""
EXAMPLES = """\
examples:
  palitune plan                                              PaliGemma 3B at 224 pixels on a 12 GB card
  palitune plan --variant google/gemma-3-4b-it --method lora
  palitune plan -m trained-set1 --card rtx3060-12gb --batches 2,8
  palitune plan --vram 24 --json | jq '.rows[] | select(.fits)'

columns: weights as they are on the device (trainable ones in float32, but in 16 bit for full), the optimizer's state,
activations and everything else that a step makes and drops, the peak of all three before --keep fills what is left,
operations that an update cannot do without, and how long the card takes for them at full speed. Memory is that of one
batch, operations are those of a whole update (--accumulate). The features of frozen image encoders come from the cache.

A card of your own is a JSON file: {"name": "mine", "compute_capability": "8.9", "multiprocessors": 46,
"memory": 12878086144, "bandwidth": 504000000000, "l2": 37748736, "clock": 2.475, "shared_memory": 102400,
"flops_per_clock": 512}
"""
LARGEST_BATCH = 65_536  # that can be asked about
LONGEST = 1024  # tokens: `templates.LONGEST_PROMPT`, without importing it


def sizes(text: str) -> list[int]:
    return [_up_to(LARGEST_BATCH, part) for part in text.split(",")]


def tokens(text: str) -> int:
    return _up_to(LONGEST, text)


def _up_to(most: int, text: str) -> int:
    value = values.positive_int(text)
    if value > most:
        raise argparse.ArgumentTypeError(f"{text} is more than {most:,}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune plan` to its parser."""
    parser.epilog = EXAMPLES
    which = parser.add_mutually_exclusive_group()
    text = (
        "a published size, such as gemma3-4b or paligemma2-3b-448, or a published model's name, such as "
        "google/gemma-3-4b-it or pt-448 (default: paligemma-3b-224)"
    )
    which.add_argument("--variant", metavar="NAME", help=text)
    text = "the sizes of this checkpoint instead"
    which.add_argument("-m", "--model", "--checkpoint", dest="checkpoint", metavar="NAME", help=text)
    text = f"{', '.join(cards.CARDS)}, or a JSON file (default: %(default)s)"
    parser.add_argument("--card", default="rtx4070-12gb", metavar="NAME|FILE", help=text)
    text = "how many such cards the model and each batch are spread over; memory is that of one of them (1)"
    parser.add_argument("--devices", type=values.positive_int, default=1, metavar="N", help=text)
    parser.add_argument("--vram", type=values.positive_float, metavar="GB", help="the card's memory, if it is another")
    text = "batch sizes to show (default: 1 to 48)"
    parser.add_argument("--batches", type=sizes, default=None, metavar="N,N", help=text)
    parser.add_argument("--prompt-length", type=tokens, default=20, metavar="N", help="tokens (20)")
    parser.add_argument("--answer-length", type=tokens, default=1, metavar="N", help="tokens (1)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="(default: %(default)s)")
    text = "include the image encoder, whose features otherwise come from cache/features/"
    parser.add_argument("--no-features", dest="features", action="store_false", help=text)
    text = "also show what N models of a method take when they answer together (learn --repeat N)"
    parser.add_argument("--ensemble", type=values.positive_int, metavar="N", help=text)
    text = "trainings whose steps are one program (learn --together N); memory and time are those of all (1)"
    parser.add_argument("--together", type=values.positive_int, default=1, metavar="N", help=text)
    text = "estimate even where the step can be compiled"
    parser.add_argument("--estimate", dest="is_estimate", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    # The batch sizes are those of --batches; other settings that change no memory are left out.
    arguments.add(
        parser, ModelSettings, [one.name for one in settings_of(ModelSettings) if not one.name.startswith("quantize")]
    )
    arguments.add(
        parser, LearningSettings, [one.name for one in settings_of(LearningSettings) if not one.details.memory]
    )


def run(args: argparse.Namespace) -> None:
    """Runs `palitune plan` with the arguments that were given."""
    question = planning.Question(**{one.name: getattr(args, one.name) for one in dataclasses.fields(planning.Question)})
    kept, settings = arguments.read(ModelSettings, args), arguments.read(LearningSettings, args)
    made = planning.table(question, kept, settings, args.quiet)
    print(json.dumps(made.as_json()) if args.json else made.text())

"""What fits: memory and time by method and batch size, before a weight is loaded."""

import argparse
import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING

from palitune.cli import arguments, values
from palitune.config.learning import LearningSettings
from palitune.config.model import ModelSettings
from palitune.config.quantization import NONE, Quantization
from palitune.config.settings import settings_of
from palitune.method import METHODS
from palitune.train import cards

if TYPE_CHECKING:
    from palitune.train.step_shapes import Work

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
BATCHES = (1, 2, 4, 8, 16, 32, 48)
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
    parser.add_argument("--estimate", action="store_true", help="estimate even where the step can be compiled")
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
    from tqdm import tqdm

    card = cards.find(args.card)
    wanted = _sizes(args)
    compiling = cards.can_compile() and not args.estimate
    # All of this only has an effect before JAX is imported. The GPU of this machine, if there is one, is left alone.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_NUM_CPU_DEVICES"] = str(args.devices)  # those that an estimate is spread over
    if compiling:
        os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's remarks on what it could not save
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {cards.FLAGS}"
    from palitune.infer.loading import set_up_jax

    set_up_jax()
    from palitune.infer import answering_memory
    from palitune.train import plan_table

    name, work = _work(args)
    settings = arguments.read(LearningSettings, args)
    methods = _methods(settings)
    silent = args.quiet or not sys.stderr.isatty()
    count = len(methods) * len(wanted)
    memory = int(args.vram * 1e9) if args.vram else card.memory
    with tqdm(total=count, desc="planning", leave=False, disable=silent) as bar:
        made = plan_table.PlanTable(name, work, card, memory, compiling, args.devices)
        for method in methods:
            for size in made.add(dataclasses.replace(settings, method=method), wanted):
                bar.set_postfix_str(f"{method}, batch {size}")
                bar.update()
            if args.ensemble:
                made.add_ensemble(args.ensemble, answering_memory.of(made.latest, args.ensemble, made.sharding))
    print(json.dumps(made.as_json()) if args.json else made.text())


def _sizes(args: argparse.Namespace) -> list[int]:
    """The batch sizes to plan for. Raises UsageError for one that cannot be split evenly over the devices."""
    from palitune.errors import UsageError

    if args.batches is None:
        return [size for size in BATCHES if size % args.devices == 0] or [args.devices]
    for size in args.batches:
        if size % args.devices:
            raise UsageError(f"--batches {size} cannot be split evenly over {args.devices} devices")
    return list(args.batches)


def _methods(settings: LearningSettings) -> list[str]:
    """The methods to plan for. Raises UsageError for settings of one method where none was named."""
    from palitune.errors import UsageError

    if "method" in settings.given:
        return [settings.method]
    if any(one.name in settings.given and one.details.methods for one in settings_of(LearningSettings)):
        raise UsageError("options of one method need --method")
    if settings.clip_global or settings.accumulate > 1:
        return [name for name in METHODS if METHODS[name].holds_whole_gradient]
    return list(METHODS)


def _work(args: argparse.Namespace) -> "tuple[str, Work]":
    """The model's name and its sizes as `Work`, with a configuration to be filled in."""
    import jax
    import jax.numpy as jnp

    from palitune import workspace
    from palitune.config.run_config import training
    from palitune.errors import UsageError
    from palitune.hub import published_models
    from palitune.models import families, spec
    from palitune.train.step_shapes import Work

    kept = arguments.read(ModelSettings, args)
    how = Quantization(kept.quantize or NONE, kept.quantize_embeddings)
    if args.checkpoint:
        from palitune.checkpoint import opening
        from palitune.infer.loading import check, quantization_of, require_single, spec_of

        path = workspace.checkpoint_to_read(args.checkpoint)
        checkpoint = opening.load(path, workspace.checkpoint_to_read)
        config, name = spec_of(checkpoint, path), str(path)
        check(checkpoint, config, path)
        require_single(checkpoint, "plan")
        how = quantization_of(path, kept)
        stored = {key: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for key, leaf in checkpoint.leaves().items()}
    else:
        asked = args.variant or "paligemma-3b-224"
        name = published_models.variant(asked) or ""
        found = families.variant(name)
        if found is None:
            near = published_models.similar(asked, families.variants())
            hint = f"Did you mean {' or '.join(near)}?" if near else "docs/models.md has their names"
            raise UsageError(f"no published model is called {asked!r}", hint=hint)
        config, dtype = found, jnp.dtype(found.stored_dtype)
        stored = {key: jax.ShapeDtypeStruct(leaf.shape, dtype) for key, leaf in spec.expected(config).items()}
    inputs = args.prompt_length + args.answer_length
    settings = training(quantize=how.kind, quantize_embeddings=how.embeddings)
    return name, Work(config, stored, settings, jnp.dtype(args.dtype), inputs, args.answer_length + 1, args.features)

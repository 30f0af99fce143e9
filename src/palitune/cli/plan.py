"""What fits: memory and time by method and batch size, before a weight is loaded."""

import argparse
import dataclasses
import json
import os
import sys
from typing import Any

from palitune.cli import arguments, values
from palitune.config.learning import LearningSettings
from palitune.config.settings import settings_of
from palitune.method import METHODS

DESCRIPTION = """\
Shows what learning needs on a card, by method and batch size: weights, optimizer, activations and peak, whether it
fits, the operations of a step, and how long they take at least. Nothing is loaded, and no GPU is needed.

With JAX's CUDA plugin (pip install 'palitune[cuda12]') the very step that would run is compiled for the described card
and XLA's count of its buffers is shown; without it, an estimate from the sizes.
"""
EXAMPLES = """\
examples:
  palitune plan                                              PaliGemma 3B at 224 pixels on a 12 GB card
  palitune plan --variant paligemma2-3b-448 --method lora
  palitune plan --checkpoint trained-set1 --card rtx3060-12gb --batches 2,8
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
LONGEST = 1024  # tokens: `tokens.LONGEST_PROMPT`, without importing it


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
    text = "a published size, FAMILY-RESOLUTION (default: paligemma-3b-224)"
    which.add_argument("--variant", metavar="NAME", help=text)
    which.add_argument("--checkpoint", metavar="NAME", help="the sizes of this checkpoint instead")
    parser.add_argument("--card", default="rtx4070-12gb", metavar="NAME|FILE", help="(default: %(default)s)")
    parser.add_argument("--vram", type=values.positive_float, metavar="GB", help="the card's memory, if it is another")
    text = "batch sizes to show (default: 1 to 48)"
    parser.add_argument("--batches", type=sizes, default=list(BATCHES), metavar="N,N", help=text)
    parser.add_argument("--prompt-length", type=tokens, default=20, metavar="N", help="tokens (20)")
    parser.add_argument("--answer-length", type=tokens, default=1, metavar="N", help="tokens (1)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="(default: %(default)s)")
    text = "include the image encoder, whose features otherwise come from cache/features/"
    parser.add_argument("--no-features", dest="features", action="store_false", help=text)
    parser.add_argument("--estimate", action="store_true", help="estimate even where the step can be compiled")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    # The batch sizes are those of --batches; other settings that change no memory are left out.
    arguments.add(
        parser, LearningSettings, [one.name for one in settings_of(LearningSettings) if not one.details.memory]
    )


def run(args: argparse.Namespace) -> None:
    """Runs `palitune plan` with the arguments that were given."""
    from tqdm import tqdm

    from palitune.errors import UsageError
    from palitune.train import cards

    card = cards.find(args.card)
    compiling = cards.can_compile() and not args.estimate
    # All of this only has an effect before JAX is imported. The GPU of this machine, if there is one, is left alone.
    os.environ["JAX_PLATFORMS"] = "cpu"
    if compiling:
        os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's remarks on what it could not save
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {cards.FLAGS}"
    from palitune.infer.loading import set_up_jax

    set_up_jax()
    from palitune.train import plan

    limit = int(args.vram * 1e9) if args.vram else card.memory
    room = limit - cards.RESERVED
    name, work = _work(args)
    sharding = cards.placement(card) if compiling else None
    rows, largest = [], {}
    settings = arguments.read(LearningSettings, args)
    alone = "method" in settings.given
    if not alone and any(one.name in settings.given and one.details.method for one in settings_of(LearningSettings)):
        raise UsageError("options of one method need --method")
    methods = [settings.method] if alone else list(METHODS)
    if not alone and (settings.clip_global or settings.accumulate > 1):
        methods = [name for name in methods if METHODS[name].holds_whole_gradient]
    silent = args.quiet or not sys.stderr.isatty()
    bar = tqdm(total=len(methods) * len(args.batches), desc="planning", leave=False, disable=silent)
    for method in methods:
        chosen = _with(dataclasses.replace(settings, method=method), work)
        largest[method] = plan.largest_batch(chosen, room)
        for size in args.batches:
            each = plan.with_batch(chosen, size)
            keep = plan.kept_layers(each.sizes, plan.batch(each), each.dtype, max(0, settings.keep) * 10**6)
            memory = plan.measure(each, keep, sharding) if compiling else plan.estimate(each, keep)
            rows.append(_row(each, method, size, memory, room, card))
            bar.update()
        if compiling:
            largest[method] = _proven(chosen, largest[method], room, sharding)
    bar.close()
    content = {
        "model": name,
        "card": card.name,
        "memory": limit,
        "reserved": cards.RESERVED,
        "estimated": not compiling,
        "rows": rows,
        "largest_batch": largest,
    }
    print(json.dumps(content) if args.json else _table(content))


def _proven(work: Any, size: int, room: int, sharding: Any) -> int:
    """The estimated largest batch, lowered until the step compiled for it fits."""
    from palitune.train import plan

    while size:
        memory = plan.measure(plan.with_batch(work, size), 0, sharding)
        if memory.peak <= room:
            return size
        each = memory.temporaries / size
        size = max(0, size - max(1, round((memory.peak - room) / each)))
    return 0


def _work(args: argparse.Namespace) -> tuple[str, Any]:
    """The model's name and its sizes as `plan.Work`, with a configuration to be filled in."""
    import jax
    import jax.numpy as jnp

    from palitune import workspace
    from palitune.config.run_config import training
    from palitune.errors import UsageError
    from palitune.models import spec
    from palitune.train.plan import Work

    if args.checkpoint:
        from palitune.checkpoint import delta
        from palitune.infer.loading import check

        path = workspace.checkpoint_to_read(args.checkpoint)
        checkpoint = delta.load(path, workspace.checkpoint_to_read)
        config, name = spec.read(checkpoint, str(path)), str(path)
        check(checkpoint, config, path)
        stored = {key: jax.ShapeDtypeStruct(checkpoint[key].shape, checkpoint[key].dtype) for key in checkpoint}
    else:
        name = args.variant or "paligemma-3b-224"
        family, _, resolution = name.rpartition("-")
        if family not in spec.FAMILIES or resolution not in map(str, spec.RESOLUTIONS):
            known = f"{', '.join(spec.FAMILIES)}, each with -{', -'.join(map(str, spec.RESOLUTIONS))}"
            raise UsageError(f"no variant {name!r}. There are: {known}")
        config = spec.published(family, int(resolution))
        dtype = jnp.dtype(spec.FAMILIES[family].stored_dtype)
        stored = {key: jax.ShapeDtypeStruct(leaf.shape, dtype) for key, leaf in spec.expected(config).items()}
    inputs = args.prompt_length + args.answer_length
    return name, Work(config, stored, training(), jnp.dtype(args.dtype), inputs, args.answer_length + 1, args.features)


def _with(settings: LearningSettings, work: Any) -> Any:
    """The work with these settings."""
    from palitune.config.run_config import require_effect, training

    require_effect(settings)
    config = training(settings)
    return work._replace(config=config, features=work.features and not METHODS[config.method].trains_image_encoder)


def _row(work: Any, method: str, size: int, memory: Any, room: int, card: Any) -> dict[str, Any]:
    from palitune.train import plan

    return {
        "method": method,
        "batch": size,
        "weights": memory.weights,
        "optimizer": memory.optimizer,
        "activations": memory.temporaries,
        "peak": memory.peak,
        "fits": memory.peak <= room,
        "flops": plan.flops(work),
        "floor_ms": round(1e3 * plan.floor_seconds(work, card), 1),
    }


def _table(content: dict[str, Any]) -> str:
    from palitune.train.plan import ESTIMATE_ERROR, LARGEST_BATCH

    gigabytes = content["memory"] / 1e9
    lines = [
        f"{content['model']} on {content['card']}, {gigabytes:.1f} GB of which {content['reserved'] / 1e9:.1f} are "
        "CUDA's own; GB are 10^9 bytes",
        f"{'method':10} {'batch':>5} {'weights':>8} {'optimizer':>10} {'activations':>12} {'peak':>6}  fits "
        f"{'TFLOP':>7} {'floor ms':>9}",
    ]
    for row in content["rows"]:
        weights, optimizer, activations, peak = (row[k] / 1e9 for k in ("weights", "optimizer", "activations", "peak"))
        lines.append(
            f"{row['method']:10} {row['batch']:5} {weights:8.2f} {optimizer:10.2f} {activations:12.2f} {peak:6.2f}  "
            f"{'yes' if row['fits'] else 'no':4} {row['flops'] / 1e12:7.1f} {row['floor_ms']:9.0f}"
        )
    for method, size in content["largest_batch"].items():
        more = " or more" if size >= LARGEST_BATCH else ""
        lines.append(f"largest batch that fits, {method}: {size or 'none'}{more}")
    if content["estimated"]:
        lines.append(
            f"estimated from sizes, not compiled: within {ESTIMATE_ERROR:.0%} of XLA's count where both were run. "
            "JAX's CUDA plugin (pip install 'palitune[cuda12]') makes it exact, without a GPU"
        )
    else:
        lines.append("counted by XLA in the step compiled for this card")
    return "\n".join(lines)

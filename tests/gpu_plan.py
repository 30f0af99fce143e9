"""Memory of promised configurations, compiled for a described card: none may grow by more than 3 %.

    bin/test.sh --gpu-plan             compare with tests/golden/gpu_plan.json
    bin/test.sh --gpu-plan --record    write that file anew
    bin/test.sh --gpu-plan --only 10b  those with "10b" in their names; may be repeated

Run by a Python that has JAX's CUDA plugin; no GPU is needed. What is counted is what XLA's memory analysis counts:
arguments and temporaries of the very step that `palitune learn` runs.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import NamedTuple

from palitune.train import cards

# Before JAX is imported.
os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", JAX_PLATFORMS="cpu", XLA_FLAGS=cards.FLAGS)

import jax
import jax.numpy as jnp

from palitune.config import run_config
from palitune.method import METHODS
from palitune.models import families, spec
from palitune.parallel import Placement
from palitune.train import communication, plan

RECORD = Path(__file__).parent / "golden" / "gpu_plan.json"
GROWTH = 1.03
SENT = 1.1  # bytes that a device sends in a step, by those that it has to
CARD = "rtx4070-12gb"
SMALL = "rtx3050-6gb"


class Promise(NamedTuple):
    """A configuration and the most that it may take; 20-token prompts and one-word answers unless it says more."""

    family: str
    method: str
    optimizer: str
    batch: int
    features: bool  # image tokens from the cache
    bar: float  # GB
    rank: int = 16
    prompt: int = 20  # tokens
    pixels: int = 224  # PaliGemma's
    quantize: str = ""  # where it is not the method's own
    embeddings: bool = False  # in 8 bits
    text: bool = False  # a model of images asked about texts alone
    card: str = CARD
    offload: bool = False  # the optimizer's state is in the host's memory
    devices: int = 1  # over which the model and the batch are spread; the bar is for one of them

    @property
    def name(self) -> str:
        """How the record calls it."""
        with_pictures = not self.features and not self.text and families.FAMILIES[self.family].img is not None
        parts = [f"{self.family} {self.method} {self.optimizer} batch {self.batch}"]
        parts += ["with pictures"] * with_pictures + ["with text"] * self.text
        parts += [f"at {self.pixels}"] * (self.pixels != 224) + [self.quantize] * bool(self.quantize)
        several = f"{self.devices} x " if self.devices > 1 else ""
        parts += ["int8 embeddings"] * self.embeddings + ["offloaded"] * self.offload
        parts += [f"on {several}{self.card}"] * (self.card != CARD or self.devices > 1)
        return " ".join(parts)


PROMISED = (
    Promise("paligemma-3b", "attention", "sgd", 8, True, 7.0),
    Promise("paligemma-3b", "attention", "sgd", 8, False, 7.0),
    Promise("paligemma-3b", "attention", "sgd", 48, True, 11.0),
    Promise("paligemma-3b", "attention", "sgd", 48, False, 11.0),
    Promise("paligemma-3b", "full", "sgd", 8, False, 8.5),
    Promise("paligemma-3b", "full", "adafactor", 8, False, 11.0),
    Promise("paligemma-3b", "full", "adamw", 8, False, 8.5, offload=True),
    Promise("paligemma-3b", "lora", "adamw", 8, True, 6.8),
    Promise("paligemma-3b", "lora", "sgd", 8, False, 6.8),
    Promise("paligemma-3b", "lora", "adamw", 48, True, 11.0),
    Promise("paligemma-3b", "lora", "adamw", 48, False, 11.0),
    Promise("paligemma2-3b", "full", "sgd", 4, False, 9.5),
    Promise("paligemma2-3b", "lora", "adamw", 16, True, 9.0),
    Promise("paligemma2-3b", "lora", "adamw", 16, False, 9.0),
    Promise("gemma3-4b", "attention", "sgd", 2, True, 9.5),
    Promise("gemma3-4b", "lora", "adamw", 2, True, 9.5),
    Promise("gemma3-1b", "full", "sgd", 8, False, 4.8, prompt=126),
    Promise("gemma2-2b", "full", "sgd", 4, False, 7.8),
    Promise("paligemma2-10b", "qlora", "adamw", 4, True, 8.5),
    Promise("paligemma2-10b", "qlora", "adamw", 4, False, 8.5, embeddings=True),
    Promise("gemma3-4b", "qlora", "adamw", 4, True, 5.0),
    Promise("gemma3-4b", "qlora", "adamw", 4, False, 5.0),
    Promise("gemma3-12b", "qlora", "adamw", 4, True, 9.8, prompt=254, text=True),
    Promise("gemma3-12b", "qlora", "adamw", 4, True, 9.8, prompt=254, text=True, embeddings=True),
    Promise("paligemma-3b", "lora", "adamw", 4, False, 9.0, pixels=448),
    Promise("paligemma-3b", "lora", "adamw", 1, False, 11.0, pixels=896),
    Promise("paligemma-3b", "attention", "sgd", 2, True, 4.2, quantize="nf4", card=SMALL),
    Promise("paligemma-3b", "attention", "sgd", 2, False, 4.2, quantize="nf4", embeddings=True, card=SMALL),
    # 1.15 times what one card needs, by their number, and a layer.
    Promise("paligemma-3b", "full", "sgd", 4, False, 2.23, devices=4),
    Promise("paligemma-3b", "full", "sgd", 8, False, 1.24, devices=8),
    Promise("paligemma2-28b", "full", "sgd", 16, False, 70.0, card="h100-80gb", devices=16),
)


def gigabytes(promise: Promise) -> tuple[float, float, float]:
    """What XLA counts, what `plan.estimate` says, and what is sent by the least that has to be."""
    p = promise
    sizes = families.published(p.family, p.pixels if p.family in families.PALIGEMMAS else None)
    if p.text:
        sizes = dataclasses.replace(sizes, img=None)
    settings = run_config.training(
        method=p.method, optimizer=p.optimizer, batch_size=p.batch, lora_rank=p.rank, quantize_embeddings=p.embeddings,
        quantize=p.quantize or METHODS[p.method].quantize, offload="optimizer" if p.offload else "none",
    )  # fmt: skip
    dtype = jnp.dtype(families.FAMILIES[p.family].stored_dtype)
    stored = {path: jax.ShapeDtypeStruct(leaf.shape, dtype) for path, leaf in spec.expected(sizes).items()}
    work = plan.Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), p.prompt + 1, 2, p.features)
    card = cards.find(p.card)
    if p.devices == 1:
        counted = plan.measure(work, 0, cards.placement(card))
        return counted.peak / 1e9, plan.estimate(work, 0).peak / 1e9, 0.0
    work = work._replace(placement=Placement(cards.several(card, p.devices), dtype=work.dtype))
    prepared, counted = plan.compiled(work, 0)
    (program,) = prepared.step.programs.values()
    sent = communication.sent(program.as_text() or "").total() / communication.least(work)
    return counted.peak / 1e9, plan.estimate(work, 0).peak / 1e9, sent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only", action="append", metavar="TEXT")
    args = parser.parse_args()
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    figures, failed, worst = {}, 0, 0.0
    chosen = [one for one in PROMISED if not args.only or any(text in one.name for text in args.only)]
    print(f"GB on {CARD}, jax {jax.__version__}")
    print(f"{'configuration':72} {'counted':>7} {'recorded':>8} {'bar':>5} {'estimate':>8}")
    # One thread compiles most of a program.
    pool = concurrent.futures.ProcessPoolExecutor(min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn"))
    for promise, (counted, estimated, sent) in zip(chosen, pool.map(gigabytes, chosen), strict=True):
        name, bar = promise.name, promise.bar
        figures[name] = round(counted, 3)
        before = recorded.get(name, counted)
        if promise.devices == 1:
            worst = max(worst, abs(estimated / counted - 1))
        good = counted <= bar and counted <= before * GROWTH and sent <= SENT
        failed += not good
        mark = f"  sends {sent:.2f} of the least" * (promise.devices > 1) + "  TOO MUCH" * (not good)
        print(f"{name:72} {counted:7.3f} {before:8.3f} {bar:5.1f} {estimated:8.3f}{mark}", flush=True)
    pool.shutdown()
    good = worst <= plan.ESTIMATE_ERROR
    failed += not good
    mark = "" if good else "  TOO MUCH"
    print(f"the estimate is off by at most {worst:.1%}; {plan.ESTIMATE_ERROR:.0%} is promised{mark}")
    if args.record:
        kept = {one.name: recorded[one.name] for one in PROMISED if one.name in recorded}
        RECORD.write_text(json.dumps(kept | figures, indent=2) + "\n")
    print(f"gpu-plan: {len(chosen) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

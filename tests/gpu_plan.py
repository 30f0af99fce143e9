"""Memory of promised configurations, compiled for a described card: none may grow by more than 3 %.

    bin/test.sh --gpu-plan             compare with tests/golden/gpu_plan.json
    bin/test.sh --gpu-plan --record    write that file anew
    bin/test.sh --gpu-plan --recompile compile all of them
    bin/test.sh --gpu-plan --only 10b  compile those with "10b" in their names; may be repeated

Run by a Python that has JAX's CUDA plugin; no GPU is needed. What is counted is what XLA's memory analysis counts:
arguments and temporaries of the very step that `palitune learn` runs. Compiling takes a minute for each: where the
same version of XLA would be given the same program as for the record, the record's count is used, except for two
programs chosen at random, which are compiled all the same.
"""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

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
from palitune.train.step import make_step

RECORD = Path(__file__).parent / "golden" / "gpu_plan.json"
GROWTH = 1.03
SENT = 1.1  # bytes that a device sends in a step, by those that it has to
CARD = "rtx4070-12gb"
SMALL = "rtx3050-6gb"
SPOT_CHECKS = 2  # unchanged programs that are compiled all the same
JAX = re.compile(r"jax(lib)?|jax[-_]cuda\d+[-_](plugin|pjrt)")
COMPILER = sorted({f"{one.name} {one.version}" for one in distributions() if JAX.fullmatch(one.name)})


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


class Program(NamedTuple):
    """A promised step before it is compiled."""

    work: plan.Work
    sharding: jax.sharding.Sharding | None  # of one card; several have a placement in `work`
    fingerprint: str  # of what XLA is given, and of XLA


class Counted(NamedTuple):
    """What XLA counts in a compiled step, to three decimals, as it is recorded."""

    gigabytes: float
    sent: float = 0.0  # by a device in a step, by the least that has to be


def program_of(promise: Promise) -> Program:
    """The step of a promise, traced for its card."""
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
    card, sharding = cards.find(p.card), None
    if p.devices == 1:
        sharding = cards.placement(card)
    else:
        work = work._replace(placement=Placement(cards.several(card, p.devices), dtype=work.dtype))
    transform, options, arguments = plan.arguments_of(work, 0, sharding)
    lowered = make_step(work.sizes, transform, work.dtype, options, work.placement).lower(*arguments)
    given = "\n".join([*COMPILER, cards.FLAGS, repr(card), lowered.as_text()])
    return Program(work, sharding, hashlib.sha256(given.encode()).hexdigest())


def count(program: Program) -> Counted:
    """Compiles it."""
    prepared, memory = plan.compiled(program.work, 0, program.sharding)
    gigabytes = round(memory.peak / 1e9, 3)
    if program.work.placement is None:
        return Counted(gigabytes)
    (compiled,) = prepared.step.programs.values()
    sent = communication.sent(compiled.as_text() or "").total() / communication.least(program.work)
    return Counted(gigabytes, round(sent, 3))


class Row(NamedTuple):
    """What the record has of a promise, or what was found."""

    counted: Counted
    fingerprint: str
    estimate: float = 0.0  # GB
    compiled: bool = False

    def recorded(self) -> dict[str, Any]:
        """As it is in the record."""
        return {**self.counted._asdict(), "program": self.fingerprint}


def found(promise: Promise, known: Row | None) -> Row:
    """The row of a promise, with the count that is `known` of the same program by the same XLA, or a new one."""
    program = program_of(promise)
    unchanged = known is not None and program.fingerprint == known.fingerprint
    counted = known.counted if known is not None and unchanged else count(program)
    return Row(counted, program.fingerprint, plan.estimate(program.work, 0).peak / 1e9, not unchanged)


def fault(promise: Promise, row: Row, before: Row | None) -> str:
    """What is wrong with a row."""
    before = before or row
    most = min(promise.bar, before.counted.gigabytes * GROWTH)
    if row.counted.gigabytes > most or row.counted.sent > SENT:
        return "TOO MUCH"
    if row.fingerprint == before.fingerprint and row.counted != before.counted:
        return "THE RECORD SAYS OTHERWISE OF THE SAME PROGRAM"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--recompile", action="store_true")
    parser.add_argument("--only", action="append", metavar="TEXT")
    args = parser.parse_args()
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    before = {name: Row(Counted(one["gigabytes"], one["sent"]), one["program"]) for name, one in recorded.items()}
    chosen = [one for one in PROMISED if not args.only or any(text in one.name for text in args.only)]
    # Some are compiled although nothing has changed: the record is what XLA says, not what somebody wrote.
    anew = chosen if args.recompile or args.only else random.sample(chosen, SPOT_CHECKS)
    known = [None if one in anew else before.get(one.name) for one in chosen]
    print(f"GB on {CARD}, jax {jax.__version__}")
    print(f"{'configuration':72} {'counted':>7} {'recorded':>8} {'bar':>5} {'estimate':>8}")
    rows: dict[str, Row] = {}
    failed = 0
    # One thread compiles most of a program.
    pool = concurrent.futures.ProcessPoolExecutor(min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn"))
    for promise, row in zip(chosen, pool.map(found, chosen, known), strict=True):
        name = promise.name
        rows[name] = row
        wrong = fault(promise, row, before.get(name))
        failed += bool(wrong)
        figures = f"{row.counted.gigabytes:7.3f} {before.get(name, row).counted.gigabytes:8.3f} {promise.bar:5.1f}"
        marks = [f"sends {row.counted.sent:.2f} of the least"] * (promise.devices > 1)
        marks += ["same program"] * (not row.compiled) + [wrong]
        print(f"{name:72} {figures} {row.estimate:8.3f}  {'  '.join(marks)}".rstrip(), flush=True)
    pool.shutdown()
    off = [abs(rows[one.name].estimate / rows[one.name].counted.gigabytes - 1) for one in chosen if one.devices == 1]
    worst = max(off, default=0.0)
    failed += worst > plan.ESTIMATE_ERROR
    mark = "  TOO MUCH" * (worst > plan.ESTIMATE_ERROR)
    print(f"the estimate is off by at most {worst:.1%}; {plan.ESTIMATE_ERROR:.0%} is promised{mark}")
    if args.record:
        known_rows = {one.name: rows.get(one.name, before.get(one.name)) for one in PROMISED}
        content = {name: one.recorded() for name, one in known_rows.items() if one}
        RECORD.write_text(json.dumps(content, indent=2) + "\n")
    compiled = sum(row.compiled for row in rows.values())
    print(f"{compiled} programs were compiled, and {len(rows) - compiled} are those of the record, by the same XLA")
    print(f"gpu-plan: {len(chosen) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

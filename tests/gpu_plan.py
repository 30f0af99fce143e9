"""Memory of promised configurations, compiled for a described card: none may grow by more than 3 %.

    bin/test.sh --gpu-plan             compare with tests/golden/gpu_plan.json
    bin/test.sh --gpu-plan --record    write that file anew
    bin/test.sh --gpu-plan --recompile compile all of them
    bin/test.sh --gpu-plan --only 10b  compile those with "10b" in their names; may be repeated

Run by a Python that has JAX's CUDA plugin; no GPU is needed. What is counted is what XLA's memory analysis counts:
arguments and temporaries of the very step that `palitune learn` runs. Compiling takes a minute for each: where the
same version of XLA would be given the same program as for the record, the record's count is used, except for two
programs chosen at random, which are compiled all the same. Where no file has changed that the programs are made from,
the others are not even traced.
"""

import argparse
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import random
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from palitune.train import cards

# Before JAX is imported.
os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", JAX_PLATFORMS="cpu", XLA_FLAGS=cards.FLAGS)

import jax
import promises
from promises import CARD, PROMISED, Promise

import palitune
from palitune.parallel import Placement
from palitune.train import communication, plan, step_memory, step_shapes
from palitune.train.step import make_step
from palitune.train.step_shapes import Work

PACKAGE = Path(palitune.__file__).parent
RECORD = Path(__file__).parent / "golden" / "gpu_plan.json"
GROWTH = 1.03
SENT = 1.1  # bytes that a device sends in a step, by those that it has to
SPOT_CHECKS = 2  # unchanged programs that are compiled all the same
JAX = re.compile(r"jax(lib)?|jax[-_]cuda\d+[-_](plugin|pjrt)")
COMPILER = sorted({f"{one.name} {one.version}" for one in distributions() if JAX.fullmatch(one.name)})


class Program(NamedTuple):
    """A promised step before it is compiled."""

    work: Work
    sharding: jax.sharding.Sharding | None  # of one card; several have a placement in `work`
    fingerprint: str  # of what XLA is given, and of XLA


class Counted(NamedTuple):
    """What XLA counts in a compiled step, to three decimals, as it is recorded."""

    gigabytes: float
    sent: float = 0.0  # by a device in a step, by the least that has to be


def program_of(promise: Promise) -> Program:
    """The step of a promise, traced for its card."""
    work = promise.work()
    card, sharding = cards.find(promise.card), None
    if promise.devices == 1:
        sharding = cards.placement(card)
    else:
        work = work._replace(placement=Placement(cards.several(card, promise.devices), dtype=work.dtype))
    transform, options, arguments = step_shapes.arguments(work, 0, sharding)
    lowered = make_step(work.sizes, transform, work.dtype, options, work.placement).lower(*arguments)
    given = "\n".join([*COMPILER, cards.FLAGS, repr(card), lowered.as_text()])
    return Program(work, sharding, hashlib.sha256(given.encode()).hexdigest())


def count(program: Program) -> Counted:
    """Compiles it."""
    prepared = plan.compiled(program.work, 0, program.sharding)
    gigabytes = round(prepared.memory.peak / 1e9, 3)
    if program.work.placement is None:
        return Counted(gigabytes)
    (compiled,) = prepared.step.programs.values()
    sent = communication.sent(compiled.as_text() or "").total() / communication.least(program.work)
    return Counted(gigabytes, round(sent, 3))


class Row(NamedTuple):
    """What the record has of a promise, or what was found."""

    counted: Counted
    fingerprint: str
    estimate: float  # GB
    compiled: bool = False

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Row":
        """As the record has it."""
        return cls(Counted(told["gigabytes"], told["sent"]), told["program"], told["estimate"])

    def recorded(self) -> dict[str, Any]:
        """As it is in the record."""
        return {**self.counted._asdict(), "estimate": self.estimate, "program": self.fingerprint}


class Sources(NamedTuple):
    """The files that programs are made from."""

    names: list[str]  # in the package's folder
    digest: str  # of their content, of the promises and of what compiles

    @classmethod
    def of(cls, names: Iterable[str]) -> "Sources":
        """As they are now. One that is gone is another content, too."""
        found = sorted(set(names))
        digest = hashlib.sha256("\n".join([*COMPILER, cards.FLAGS, *found]).encode())
        for path in (*(PACKAGE / name for name in found), Path(promises.__file__), Path(__file__)):
            digest.update(path.read_bytes() if path.is_file() else b"")
        return cls(found, digest.hexdigest())


def loaded() -> set[str]:
    """The package's files that this process has read."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = [Path(file) for file in files if file]
    return {path.relative_to(PACKAGE).as_posix() for path in paths if path.is_relative_to(PACKAGE)}


def found(promise: Promise, known: Row | None) -> tuple[Row, set[str]]:
    """The row of a promise, with the count that is `known` of the same program by the same XLA, or a new one.

    Beside it the files that the program is made from.
    """
    program = program_of(promise)
    unchanged = known is not None and program.fingerprint == known.fingerprint
    counted = known.counted if known is not None and unchanged else count(program)
    estimate = round(step_memory.estimate(program.work, 0).peak / 1e9, 3)
    return Row(counted, program.fingerprint, estimate, not unchanged), loaded()


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
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {"sources": ([], ""), "rows": {}}
    before = {name: Row.read(one) for name, one in recorded["rows"].items()}
    sources = Sources(*recorded["sources"])
    chosen = [one for one in PROMISED if not args.only or any(text in one.name for text in args.only)]
    # Some are compiled although nothing has changed: the record is what XLA says, not what somebody wrote.
    anew = chosen if args.recompile or args.only else random.sample(chosen, SPOT_CHECKS)
    known = {one: None if one in anew else before.get(one.name) for one in chosen}
    is_same = not args.record and Sources.of(sources.names) == sources
    traced = [one for one in chosen if not is_same or known[one] is None]
    print(f"GB on {CARD}, jax {jax.__version__}")
    print(f"{'configuration':72} {'counted':>7} {'recorded':>8} {'bar':>5} {'estimate':>8}")
    rows: dict[str, Row] = {}
    names: set[str] = set()
    failed = 0
    # One thread compiles most of a program.
    pool = concurrent.futures.ProcessPoolExecutor(min(4, os.cpu_count() or 1), multiprocessing.get_context("spawn"))
    results = pool.map(found, traced, [known[one] for one in traced])
    for promise in chosen:
        name = promise.name
        if promise in traced:
            rows[name], read = next(results)
            names |= read
        else:
            rows[name] = before[name]
        row = rows[name]
        wrong = fault(promise, row, before.get(name))
        failed += bool(wrong)
        figures = f"{row.counted.gigabytes:7.3f} {before.get(name, row).counted.gigabytes:8.3f} {promise.bar:5.1f}"
        marks = [f"sends {row.counted.sent:.2f} of the least"] * (promise.devices > 1)
        marks += ["same program" if promise in traced else "same code"] * (not row.compiled) + [wrong]
        print(f"{name:72} {figures} {row.estimate:8.3f}  {'  '.join(marks)}".rstrip(), flush=True)
    pool.shutdown()
    off = [abs(rows[one.name].estimate / rows[one.name].counted.gigabytes - 1) for one in chosen if one.devices == 1]
    worst = max(off, default=0.0)
    failed += worst > step_memory.ESTIMATE_ERROR
    mark = "  TOO MUCH" * (worst > step_memory.ESTIMATE_ERROR)
    print(f"the estimate is off by at most {worst:.1%}; {step_memory.ESTIMATE_ERROR:.0%} is promised{mark}")
    if args.record:
        known_rows = {one.name: rows.get(one.name, before.get(one.name)) for one in PROMISED}
        content = {name: one.recorded() for name, one in known_rows.items() if one}
        made_from = sources if args.only else Sources.of(names)  # the rest is as it was
        RECORD.write_text(json.dumps({"sources": made_from, "rows": content}, indent=1) + "\n")
    compiled = sum(row.compiled for row in rows.values())
    print(f"{compiled} programs were compiled, and {len(rows) - compiled} are those of the record, by the same XLA")
    print(f"gpu-plan: {len(chosen) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

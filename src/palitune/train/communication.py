"""What devices send each other in a step: counted in the compiled program, and what it cannot do without.

Bytes are those that one device sends. Among n devices a ring sends (n - 1) / n of what it gathers, as much of what it
sums and scatters, and twice as much of what it sums for everybody
(https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/usage/collectives.html).
"""

import math
import re
from collections import Counter

import jax.numpy as jnp
from jax.sharding import PartitionSpec

from palitune.method import METHODS
from palitune.models import gemma, siglip
from palitune.parallel import QUANTIZED
from palitune.train import step_shapes
from palitune.train.step_shapes import Work

COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) (?:\(.*\) -> .*)?\{$")
OPERATION = re.compile(
    r" = (.*?) (all-gather|all-reduce|reduce-scatter|collective-permute|all-to-all|ragged-all-to-all)(-start)?\("
)
CALLED = re.compile(r"(?:body|condition|calls|to_apply|branch_computations)=\{?((?:%[\w.-]+(?:, )?)+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
GROUPS = (
    re.compile(r"replica_groups=\[\d+,(\d+)\]<="),
    re.compile(r"replica_groups=\{\{([\d,]+)\}"),
    re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}"),
)


def sent(program: str) -> Counter[str]:
    """Bytes that a device sends in a compiled program, by the kind of operation.

    Args:
      program: its text, in which loops say how often they go round.
    """
    own: dict[str, Counter[str]] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    name = entry = ""
    for line in program.splitlines():
        if (begun := COMPUTATION.match(line)) is not None:
            name = begun[1]
            own[name], calls[name] = Counter(), []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            if (found := OPERATION.search(line)) is not None:
                own[name][found[2]] += _bytes(line, found[1], found[2], is_start=found[3] is not None)
            trips = int(match[1]) if (match := TRIPS.search(line)) else 1
            calls[name] += [(one.strip(" %"), trips) for several in CALLED.findall(line) for one in several.split(",")]
    total: dict[str, Counter[str]] = {}

    def of(computation: str) -> Counter[str]:
        if computation not in total:
            found = Counter(own.get(computation, {}))
            for called, times in calls.get(computation, []):
                for kind, size in of(called).items():
                    found[kind] += times * size
            total[computation] = found
        return total[computation]

    return of(entry)


def _bytes(line: str, result: str, kind: str, is_start: bool) -> int:
    """What a device sends in one operation, by the arrays that come of it."""
    size = sum(
        math.prod(int(n) for n in shape.split(",") if n) * (1 if name == "pred" else max(1, int(bits) // 8))
        for name, bits, shape in ARRAY.findall(result)
    )
    n = _group(line)
    if kind == "all-gather":  # begun, it has what goes in beside what comes out
        return (size * n // (n + 1) if is_start else size) * (n - 1) // n
    if kind == "reduce-scatter":
        return (size // (n + 1) if is_start else size) * (n - 1)
    if kind == "all-reduce":
        return 2 * size * (n - 1) // n
    if kind == "collective-permute":
        return size // 2 if is_start else size
    return (size // 2 if is_start else size) * (n - 1) // n


def _group(line: str) -> int:
    """How many devices take part together."""
    if (found := GROUPS[0].search(line)) is not None:
        return int(found[1])
    if (found := GROUPS[1].search(line)) is not None:
        return len(found[1].split(","))
    if (found := GROUPS[2].search(line)) is not None:
        sizes = dict(part.split("=") for part in found[1].split(","))
        return math.prod(int(sizes[axis.strip()]) for axis in found[2].split(","))
    return 2  # of a permutation, whose pairs stand elsewhere


def least(work: Work) -> int:
    """Bytes that a device has to send in a step: layers gathered forward and back, gradients of what is trained summed.

    Tables stay where they are, and the activations that go to them are not counted. A frozen image encoder goes by
    once, and not at all where its features are stored.
    """
    where = work.placement
    if where is None:
        return 0
    n, copies = where.fsdp, where.data
    trainable, frozen = step_shapes.parameters(work)
    size = jnp.dtype(work.dtype).itemsize
    total = 0.0
    for path, leaf in {**trainable, **frozen}.items():
        # What is quantized is sent as it is kept.
        weight = math.prod(leaf.shape) * (leaf.dtype.itemsize if QUANTIZED.matches(path) else size)
        is_split = where.spec(path, leaf.shape) != PartitionSpec()
        if is_split and path.startswith((gemma.STACK, siglip.STACK)):
            is_passed = path.startswith(gemma.STACK) or METHODS[work.config.method].trains_image_encoder
            total += weight * (n - 1) / n * ((2 if is_passed else 1) + (path in trainable))
        if path in trainable:
            part, devices = (weight / n, copies) if is_split else (weight, n * copies)
            total += 2 * part * (devices - 1) / devices
    return int(total * work.config.accumulate)

"""Arrays that wait in the host's memory: a program has them one piece at a time on the device.

The optimizer's state of full training is the case: it is several times as large as the weights and is wanted once a
step, layer by layer. A program that is given an array in this memory copies the slices that it computes with, while it
computes with others (ZeRO-Offload, https://arxiv.org/abs/2101.06840).
"""

import math
import os
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from palitune.errors import ConfigurationError
from palitune.models.arrays import Tree
from palitune.trees import HasShape

KIND = "pinned_host"  # JAX's name of memory that a device copies from without the processor
LIMIT = "XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB"
USUAL_LIMIT = 64  # without that variable
LINK = 32 * 10**9  # bytes a second each way between a card and the host: PCIe 4.0 x16
PIECE = 64 << 20  # numbers of one array that are on the device at a time


def waits(leaf: HasShape) -> bool:
    """Whether a leaf of a state may wait there. Counts and the moments of vectors stay: they are small."""
    return len(leaf.shape) > 1


def sharding(where: Sharding | None) -> NamedSharding:
    """The host's memory beside the device or the devices of a sharding; beside the first device without one."""
    if not isinstance(where, NamedSharding):
        device = jax.devices()[0] if where is None else next(iter(where.device_set))
        where = NamedSharding(Mesh([device], ("device",)), PartitionSpec())
    beside = where.with_memory_kind(KIND)
    # Of a card that is only described, JAX does not know what memory is beside it, and takes a mesh's outline instead.
    return beside if beside.memory_kind else NamedSharding(where.mesh.abstract_mesh, where.spec, memory_kind=KIND)


def described(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """An abstract leaf of a state, in the host's memory if it waits there."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding(leaf.sharding)) if waits(leaf) else leaf


def holds(leaf: Tree) -> bool:
    """Whether an array, abstract or not, is in the host's memory."""
    return getattr(getattr(leaf, "sharding", None), "memory_kind", None) == KIND


def out_shardings(state: Tree) -> Tree:
    """The `out_shardings` of a state, for `jax.jit`: given for what waits there, left open for the rest."""
    return jax.tree.map(lambda leaf: leaf.sharding if holds(leaf) else None, state)


def traced_there(leaf: jax.Array) -> bool:
    """Whether what a program is given or has computed is in the host's memory; asked while it is traced."""
    return bool(jax.typeof(leaf).memory_space == jax.memory.Space.Host)


def fetched(tree: Tree) -> Tree:
    """A tree on the device, in a program."""
    return jax.tree.map(
        lambda leaf: jax.device_put(leaf, jax.memory.Space.Device) if traced_there(leaf) else leaf, tree
    )


def returned(tree: Tree, like: Tree) -> Tree:
    """A tree in the memories where another one is, in a program."""
    host = jax.memory.Space.Host
    return jax.tree.map(lambda leaf, old: jax.device_put(leaf, host) if traced_there(old) else leaf, tree, like)


def size_of(tree: Tree) -> int:
    """Bytes in the host's memory of a tree's arrays; where they are spread over devices, those beside one of them."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if holds(leaf)]
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


def free() -> int | None:
    """Bytes of this machine's own memory that are free; None where that cannot be known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
    return free.get("MemAvailable")


def raise_limit() -> None:
    """Lets a GPU use all free memory of the host, where that is more than it would. Call it before JAX starts."""
    if (found := free()) is not None and found >> 30 > USUAL_LIMIT:
        os.environ.setdefault(LIMIT, str(found >> 30))


def require(needed: int) -> None:
    """Raises ConfigurationError where there is less host memory than `needed` bytes."""
    found = free()
    if needed and found is not None and needed > found:
        raise ConfigurationError(
            f"--offload optimizer needs {needed / 1e9:.1f} GB of the host's memory, where {found / 1e9:.1f} are free",
            hint="Use --optimizer sgd or adafactor, or --method lora; palitune plan shows what they need",
        )

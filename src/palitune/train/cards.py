"""GPUs by description: enough for XLA to compile for a card that is not there.

XLA's analysis of the program compiled for a described card counts the real GPU program's buffers. It leaves out what
autotuned kernels may want, the CUDA context (some hundred MB) and the allocator's fragmentation.
"""

import dataclasses
import difflib
import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from palitune.errors import ConfigurationError, MissingInputError

if TYPE_CHECKING:
    import jax

RESERVED = 700 << 20  # bytes of a card that the CUDA context, its libraries and fragmentation take
# What XLA wants to know before it is imported: no device to tune on, and Triton's matrix products need tuning.
FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU. Figures are of the vendors' data sheets and architecture papers."""

    name: str
    compute_capability: str
    multiprocessors: int
    memory: int  # bytes
    bandwidth: int  # bytes a second
    l2: int  # bytes
    clock: float  # GHz, boost
    shared_memory: int  # bytes of a multiprocessor
    flops_per_clock: int  # bfloat16 tensor cores with float32 accumulation, dense, of one multiprocessor
    interconnect: int = 32 * 10**9  # bytes a second that it can send to others of its kind; PCIe 4.0 x16 by default

    @property
    def flops(self) -> float:
        """Most bfloat16 operations a second."""
        return self.multiprocessors * self.flops_per_clock * self.clock * 1e9


def _geforce(
    name: str, capability: str, multiprocessors: int, gigabytes: int, bandwidth: int, l2: int, clock: float
) -> Card:
    # Ampere and Ada for desktops: 100 KB of shared memory and 512 operations a clock in each multiprocessor.
    memory = (gigabytes << 30) - 6_815_744 * gigabytes // 12
    return Card(name, capability, multiprocessors, memory, bandwidth * 10**9, l2 << 20, clock, 102_400, 512)


CARDS = {
    card.name: card
    for card in (
        _geforce("rtx3050-6gb", "8.6", 18, 6, 168, 2, 1.470),
        _geforce("rtx3060-12gb", "8.6", 28, 12, 360, 3, 1.777),
        _geforce("rtx3090-24gb", "8.6", 82, 24, 936, 6, 1.695),
        _geforce("rtx4070-12gb", "8.9", 46, 12, 504, 36, 2.475),
        _geforce("rtx4080-16gb", "8.9", 76, 16, 717, 64, 2.505),
        _geforce("rtx4090-24gb", "8.9", 128, 24, 1008, 72, 2.520),
        # NVLink: half of what the data sheets give for both directions.
        Card("a100-40gb", "8.0", 108, 42_298_834_944, 1_555 * 10**9, 40 << 20, 1.41, 167_936, 2048, 300 * 10**9),
        Card("a100-80gb", "8.0", 108, 79 << 30, 2_039 * 10**9, 40 << 20, 1.41, 167_936, 2048, 300 * 10**9),
        Card("h100-80gb", "9.0", 132, 79 << 30, 3_350 * 10**9, 50 << 20, 1.83, 233_472, 4096, 450 * 10**9),
        Card("h200-141gb", "9.0", 132, 150_754_820_096, 4_800 * 10**9, 50 << 20, 1.83, 233_472, 4096, 450 * 10**9),
    )
}


def find(name: str) -> Card:
    """A card by its name in `CARDS`, or described in a JSON file with the fields of `Card`.

    Raises:
      MissingInputError: neither.
      ConfigurationError: the file does not describe a card.
    """
    if name in CARDS:
        return CARDS[name]
    path = Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, CARDS, 1, 0.5)
        known = f"There are: {', '.join(CARDS)}, or a JSON file that describes one"
        what = "this is no file" if path.exists() else f"no card {name[:100]}"
        raise MissingInputError(
            what, where=name if path.exists() else None, hint=f"Did you mean {near[0]}? {known}" if near else known
        )
    kinds: dict[object, tuple[type[str] | type[float], ...]] = {str: (str,), int: (int,), float: (int, float)}
    fields = {field.name: kinds[field.type] for field in dataclasses.fields(Card)}
    try:
        content = json.loads(path.read_text("utf-8"))
        needed = {field.name for field in dataclasses.fields(Card) if field.default is dataclasses.MISSING}
        if not isinstance(content, dict) or not needed <= set(content) <= set(fields):
            raise ValueError(f"it needs {', '.join(name for name in fields if name in needed)}")
        for key, value in content.items():
            sound = not isinstance(value, bool) and isinstance(value, fields[key])
            if not sound or not (isinstance(value, str) or 1e-3 < value < 1e18):
                raise ValueError(f"{key} is {str(value)[:40]!r}")
        if not re.fullmatch(r"\d+\.\d", content["compute_capability"]):
            raise ValueError(f"compute_capability is {content['compute_capability'][:40]!r}")
        if not content["name"].isprintable():
            raise ValueError("its name cannot be printed")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"not a card ({error})", where=name) from None
    return Card(**content)


def can_compile() -> bool:
    """Whether JAX's CUDA plugin is installed."""
    return any(importlib.util.find_spec(f"jax_cuda{version}_plugin") is not None for version in (12, 13))


def placement(card: Card) -> "jax.sharding.Sharding":
    """The `jax.sharding.Sharding` that makes abstract arguments belong to a described card.

    `JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1` and `FLAGS` in `XLA_FLAGS` have to be set before JAX is imported.
    """
    import jax
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=_target(card), topology="1x1x1")
    mesh = topologies.make_mesh(topology, (len(topology.devices),), ("device",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def several(card: Card, count: int) -> "list[jax.Device]":
    """So many devices of a described card in one machine. Needs what `placement` needs."""
    from jax.experimental import topologies

    # Partitions, hosts of each, devices of each.
    topology = topologies.get_topology_desc(platform="cuda", target_config=_target(card), topology=f"1x1x{count}")
    return list(topology.devices)


def _target(card: Card) -> str:
    """XLA's GpuTargetConfigProto (xla/stream_executor/device_description.proto) as text."""
    major, minor = card.compute_capability.split(".")
    threads = {"8.0": 2048, "9.0": 2048}.get(card.compute_capability, 1536)
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {card.shared_memory} threads_per_core_limit: {threads} core_count: {card.multiprocessors}
  fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {card.bandwidth} l2_cache_size: {card.l2} clock_rate_ghz: {card.clock}
  device_memory_size: {card.memory} shared_memory_per_block_optin: {card.shared_memory - 1024}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} runtime_version {{ major: 12 minor: 9 }}
device_description_str: "{card.name}"
"""

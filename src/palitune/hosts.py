"""Several hosts: one process on each, which JAX's own runtime joins, so that their devices are those of one machine.

Every process runs the same program on the same data. The first one alone prints and writes; what it decides by its
clock or by a signal, it tells the others, because all of them have to take the same steps.
"""

import functools
import os
import sys
import threading
from collections.abc import Iterable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from palitune import jax_environment
from palitune.checkpoint import npz
from palitune.checkpoint.store import Storable
from palitune.config.hosts import Joining
from palitune.console import note
from palitune.errors import ConfigurationError, ResumableError
from palitune.models.arrays import AnyArray, HostArray

HEARTBEAT_SECONDS = 20  # without a sign of life after which a process counts as lost, and all others end
JOINING_SECONDS = 300  # that a process waits for the others
NOTE_SECONDS = 5  # after which it says so


def join(joining: Joining) -> None:
    """Waits for the other processes, before JAX's first device is there. A signal ends that at once.

    Raises:
      ResumableError: they do not come.
      ConfigurationError: it cannot be found out which of them this one is.
    """
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax_environment.give_threads(2)
    failed: list[Exception] = []
    # Python heeds no signal in the thread that waits, and JAX ends the process where it has waited too long.
    waiting = threading.Thread(target=_initialize, args=(joining, failed), daemon=True)
    waiting.start()
    waiting.join(NOTE_SECONDS)
    where = f" at {joining.coordinator}" if joining.coordinator else ""
    if waiting.is_alive():
        note(f"waiting for the other processes{where}, {JOINING_SECONDS} s at most")
        waiting.join(JOINING_SECONDS - NOTE_SECONDS)
    if waiting.is_alive():
        what = f"the other processes have not come{where} in {JOINING_SECONDS} s"
        raise ResumableError(what, hint="Start all of them, with the same --coordinator and --num-processes")
    if failed:
        what = f"the other processes could not be joined ({' '.join(str(failed[0]).split())[:300]})"
        hint = "--coordinator HOST:PORT names the first process, the same for all; every one needs its own --process-id"
        raise ConfigurationError(what, where=joining.coordinator, hint=hint)
    if is_first():
        note(f"{count()} processes have joined, with {jax.device_count()} devices")
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _initialize(joining: Joining, failed: list[Exception]) -> None:
    """Has JAX join the processes. What is raised if it cannot is in `failed` then."""
    try:
        jax.distributed.initialize(
            joining.coordinator,
            joining.processes,
            joining.number,
            joining.devices,
            initialization_timeout=2 * JOINING_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:  # of any kind: the main thread would go on alone
        failed.append(error)


def count() -> int:
    """How many processes there are. Does not start JAX, whose allocator may not be chosen yet."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that prints and writes. Does not start JAX either."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def agreed(value: int) -> int:
    """What the first process says, for all of them."""
    if count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


@functools.partial(jax.jit, static_argnums=2)
def _rows(array: jax.Array, start: AnyArray, count: int) -> jax.Array:
    """Some rows, on every device."""
    chosen = jax.lax.dynamic_slice_in_dim(array, start, count)
    return jax.lax.with_sharding_constraint(chosen, NamedSharding(jax.typeof(array).sharding.mesh, PartitionSpec()))


class Fetched:
    """An array of which other hosts have parts, as one that is fetched in slices of axis 0, by all of them together."""

    def __init__(self, array: jax.Array) -> None:
        self.array = array
        self.shape, self.dtype, self.ndim, self.size = array.shape, array.dtype, array.ndim, array.size

    def __getitem__(self, rows: slice) -> HostArray:
        """Some rows. Every process has to ask for them."""
        start, stop, _ = rows.indices(self.shape[0])
        return np.asarray(_rows(self.array, np.int32(start), max(0, stop - start)).addressable_data(0))


def fetched(array: AnyArray) -> AnyArray | Storable:
    """An array that can be written: itself, where this process has all of it."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return array
    return np.asarray(array.addressable_data(0)) if array.is_fully_replicated else Fetched(array)


def whole(array: AnyArray) -> HostArray:
    """An array in this process's memory; if others have parts of it, every process has to ask for it."""
    found = fetched(array)
    return np.asarray(found[:] if isinstance(found, Fetched) and found.ndim else found)


def follow(arrays: Iterable[AnyArray | Storable]) -> None:
    """Takes part in the fetching of arrays that the first process writes."""
    for array in arrays:
        if isinstance(array, Fetched):
            for _ in npz.slices(array):
                pass

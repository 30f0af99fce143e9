"""What a run will need, before a weight is loaded: its memory, and whether it fits.

The very step that would run is compiled from abstract shapes, and XLA tells its buffers. Where it cannot be compiled
for the card in question, memory is estimated from a few sizes instead (`step_memory`).
"""

import bisect
from typing import NamedTuple

import jax
import optax
from jax.sharding import Sharding
from jax.typing import DTypeLike

from palitune import host_memory
from palitune.data import batches
from palitune.data.batches import Batch
from palitune.errors import ConfigurationError
from palitune.method import METHODS
from palitune.models.arrays import DType
from palitune.models.spec import ModelSpec
from palitune.train import step_memory, step_shapes
from palitune.train.step import Step, make_step, weights_dtype
from palitune.train.step_memory import Memory
from palitune.train.step_options import Options
from palitune.train.step_shapes import Work, with_batch

CPU_BUDGET = 256 << 20  # bytes of activations kept where nobody has counted the memory
LARGEST_BATCH = 1024  # where the search for the largest batch ends
SAFETY = 0.97  # share of a device's memory that a plan may use


class Prepared(NamedTuple):
    """A step that is ready to run."""

    transform: optax.GradientTransformation
    options: Options
    step: Step
    weights_dtype: DType
    memory: Memory


def kept_layers(sizes: ModelSpec, batch: Batch, dtype: DTypeLike, budget: int = CPU_BUDGET) -> int:
    """How many layers may keep their projections in `budget` bytes. The last layer computes few and needs no room."""
    return max(0, min(sizes.llm.depth - 1, budget // step_memory.kept_bytes(sizes, batch, dtype)))


def device_memory() -> int | None:
    """Bytes that this machine's device has for a run: what JAX may take of a GPU, what is free on a CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats.get("bytes_limit")
    free = host_memory.free()
    return None if free is None else free // jax.local_device_count()


def memory_taken() -> int | None:
    """The most bytes that one of this process's devices has had so far; None where none tells, as of a CPU."""
    told = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    return max((size for size in told if size is not None), default=None)


def prepare(work: Work) -> Prepared:
    """The compiled step for a run on this machine's device.

    Raises:
      ConfigurationError: it cannot fit, with the setting to change.
    """
    limit = device_memory()
    keep = budget(work, limit)
    prepared = compiled(work, keep)
    if limit is not None and prepared.memory.peak > limit * SAFETY and keep:
        prepared = compiled(work, 0)
    if limit is not None and prepared.memory.peak > limit * SAFETY:
        raise refusal(work, prepared.memory.peak, limit)
    beside = work.placement.count // jax.process_count() if work.placement else 1
    host_memory.require(prepared.memory.waiting * beside)
    return prepared


def budget(work: Work, limit: int | None) -> int:
    """Layers that keep activations: what the configuration says, or what is likely to fit."""
    if work.config.keep >= 0:
        room = work.config.keep * 10**6
    elif limit is None or jax.default_backend() == "cpu":
        room = CPU_BUDGET
    else:
        room = int(limit * SAFETY * (1 - step_memory.ESTIMATE_ERROR)) - step_memory.estimate(work, 0).peak
    return kept_layers(work.sizes, step_shapes.batch(work), work.dtype, max(0, room) // work.together)


def refusal(work: Work, needed: int, limit: int) -> ConfigurationError:
    """Why a run cannot start, and what to change."""
    method, size = METHODS[work.config.method], smaller_batch(work, needed, limit)
    if size:
        hint = f"Use --batch-size {size}" + (" and --accumulate for the rest" if method.holds_whole_gradient else "")
    else:
        smaller = " or ".join(method.smaller)
        hint = f"Use --method {smaller}" if smaller else "Lower --lora-rank, or use a larger card"
        if work.config.ema:
            hint = f"Leave out --ema. {hint}"
    if work.text_length > batches.SHORT:
        hint = f"The longest prompt has {work.text_length:,} tokens: ask in fewer words. {hint}"
    what = f"this run needs {needed / 1e9:.1f} GB and {limit / 1e9:.1f} GB are free on the device"
    return ConfigurationError(what, hint=f"{hint}; palitune plan shows what fits")


def smaller_batch(work: Work, needed: int, limit: int) -> int:
    """The largest batch below the one that does not fit which is likely to fit; 0 if there is none.

    Where the estimate says that the batch at hand fits as well, what it is wrong by it is also wrong by for smaller
    ones.
    """
    if (size := largest_batch(work, limit)) < work.config.batch_size:
        return size
    now = step_memory.estimate(work, 0)
    wrong = max(1.0, (needed - now.weights - now.optimizer) / now.temporaries)

    def is_too_large(size: int) -> bool:
        memory = step_memory.estimate(with_batch(work, size), 0)
        return memory.weights + memory.optimizer + wrong * memory.temporaries > limit * SAFETY

    return bisect.bisect_left(range(1, work.config.batch_size), True, key=is_too_large)


def largest_batch(work: Work, limit: int) -> int:
    """The largest batch whose estimate fits; 0 if not even one example does."""
    size = 1
    # Doubling, then halving the step.
    if step_memory.estimate(with_batch(work, 1), 0).peak > limit * SAFETY:
        return 0
    while size < LARGEST_BATCH and step_memory.estimate(with_batch(work, 2 * size), 0).peak <= limit * SAFETY:
        size *= 2
    step = size // 2 if size < LARGEST_BATCH else 0
    while step:
        if step_memory.estimate(with_batch(work, size + step), 0).peak <= limit * SAFETY:
            size += step
        step //= 2
    return size


def compiled(work: Work, keep: int, sharding: Sharding | None = None) -> Prepared:
    """The step, and XLA's count of its memory, for this machine's device or that of a sharding (`cards.placement`)."""
    transform, options, arguments = step_shapes.arguments(work, keep, sharding)
    step = make_step(work.sizes, transform, work.dtype, options, work.placement)
    if work.together > 1:
        step = step.together()
    analysis = step.compile(*arguments).memory_analysis()
    if analysis is None:
        raise ConfigurationError(
            "XLA does not count this device's memory", hint="palitune plan --estimate says what it may be"
        )
    waiting = host_memory.size_of(arguments[1])
    weights = step_shapes.size_of((arguments[0], arguments[2]))
    optimizer = step_shapes.size_of(arguments[1]) - waiting
    total = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    if not analysis.host_argument_size_in_bytes:  # a CPU counts both memories as one
        total -= waiting
    memory = Memory(weights, optimizer, total - weights - optimizer, estimated=False, waiting=waiting)
    return Prepared(transform, options, step, weights_dtype(work.config, work.dtype), memory)

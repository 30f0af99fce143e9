"""What a run will need, before a weight is loaded: its memory, and whether it fits.

The very step that would run is compiled from abstract shapes, and XLA tells its buffers. Where it cannot be compiled
for the card in question, memory is estimated from a few sizes instead (`estimate`).

Axes: B batch, N image tokens, T text tokens, M = N + T, K loss tokens, D width, F MLP width, V vocabulary, L layers.
"""

import bisect
import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Sharding
from jax.typing import DTypeLike

from palitune import host_memory, trees
from palitune.checkpoint.parameter_dtypes import resident_dtype
from palitune.config.quantization import Quantization
from palitune.config.run_config import TrainingConfig
from palitune.data import batches
from palitune.data.batches import Batch, Packing
from palitune.errors import ConfigurationError
from palitune.method import METHODS
from palitune.models import attention, lora, quantization
from palitune.models.arrays import DType, Leaf, Tree
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement
from palitune.train.optimizers import LAYERS
from palitune.train.step import Step, configured, make_step, state_shapes, weights_dtype
from palitune.train.step_options import Options

CPU_BUDGET = 256 << 20  # bytes of activations kept where nobody has counted the memory
# How far `estimate` was at most from XLA's count for the RTX 4070's description, where both were run: bench/README.md
ESTIMATE_ERROR = 0.06
LARGEST_BATCH = 1024  # where the search for the largest batch ends
SAFETY = 0.97  # share of a device's memory that a plan may use

Shapes = dict[str, jax.ShapeDtypeStruct]  # parameters by path


class Work(NamedTuple):
    """What decides how much a step needs."""

    sizes: ModelSpec
    stored: Mapping[str, Leaf]  # parameters by path
    config: TrainingConfig
    dtype: DType  # of the computation
    text_length: int  # T before it is padded to a bucket
    answer_length: int  # K
    features: bool  # whether image features come from the cache, so that the image encoder is not on the device
    packing: Packing | None = None  # of short texts without images, several to a row
    branches: bool = False  # whether an example has several questions
    learned: frozenset[str] = frozenset()  # paths of what differs from the base, and so is not quantized
    placement: Placement | None = None  # of several devices


class Memory(NamedTuple):
    """Bytes on the device during a step, and beside it."""

    weights: int
    optimizer: int
    temporaries: int  # activations, gradients and everything else that a step makes and drops
    estimated: bool
    waiting: int = 0  # of the optimizer's state, in the host's memory

    @property
    def peak(self) -> int:
        """The most bytes on the device during a step."""
        return self.weights + self.optimizer + self.temporaries


class Prepared(NamedTuple):
    """A step that is ready to run."""

    transform: optax.GradientTransformation
    options: Options
    step: Step
    weights_dtype: DType


def parameters(work: Work) -> tuple[Shapes, Shapes]:
    """Shape and dtype of the trainable and of the frozen parameters, as they are on the device."""
    stored: dict[str, Leaf] = dict(work.stored)
    c = work.config
    method = METHODS[c.method]
    if method.adds_adapters and not lora.adapted(stored):

        def adapters() -> dict[str, jax.Array]:
            return lora.init(work.stored, c.lora_targets, c.lora_rank, c.lora_alpha, jax.random.key(0))

        stored |= jax.eval_shape(adapters)
    chosen, frozen = trees.split(stored, method.trainable)
    learning, how = weights_dtype(c, work.dtype), Quantization(c.quantize, c.quantize_embeddings)
    kept: Shapes = {}
    for path, leaf in frozen.items():
        if work.features and path.startswith("img/"):
            continue
        if quantization.covers(how, path) and path not in work.learned:
            parts = quantization.described(how, path, leaf.shape)
            kept |= {name: jax.ShapeDtypeStruct(*part) for name, part in parts.items()}
        else:
            kept[path] = jax.ShapeDtypeStruct(leaf.shape, resident_dtype(leaf.dtype, work.dtype))
    return {path: jax.ShapeDtypeStruct(leaf.shape, learning) for path, leaf in chosen.items()}, kept


def batch(work: Work) -> Batch:
    """Shape and dtype of a batch with the longest text."""
    img, parts, packing = work.sizes.img, work.config.accumulate, work.packing
    size = len(packing.rows) if packing else work.config.batch_size * parts
    length = packing.width if packing else batches.bucket(work.text_length)
    answer = packing.answer_length if packing else work.answer_length

    def array(*shape: int, dtype: DTypeLike = np.int32) -> jax.ShapeDtypeStruct:
        whole = (parts, size // parts, *shape) if parts > 1 else (size, *shape)
        return jax.ShapeDtypeStruct(whole, dtype)

    count = work.sizes.num_image_tokens
    features = array(count, work.sizes.llm.width, dtype=np.float16)
    return Batch(
        image=features if work.features or img is None else array(img.image_size, img.image_size, 3, dtype=np.float32),
        text=array(length),
        mask_ar=array(length),
        mask_input=array(length),
        image_places=array(min(1, count)),
        positions=array(answer),
        targets=array(answer),
        weights=array(answer, dtype=np.float32),
        order=array(length) if packing or work.branches else None,
        segments=array(length) if packing else None,
        branches=array(length) if work.branches else None,
    )


def keptsize_of(sizes: ModelSpec, batch: Batch, dtype: DTypeLike) -> int:
    """What keeping one layer's projections takes: gate and up, [B, M, F] each."""
    examples, length = batch.text.shape[-2:]
    return 2 * examples * (length + sizes.num_image_tokens) * sizes.llm.mlp_dim * int(jnp.dtype(dtype).itemsize)


def kept_layers(sizes: ModelSpec, batch: Batch, dtype: DTypeLike, budget: int = CPU_BUDGET) -> int:
    """How many layers may keep their projections in `budget` bytes. The last layer computes few and needs no room."""
    return max(0, min(sizes.llm.depth - 1, budget // keptsize_of(sizes, batch, dtype)))


def device_memory() -> int | None:
    """Bytes that this machine's device has for a run: what JAX may take of a GPU, what is free on a CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats.get("bytes_limit")
    free = host_memory.free()
    return None if free is None else free // jax.local_device_count()


def prepare(work: Work) -> Prepared:
    """The compiled step for a run on this machine's device.

    Raises:
      ConfigurationError: it cannot fit, with the setting to change.
    """
    limit = device_memory()
    keep = budget(work, limit)
    prepared, memory = compiled(work, keep)
    if limit is not None and memory.peak > limit * SAFETY and keep:
        prepared, memory = compiled(work, 0)
    if limit is not None and memory.peak > limit * SAFETY:
        raise refusal(work, memory.peak, limit)
    host_memory.require(memory.waiting * (work.placement.count // jax.process_count() if work.placement else 1))
    return prepared


def budget(work: Work, limit: int | None) -> int:
    """Layers that keep activations: what the configuration says, or what is likely to fit."""
    if work.config.keep >= 0:
        room = work.config.keep * 10**6
    elif limit is None or jax.default_backend() == "cpu":
        room = CPU_BUDGET
    else:
        room = int(limit * SAFETY * (1 - ESTIMATE_ERROR)) - estimate(work, 0).peak
    return kept_layers(work.sizes, batch(work), work.dtype, max(0, room))


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
    now = estimate(work, 0)
    wrong = max(1.0, (needed - now.weights - now.optimizer) / now.temporaries)

    def is_too_large(size: int) -> bool:
        memory = estimate(with_batch(work, size), 0)
        return memory.weights + memory.optimizer + wrong * memory.temporaries > limit * SAFETY

    return bisect.bisect_left(range(1, work.config.batch_size), True, key=is_too_large)


def with_batch(work: Work, size: int) -> Work:
    """The same work with another batch size."""
    return work._replace(config=dataclasses.replace(work.config, batch_size=size))


def largest_batch(work: Work, limit: int) -> int:
    """The largest batch whose estimate fits; 0 if not even one example does."""
    size = 1
    # Doubling, then halving the step.
    if estimate(with_batch(work, 1), 0).peak > limit * SAFETY:
        return 0
    while size < LARGEST_BATCH and estimate(with_batch(work, 2 * size), 0).peak <= limit * SAFETY:
        size *= 2
    step = size // 2 if size < LARGEST_BATCH else 0
    while step:
        if estimate(with_batch(work, size + step), 0).peak <= limit * SAFETY:
            size += step
        step //= 2
    return size


def arguments_of(
    work: Work, keep: int, sharding: Sharding | None
) -> tuple[optax.GradientTransformation, Options, list[Tree]]:
    """The rule, the options and the abstract arguments of the step, for the device of a sharding if there is one."""
    from palitune.train.loop import steps_of

    transform, options = configured(work.config, max(1, steps_of(work.config)), keep)
    trainable, frozen = parameters(work)
    state = state_shapes(transform, trainable, options)
    arguments = [trainable, state, frozen, batch(work)]
    if (where := work.placement) is not None:
        places = [
            where.of_parameters(trainable),
            where.of_state(state, trainable),
            where.of_parameters(frozen),
            where.of_batch(arguments[3], axis=1 if options.accumulate > 1 else 0),
        ]
        arguments = jax.tree.map(_placed, arguments, places)
    elif sharding is not None:
        arguments = jax.tree.map(lambda leaf: _placed(leaf, sharding), arguments)
    if options.offload:
        arguments[1]["optimizer"] = jax.tree.map(host_memory.described, arguments[1]["optimizer"])
    return transform, options, arguments


def _placed(leaf: jax.ShapeDtypeStruct, sharding: Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def compiled(work: Work, keep: int, sharding: Sharding | None = None) -> tuple[Prepared, Memory]:
    """The step, and XLA's count of its memory, for this machine's device or that of a sharding (`cards.placement`)."""
    transform, options, arguments = arguments_of(work, keep, sharding)
    step = make_step(work.sizes, transform, work.dtype, options, work.placement)
    analysis = step.compile(*arguments).memory_analysis()
    if analysis is None:
        raise ConfigurationError(
            "XLA does not count this device's memory", hint="palitune plan --estimate says what it may be"
        )
    waiting = host_memory.size_of(arguments[1])
    weights, optimizer = size_of(arguments[0]) + size_of(arguments[2]), size_of(arguments[1]) - waiting
    total = (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )
    if not analysis.host_argument_size_in_bytes:  # a CPU counts both memories as one
        total -= waiting
    memory = Memory(weights, optimizer, total - weights - optimizer, estimated=False, waiting=waiting)
    return Prepared(transform, options, step, weights_dtype(work.config, work.dtype)), memory


def measure(work: Work, keep: int, sharding: Sharding | None) -> Memory:
    """XLA's count for the device of a sharding (`cards.placement`)."""
    return compiled(work, keep, sharding)[1]


def size_of(tree: Tree) -> int:
    """Bytes of all arrays of a tree; where they are spread over devices, those on one of them."""

    def shape(leaf: Tree) -> tuple[int, ...]:
        where = getattr(leaf, "sharding", None)
        return tuple(leaf.shape if where is None else where.shard_shape(leaf.shape))

    return sum(math.prod(shape(leaf)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def estimate(work: Work, keep: int) -> Memory:
    """Memory from sizes alone. Weights and optimizer are exact; the rest counts what was seen to set the peak.

    That is, beside every layer's input: in a layer's backward pass six arrays of the MLP's width, the attention's
    scores and copies of the layer's weights, with its gradients where all of them learn; or the embedding's gradient;
    or, of large images, the attention scores of the image encoder.
    """
    _, options, (trainable, state, frozen, inputs) = arguments_of(work, keep, None)
    llm, img, size = work.sizes.llm, work.sizes.img, int(jnp.dtype(work.dtype).itemsize)
    spread, fsdp = (1, 1) if work.placement is None else (work.placement.count, work.placement.fsdp)
    examples = -(-inputs.text.shape[-2] // spread)
    length = inputs.text.shape[-1] + work.sizes.num_image_tokens
    tokens = examples * length
    layer = 2 * llm.width * llm.head_dim * (llm.num_heads + llm.num_kv_heads) + 3 * llm.width * llm.mlp_dim
    method = METHODS[work.config.method]
    inputs_kept = (llm.depth - 1) * tokens * llm.width * size + keep * keptsize_of(work.sizes, inputs, work.dtype)
    if method.trains_image_encoder and img:
        inputs_kept += img.depth * examples * img.num_patches * img.width * size
    # Where logits are squeezed, the derivative of that, and what it is multiplied by, are there too.
    scores = (16 if llm.attn_logits_softcap else 8) * min(examples * llm.num_heads * length**2, attention.MOST_SCORES)
    walk = 6 * tokens * llm.mlp_dim * size + scores
    # What waits in the host's memory is here for a layer, and on the way for the next; or for a piece of a table.
    learned = sum(leaf.size for path, leaf in trainable.items() if path.startswith(LAYERS)) // llm.depth
    piece = host_memory.PIECE if method.trains_embedder else 0
    moments = 16 * max(learned, piece) // fsdp if options.offload else 0
    walk = max(walk, moments) + layer * size * (2 if method.trains_mlp and fsdp == 1 else 1)
    if options.whole_gradient():
        exact = {path: jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for path, leaf in trainable.items()}
        walk += 2 * size_of({path: _placed(leaf, trainable[path].sharding) for path, leaf in exact.items()})
    logits = 12 * examples * inputs.targets.shape[-1] * llm.vocab_size // work.config.vocabulary_chunks
    table = llm.vocab_size * llm.width * size // fsdp if method.trains_embedder else 0
    encoder = 0
    if img and not work.features:
        together = min(examples * img.num_heads * img.num_patches**2, attention.MOST_SCORES)
        encoder = (10 if method.trains_image_encoder else 6) * together
    # On several devices a layer's gradients are summed matrix by matrix, and the table's are there meanwhile.
    layers = walk + table if fsdp > 1 else max(walk, table)
    temporaries = inputs_kept + max(layers, logits, encoder) + size_of(inputs)
    weights, waiting = size_of(trainable) + size_of(frozen), host_memory.size_of(state)
    return Memory(weights, size_of(state) - waiting, temporaries, estimated=True, waiting=waiting)

"""What a step is given, before a weight is loaded: shapes and dtypes of its parameters, its state and its batch."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
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
from palitune.method import METHODS
from palitune.models import lora, quantization
from palitune.models.arrays import DType, Leaf, Tree
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement
from palitune.train.step import configured, state_shapes, weights_dtype
from palitune.train.step_options import Options

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
    together: int = 1  # runs whose steps are one


def with_batch(work: Work, size: int) -> Work:
    """The same work with another batch size."""
    return work._replace(config=dataclasses.replace(work.config, batch_size=size))


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


def arguments(
    work: Work, keep: int, sharding: Sharding | None
) -> tuple[optax.GradientTransformation, Options, list[Tree]]:
    """The rule, the options and the abstract arguments of the step, for the device of a sharding if there is one."""
    from palitune.train.loop import steps_of

    transform, options = configured(work.config, max(1, steps_of(work.config)), keep)
    trainable, frozen = parameters(work)
    state = state_shapes(transform, trainable, options)
    arguments = [trainable, state, frozen, batch(work)]
    if work.together > 1:
        several = [jax.tree.map(lambda leaf: _several(leaf, work.together), arguments[n]) for n in (0, 1, 3)]
        arguments = [several[0], several[1], frozen, several[2]]
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


def _several(leaf: Leaf, count: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype)


def _placed(leaf: jax.ShapeDtypeStruct, sharding: Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def size_of(tree: Tree) -> int:
    """Bytes of all arrays of a tree; where they are spread over devices, those on one of them."""

    def shape(leaf: Tree) -> tuple[int, ...]:
        where = getattr(leaf, "sharding", None)
        return tuple(leaf.shape if where is None else where.shard_shape(leaf.shape))

    return sum(math.prod(shape(leaf)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

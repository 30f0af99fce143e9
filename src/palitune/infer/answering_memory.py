"""Memory that answering takes on a device, of a model or of an ensemble, from shapes alone.

Axes: E members, B batch, M tokens of a sequence, F MLP width, D width, H heads.
"""

import jax
import numpy as np
from jax.sharding import Sharding

from palitune.checkpoint.parameter_dtypes import resident_dtype
from palitune.data import batches
from palitune.data.batches import Prompts
from palitune.errors import ConfigurationError
from palitune.infer.prompt_batches import BATCH_SIZE
from palitune.infer.scoring import label_tree, scores_of
from palitune.models import ensemble
from palitune.train import step_shapes
from palitune.train.step_memory import Memory
from palitune.train.step_shapes import Shapes, Work

LABELS = ([1], [2])  # as tokens: of yes and no there is one each
END = 0


def of(work: Work, members: int, sharding: Sharding | None) -> Memory:
    """As `counted` for the device of a sharding, where one is described; else as `estimate`."""
    return estimate(work, members) if sharding is None else counted(work, members, sharding)


def counted(work: Work, members: int, sharding: Sharding | None = None) -> Memory:
    """XLA's count of the program that scores two labels, for this machine's device or that of a sharding.

    Args:
      work: of which the sizes count, the stored parameters, and what the method of its configuration trains.
      members: how many models have those parameters of their own.
    """
    params, prompts = _parameters(work, members), _prompts(work)
    if sharding is not None:
        params, prompts = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), (params, prompts)
        )
    program = scores_of(work.sizes, label_tree(LABELS, END), len(LABELS), work.dtype)
    analysis = jax.jit(program).lower(params, prompts).compile().memory_analysis()
    if analysis is None:
        hint = "palitune plan --estimate says what it may be"
        raise ConfigurationError("XLA does not count this device's memory", hint=hint)
    weights = step_shapes.size_of(params)
    total = analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    return Memory(weights, 0, total - weights, estimated=False)


def estimate(work: Work, members: int) -> Memory:
    """Memory from sizes alone. Weights are exact; the rest is what was seen to set the peak, in a layer's MLP."""
    params, prompts = _parameters(work, members), _prompts(work)
    llm, size = work.sizes.llm, np.dtype(work.dtype).itemsize
    length = prompts.text.shape[1] + work.sizes.num_image_tokens
    tokens = members * BATCH_SIZE * length
    scores = 8 * members * BATCH_SIZE * llm.num_heads * length**2
    layer = tokens * (3 * llm.mlp_dim + 4 * llm.width) * size + scores
    return Memory(step_shapes.size_of(params), 0, layer + step_shapes.size_of(prompts), estimated=True)


def _parameters(work: Work, members: int) -> Shapes:
    """What is on the device: the frozen parameters, and what each member has in place of the trainable ones."""
    chosen, frozen = step_shapes.parameters(work)
    found = dict(frozen)
    for path, leaf in chosen.items():
        own = (members, *leaf.shape) if members > 1 else leaf.shape
        name = ensemble.own_of(path) if members > 1 else path
        found[name] = jax.ShapeDtypeStruct(own, resident_dtype(np.dtype(np.float16), work.dtype))
    return found


def _prompts(work: Work) -> Prompts:
    count, width = work.sizes.num_image_tokens, work.sizes.llm.width

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((BATCH_SIZE, *shape), np.int32)

    length = batches.bucket(work.text_length)
    image = jax.ShapeDtypeStruct((BATCH_SIZE, count, width), np.float16)
    return Prompts(image, array(length), array(length), array(length), array(min(1, count)))

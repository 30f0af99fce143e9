"""Memory that a step takes on its device, estimated from a few sizes where no program was compiled to count it.

Axes: B batch, M tokens of an example, F MLP width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from palitune import host_memory
from palitune.data.batches import Batch
from palitune.method import METHODS
from palitune.models import attention
from palitune.models.spec import ModelSpec
from palitune.train import step_shapes
from palitune.train.optimizers import LAYERS
from palitune.train.step_shapes import Work

# How far `estimate` was at most from XLA's count for the RTX 4070's description, where both were run: bench/README.md
ESTIMATE_ERROR = 0.06


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


def kept_bytes(sizes: ModelSpec, batch: Batch, dtype: DTypeLike) -> int:
    """What keeping one layer's projections takes: gate and up, [B, M, F] each."""
    examples, length = batch.text.shape[-2:]
    return 2 * examples * (length + sizes.num_image_tokens) * sizes.llm.mlp_dim * int(jnp.dtype(dtype).itemsize)


def estimate(work: Work, keep: int) -> Memory:
    """Memory from sizes alone. Weights and optimizer are exact; the rest counts what was seen to set the peak.

    That is, beside every layer's input: in a layer's backward pass six arrays of the MLP's width, the attention's
    scores and copies of the layer's weights, with its gradients where all of them learn; or the embedding's gradient;
    or, of large images, the attention scores of the image encoder. Several runs in one step share the copies of what is
    frozen.
    """
    _, options, (trainable, state, frozen, inputs) = step_shapes.arguments(work, keep, None)
    llm, img, size = work.sizes.llm, work.sizes.img, int(jnp.dtype(work.dtype).itemsize)
    spread, fsdp = (1, 1) if work.placement is None else (work.placement.count, work.placement.fsdp)
    count = work.together
    own = -(-inputs.text.shape[-2] // spread)  # examples of one run
    examples = count * own
    length = inputs.text.shape[-1] + work.sizes.num_image_tokens
    tokens = examples * length
    layer = 2 * llm.width * llm.head_dim * (llm.num_heads + llm.num_kv_heads) + 3 * llm.width * llm.mlp_dim
    method = METHODS[work.config.method]
    inputs_kept = (llm.depth - 1) * tokens * llm.width * size
    inputs_kept += count * keep * kept_bytes(work.sizes, inputs, work.dtype)
    if method.trains_image_encoder and img:
        inputs_kept += img.depth * examples * img.num_patches * img.width * size
    # Where logits are squeezed, the derivative of that, and what it is multiplied by, are there too.
    scores = (16 if llm.attn_logits_softcap else 8) * min(own * llm.num_heads * length**2, attention.MOST_SCORES)
    walk = 6 * tokens * llm.mlp_dim * size + count * scores
    # What waits in the host's memory is here for a layer, and on the way for the next; or for a piece of a table.
    learned = sum(leaf.size for path, leaf in trainable.items() if path.startswith(LAYERS)) // llm.depth
    piece = host_memory.PIECE if method.trains_embedder else 0
    moments = 16 * max(learned, piece) // fsdp if options.offload else 0
    walk = max(walk, moments) + layer * size * (2 * count if method.trains_mlp and fsdp == 1 else 1)
    if options.whole_gradient():
        exact = [jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=leaf.sharding) for leaf in trainable.values()]
        walk += 2 * step_shapes.size_of(exact)
    logits = 12 * examples * inputs.targets.shape[-1] * llm.vocab_size // work.config.vocabulary_chunks
    table = count * llm.vocab_size * llm.width * size // fsdp if method.trains_embedder else 0
    encoder = 0
    if img and not work.features:
        compared = count * min(own * img.num_heads * img.num_patches**2, attention.MOST_SCORES)
        encoder = (10 if method.trains_image_encoder else 6) * compared
    # On several devices a layer's gradients are summed matrix by matrix, and the table's are there meanwhile.
    layers = walk + table if fsdp > 1 else max(walk, table)
    temporaries = inputs_kept + max(layers, logits, encoder) + step_shapes.size_of(inputs)
    weights, waiting = step_shapes.size_of(trainable) + step_shapes.size_of(frozen), host_memory.size_of(state)
    return Memory(weights, step_shapes.size_of(state) - waiting, temporaries, estimated=True, waiting=waiting)

"""The floor of a step: the operations and bytes that it cannot do without, and the time they take on a card."""

import math

from palitune import host_memory
from palitune.method import METHODS
from palitune.models import lora
from palitune.train import communication, step_memory, step_shapes
from palitune.train.cards import Card
from palitune.train.step_shapes import Work


def flops(work: Work) -> int:
    """Operations that a step cannot do without: no activation is computed twice, nothing beyond the loss tokens.

    Two for a multiplication and addition, forward and where a gradient passes; two more where a weight has one.
    """
    llm, img = work.sizes.llm, work.sizes.img
    inputs = step_shapes.batch(work)
    count = work.config.accumulate * work.together
    examples, text = inputs.text.shape[-2:]
    length = text + work.sizes.num_image_tokens
    tokens, answers = examples * length, examples * inputs.targets.shape[-1]
    heads = llm.num_heads * llm.head_dim
    attention = 2 * llm.width * llm.head_dim * (llm.num_heads + llm.num_kv_heads)
    mlp = 3 * llm.width * llm.mlp_dim
    method = METHODS[work.config.method]
    learned = attention * method.trains_attention + mlp * method.trains_mlp
    adapters = [leaf for path, leaf in step_shapes.parameters(work)[0].items() if lora.is_adapter(path)]
    learned += 3 * sum(math.prod(leaf.shape) for leaf in adapters) // llm.depth
    scores = 4 * tokens * length * heads
    layers = (llm.depth - 1) * (2 * tokens * (2 * (attention + mlp) + learned) + 3 * scores)
    # Of the last layer only the loss tokens are wanted, and the keys and values that they attend to.
    keys = 2 * llm.width * llm.head_dim * llm.num_kv_heads
    last = 2 * answers * (2 * (attention + mlp) + learned) + 4 * tokens * keys
    logits = 2 * answers * llm.vocab_size * llm.width * (3 if method.trains_embedder else 2)
    encoder = 0
    if img and not work.features:
        block = 4 * img.width**2 + 2 * img.width * img.mlp_dim
        patches = examples * img.num_patches
        once = img.depth * (2 * patches * block + 4 * patches * img.num_patches * img.width)
        encoder = once * (3 if method.trains_image_encoder else 1)
    return count * (layers + last + logits + encoder)


def seconds(work: Work, card: Card) -> float:
    """What a step takes at least on a `cards.Card`: its operations at full speed, or its weights read twice.

    What waits in the host's memory comes from there and goes back in that time. On several cards each does its share,
    reads the weights of all layers all the same, and has to be sent them.
    """
    trainable, frozen = step_shapes.parameters(work)
    moved = 2 * step_shapes.size_of(frozen) + 4 * work.together * step_shapes.size_of(trainable)
    cards = 1 if work.placement is None else work.placement.count
    sent = communication.least(work) / card.interconnect
    fetched = step_memory.estimate(work, 0).waiting / host_memory.LINK if work.config.offload != "none" else 0.0
    return max(flops(work) / cards / card.flops, moved / card.bandwidth, sent, fetched)

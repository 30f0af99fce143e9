"""What learning makes small: the cross-entropy of the answer's tokens.

Axes: B batch, K loss tokens, T text tokens, D width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from palitune.data.batches import Batch
from palitune.models import gemma, paligemma, siglip
from palitune.models.variants import PaliGemmaConfig


def loss(config: PaliGemmaConfig, params: Mapping[str, Any], batch: Batch, dtype: Any = jnp.float32) -> jax.Array:
    """float32[]: the mean over an example's loss tokens, then over the examples.

    Hidden states are picked before the output layer, so logits are float32[B, K, V] and never [B, T, V].
    """
    zimg = siglip.image_tokens(config.img, params["img"], batch.image, dtype)
    hidden = paligemma.hidden_states(config, params, zimg, batch.text, batch.mask_ar, batch.mask_input)
    chosen = jnp.take_along_axis(hidden, batch.positions[..., None], axis=1)
    logits = gemma.logits(params["llm"], chosen)
    token_losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
    counts = jnp.maximum(jnp.sum(batch.weights, axis=-1), 1)
    return jnp.mean(jnp.sum(token_losses * batch.weights, axis=-1) / counts)

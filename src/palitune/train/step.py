"""One update: loss, gradients of the trainable parameters alone, optimizer."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from palitune import trees
from palitune.data.batches import Batch
from palitune.models.variants import PaliGemmaConfig
from palitune.train import objective

Flat = Mapping[str, Any]
Step = Callable[[Flat, Any, Flat, Batch], tuple[Flat, Any, jax.Array]]


def make_step(config: PaliGemmaConfig, optimizer: optax.GradientTransformation, dtype: Any = jnp.float32) -> Step:
    """A compiled `step(trainable, optimizer_state, frozen, batch) -> (trainable, optimizer_state, loss)`.

    Parameters are flat dicts by path. The trainable ones and the optimizer's state are donated: the caller's are gone
    after the call. The loss is that before the update.
    """

    def step(trainable: Flat, state: Any, frozen: Flat, batch: Batch) -> tuple[Flat, Any, jax.Array]:
        def loss_of(trainable: Flat) -> jax.Array:
            params = trees.unflatten({**trainable, **frozen})
            return objective.loss(config, params, batch, dtype)

        loss, gradients = jax.value_and_grad(loss_of)(trainable)
        updates, state = optimizer.update(gradients, state, trainable)
        return optax.apply_updates(trainable, updates), state, loss

    return jax.jit(step, donate_argnums=(0, 1))

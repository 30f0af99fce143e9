"""Weights that are contracted with their input, quantized or not, with adapters beside them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from palitune.models import lora, weight
from palitune.models.arrays import Tree


def fan_in(in_axis: tuple[int, ...], out_axis: tuple[int, ...]) -> nn.initializers.Initializer:
    """An initializer whose variance is 1 / (the size of the axes that are summed over)."""
    return nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=in_axis, out_axis=out_axis)


def adapt(module: nn.Module, equation: str, name: str, x: jax.Array, dropout: float) -> jax.Array | float:
    """What the adapter of a module's weight adds, if it has one; with dropout where there is a random stream for it."""
    if not module.has_variable("params", name + lora.A):
        return 0.0
    if dropout and module.has_rng("dropout"):
        kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - dropout, x.shape)
        x = jnp.where(kept, x / (1 - dropout), 0).astype(x.dtype)
    factors: list[Tree] = [module.get_variable("params", name + part) for part in (lora.A, lora.B, lora.ALPHA)]
    return lora.adapt(equation, x, *factors)


class Einsum(nn.Module):
    """A weight `w` of `shape`, contracted with the input in the input's dtype."""

    equation: str
    shape: tuple[int, ...]
    w_init: nn.initializers.Initializer
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = jnp.einsum(self.equation, x, weight.of(self, "w", self.w_init, self.shape, x.dtype))
        return y + adapt(self, self.equation, "w", x, self.dropout)

"""The MLP of a layer: gated GELU, whose projections can be kept for the backward pass.

Axes: B batch, T tokens, D model width, F hidden width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from palitune.models import lora, weight
from palitune.models.einsum import adapt, fan_in
from palitune.models.spec import GemmaSpec

KEPT = "kept"  # collection of the activations that a layer's backward pass need not compute again


@jax.custom_vjp
def _known(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
    """`x @ w`, whose value `y` has been kept: differentiated like the product, and not computed again."""
    return y


def _known_forward(x: jax.Array, w: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return y, (x, w)


def _known_backward(inputs: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, w = inputs
    return dy @ w.T, jnp.einsum("...D,...F->DF", x, dy), jnp.zeros_like(dy)


_known.defvjp(_known_forward, _known_backward)


class FeedForward(nn.Module):
    """Gated GELU: `[B, T, D]` to the same.

    The two projections, most of a layer's work, can be kept: applied with the collection `KEPT` mutable the module
    returns them there, and applied with what it returned it computes everything but them again.
    """

    config: GemmaSpec
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        width, hidden = self.config.width, self.config.mlp_dim
        gating = weight.of(self, "gating_einsum", fan_in((1,), (0, 2)), (2, width, hidden), x.dtype)
        linear = weight.of(self, "linear", fan_in((0,), (1,)), (hidden, width), x.dtype)
        projections = []
        for number, name in enumerate(("gate", "up")):
            if self.has_variable(KEPT, name):
                projections.append(_known(x, gating[number], self.get_variable(KEPT, name)))
            else:
                projections.append(x @ gating[number])
                if self.is_mutable_collection(KEPT) and not self.is_initializing():
                    self.put_variable(KEPT, name, projections[-1])
        gate, up = projections
        both = adapt(self, lora.EQUATIONS["mlp/gating_einsum"], "gating_einsum", x, self.dropout)
        if not isinstance(both, float):
            gate, up = gate + both[0], up + both[1]
        activated = nn.gelu(gate) * up
        added = adapt(self, lora.EQUATIONS["mlp/linear"], "linear", activated, self.dropout)
        return activated @ linear + added

"""Root-mean-square norms, of the language model and of pooled patches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class RMSNorm(nn.Module):
    """Root-mean-square norm in float32, scaled by 1 + `scale`, in the input's dtype; NaN of what is too large."""

    @nn.compact
    def __call__(self, x: Float[Array, "*any D"]) -> Float[Array, "*any D"]:
        scale = self.param("scale", nn.initializers.zeros_init(), (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        variance = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        # Where it overflows, 1 / sqrt(inf) would make 0 of every x, and an answer, the same for all images, of that.
        factor = jnp.where(jnp.isfinite(variance), jax.lax.rsqrt(variance + 1e-6), jnp.nan)
        return (x32 * factor * (1 + scale.astype(jnp.float32))).astype(x.dtype)

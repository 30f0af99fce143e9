"""The model's functions, each as one program: run one by one, all operations of all shapes would be compiled."""

from typing import Any

import jax

from palitune.infer import decoding, scoring
from palitune.models import multimodal, siglip

forward = jax.jit(multimodal.forward, static_argnums=0, static_argnames="dtype")
image_tokens = jax.jit(multimodal.image_tokens, static_argnums=0)
hidden_states = jax.jit(multimodal.hidden_states, static_argnums=0)
encode_images = jax.jit(siglip.image_tokens, static_argnums=0)
greedy = jax.jit(decoding.greedy, static_argnums=(0, 4, 5, 6))


def log_likelihoods(config: Any, params: Any, zimg: Any, prompt: Any, tree: scoring.LabelTree, **how: Any) -> jax.Array:
    """Those of `scoring`, in a program of these labels."""

    @jax.jit
    def of(params: Any, zimg: Any, prompt: Any) -> jax.Array:
        return scoring.log_likelihoods(config, params, zimg, prompt, tree, **how)

    return of(params, zimg, prompt)

"""LoRA: a low-rank adapter beside each weight it adapts (https://arxiv.org/abs/2106.09685).

A weight `w` that is contracted with `x` gets two factors under its own path, `w_lora_a` and `w_lora_b`, and the
scalar `w_lora_alpha`: the layer's output becomes `x w + alpha / rank * (x a) b`. `b` starts at zero, so that step 0
equals the base exactly.

Axes: B batch, T S tokens, N K heads, H head width, D model width, F hidden width, 2 3 stacked projections, r rank.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palitune import path_patterns
from palitune.errors import ConfigurationError
from palitune.models.arrays import AnyArray, HostArray
from palitune.models.parameter_shapes import Shaped

# How a layer's weights meet their inputs; `gemma` computes by these, and what is not listed cannot be adapted.
EQUATIONS = {
    "attn/q_einsum/w": "BTD,NDH->BTNH",
    "attn/kv_einsum/w": "BSD,2KDH->2BSKH",
    "attn/qkv_einsum/w": "BSD,3NDH->3BSNH",
    "attn/attn_vec_einsum/w": "BTNH,NHD->BTD",
    "mlp/gating_einsum": "BTD,2DF->2BTF",
    "mlp/linear": "BTF,FD->BTD",
}
LAYERS = "llm/layers/"
A, B, ALPHA = "_lora_a", "_lora_b", "_lora_alpha"
_ADAPTER = re.compile(rf"(.*)({A}|{B}|{ALPHA})")


class Factors(NamedTuple):
    """The two small contractions that stand beside a big one, and the one that multiplies the factors out."""

    a: str  # axes of the first factor
    b: str  # axes of the second
    first: str  # equation: x and a
    second: str  # equation: what comes of it, and b
    product: str  # equation: a and b to the weight's own axes


def factors(equation: str) -> Factors:
    """Splits a contraction's weight: axes that it sums over go to `a`, those it makes to `b`, stacked ones to both."""
    inputs, y = equation.split("->")
    x, w = inputs.split(",")
    stacked = "".join(axis for axis in w if axis.isdigit())
    summed = "".join(axis for axis in w if axis in x and axis not in y)
    made = "".join(axis for axis in w if axis not in stacked + summed)
    between = stacked + "".join(axis for axis in x if axis not in summed) + "r"
    a, b = f"{stacked}{summed}r", f"{stacked}r{made}"
    return Factors(a, b, f"{x},{a}->{between}", f"{between},{b}->{y}", f"{a},{b}->{w}")


def is_adapter(path: str) -> bool:
    """Whether a parameter belongs to an adapter."""
    return _ADAPTER.fullmatch(path) is not None


def can_adapt(path: str) -> bool:
    """Whether a parameter can have an adapter."""
    return path.startswith(LAYERS) and path.removeprefix(LAYERS) in EQUATIONS


def adapt(equation: str, x: jax.Array, a: jax.Array, b: jax.Array, alpha: jax.Array) -> jax.Array:
    """What the adapter adds to the output of `equation`, in the input's dtype."""
    parts = factors(equation)
    scale = (alpha / a.shape[-1]).astype(x.dtype)
    return jnp.einsum(parts.second, jnp.einsum(parts.first, x, a.astype(x.dtype)), b.astype(x.dtype)) * scale


def shapes(path: str, shape: tuple[int, ...], rank: int) -> dict[str, tuple[int, ...]]:
    """Path and shape of the adapter of a stacked weight.

    Raises:
      ConfigurationError: this weight cannot be adapted.
    """
    if not can_adapt(path):
        hint = f"Those that can: {', '.join(LAYERS + name for name in EQUATIONS)}"
        raise ConfigurationError("this parameter cannot have a LoRA adapter", where=path, hint=hint)
    equation = EQUATIONS[path.removeprefix(LAYERS)]
    depth, *sizes = shape
    axes = dict(zip(equation.split("->")[0].split(",")[1], sizes, strict=True)) | {"r": rank}
    parts = factors(equation)
    return {
        f"{path}{A}": (depth, *(axes[axis] for axis in parts.a)),
        f"{path}{B}": (depth, *(axes[axis] for axis in parts.b)),
        f"{path}{ALPHA}": (depth,),
    }


def init(weights: Mapping[str, Shaped], targets: str, rank: int, alpha: float, key: jax.Array) -> dict[str, jax.Array]:
    """New float32 adapters for every weight whose whole path the regular expression `targets` matches.

    The first factor is normal with variance 1 / (size of the axes it sums over), the second zero.

    Args:
      weights: flat parameters of the model, of which only the shapes are used.

    Raises:
      ConfigurationError: nothing matches, or something that cannot be adapted does.
    """
    try:
        pattern = path_patterns.compiled(targets)
    except ValueError as error:
        raise ConfigurationError(f"not a regular expression ({error})", where=targets[:80]) from None
    chosen = [path for path in weights if pattern.matches(path) and not is_adapter(path)]
    if not chosen:
        hint = f"Those that can have an adapter: {', '.join(LAYERS + name for name in EQUATIONS)}"
        raise ConfigurationError("no parameter has this path", where=targets, hint=hint)
    named = {path: shapes(path, tuple(weights[path].shape), rank) for path in sorted(chosen)}

    @jax.jit  # one program for all adapters
    def make(key: jax.Array) -> dict[str, jax.Array]:
        made: dict[str, jax.Array] = {}
        for number, (path, sizes) in enumerate(named.items()):
            a = sizes[f"{path}{A}"]
            axes = factors(EQUATIONS[path.removeprefix(LAYERS)]).a
            fan_in = math.prod(size for axis, size in zip(axes, a[1:], strict=True) if axis.isupper())
            # The barrier keeps the compiler from drawing both factors together, which would round differently.
            drawn = jax.lax.optimization_barrier(jax.random.normal(jax.random.fold_in(key, number), a))
            made[f"{path}{A}"] = drawn * fan_in**-0.5
            made[f"{path}{B}"] = jnp.zeros(sizes[f"{path}{B}"])
            made[f"{path}{ALPHA}"] = jnp.full(sizes[f"{path}{ALPHA}"], alpha, jnp.float32)
        return made

    adapters: dict[str, jax.Array] = make(key)
    return adapters


def adapted(paths: Iterable[str]) -> list[str]:
    """The weights that have an adapter, by the adapters among `paths`."""
    found = (_ADAPTER.fullmatch(path) for path in paths)
    return sorted({match[1] for match in found if match})


def merged(path: str, weight: AnyArray, a: AnyArray, b: AnyArray, alpha: AnyArray) -> jax.Array:
    """float32: some layers of the weight at `path` with their adapters multiplied into them.

    Args:
      weight, a, b, alpha: as stacked on axis 0, for the same layers.
    """
    product = factors(EQUATIONS[path.removeprefix(LAYERS)]).product
    each = ",".join(f"L{axes}" for axes in product.split("->")[0].split(","))
    stacked = f"{each}->L{product.split('->')[1]}"
    a, b, alpha = (jnp.asarray(factor, jnp.float32) for factor in (a, b, alpha))
    scaled = a * (alpha / a.shape[-1]).reshape(-1, *(1,) * (a.ndim - 1))
    return jnp.asarray(weight, jnp.float32) + jnp.einsum(stacked, scaled, b, precision=jax.lax.Precision.HIGHEST)


def mean(path: str, adapters: Sequence[tuple[HostArray, HostArray, HostArray]]) -> tuple[HostArray, ...]:
    """One adapter that adds the mean of what several add to the weight at a path; its rank is the sum of theirs.

    Args:
      adapters: both factors and alpha of each, stacked on axis 0.

    Returns:
      Both factors and alpha, float32. What is there of each adapter is multiplied into the first factor.
    """
    total = sum(a.shape[-1] for a, _, _ in adapters)
    axis = 1 + factors(EQUATIONS[path.removeprefix(LAYERS)]).b.index("r")
    firsts = []
    for a, _, alpha in adapters:
        scale = np.asarray(alpha, np.float32) / (a.shape[-1] * len(adapters))
        firsts.append(np.asarray(a, np.float32) * scale.reshape(-1, *(1,) * (a.ndim - 1)))
    seconds = [np.asarray(b, np.float32) for _, b, _ in adapters]
    depth = len(adapters[0][0])
    return np.concatenate(firsts, -1), np.concatenate(seconds, axis), np.full(depth, total, np.float32)

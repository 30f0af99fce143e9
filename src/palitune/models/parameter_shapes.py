"""Sizes of the parts of a model, and the shape of every parameter: plain arithmetic, without JAX.

A parameter's shape is written as the names of its axes. They are filled in for a model whose sizes are known
(`shapes`), and the other way round, sizes are read off a checkpoint's arrays (`read`).

Sources: big_vision's `models/ppp/gemma.py` and `models/vit.py`, whose parameter paths the published checkpoints have.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from palitune.errors import ConfigurationError

SCORES = 1 << 28  # attention scores of a layer of an image encoder that are there at once: 1 GB in float32
Axes = Mapping[str, str]  # parameter path → its axes: names of sizes, or numbers


@runtime_checkable
class Shaped(Protocol):
    """Anything with a shape: an array, an array in a file, or a description of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclasses.dataclass(frozen=True)
class SiglipSizes:
    """Sizes of an image encoder.

    Attributes:
      num_classes: the width D of the language model it feeds.
      pool: patches a side whose mean becomes one token of the language model; with a norm behind it where it is more
        than one, as in Gemma 3.
    """

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int  # pixels
    image_size: int  # pixels, square
    num_classes: int
    pool: int = 1

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def num_tokens(self) -> int:
        """Tokens of the language model that an image becomes: N."""
        return (self.image_size // self.patch_size // self.pool) ** 2

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.width // self.num_heads

    def together(self, most: int) -> int:
        """How many images, up to `most`, go through the encoder at once.

        Attention's memory grows with the square of the patches: at 896 pixels it is 16 times that at 448.
        """
        return max(1, min(most, SCORES // (self.num_heads * self.num_patches**2)))


@dataclasses.dataclass(frozen=True)
class GemmaSizes:
    """Sizes of a language model."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int


def siglip_axes(*, pooled: bool = False) -> Axes:
    """Axes of every parameter of the image encoder; the first that has an axis tells its size.

    Args:
      pooled: several patches become one token, with a norm and without a bias.
    """
    block, attention = "Transformer/encoderblock", "Transformer/encoderblock/MultiHeadDotProductAttention_0"
    axes = {
        f"{attention}/query/kernel": "depth width num_heads head_dim",
        "embedding/kernel": "patch_size patch_size 3 width",
        "pos_embedding": "1 num_patches width",
        f"{block}/MlpBlock_0/Dense_0/kernel": "depth width mlp_dim",
        "head/kernel": "width num_classes",
        "embedding/bias": "width",
        **({"pool_norm/scale": "width"} if pooled else {"head/bias": "num_classes"}),
        f"{block}/MlpBlock_0/Dense_0/bias": "depth mlp_dim",
        f"{block}/MlpBlock_0/Dense_1/kernel": "depth mlp_dim width",
        f"{block}/MlpBlock_0/Dense_1/bias": "depth width",
        f"{attention}/out/kernel": "depth num_heads head_dim width",
        f"{attention}/out/bias": "depth width",
    }
    for name in ("query", "key", "value"):
        axes[f"{attention}/{name}/kernel"] = "depth width num_heads head_dim"
        axes[f"{attention}/{name}/bias"] = "depth num_heads head_dim"
    axes |= {f"{block}/LayerNorm_{i}/{name}": "depth width" for i in (0, 1) for name in ("scale", "bias")}
    return axes | {f"Transformer/encoder_norm/{name}": "width" for name in ("scale", "bias")}


def gemma_axes(*, post_norms: bool, fused: bool, qk_norms: bool = False, tied: bool = True) -> Axes:
    """Axes of every parameter of the language model; the first that has an axis tells its size.

    Args:
      post_norms: there is a norm behind attention and MLP too.
      fused: queries, keys and values are one parameter, because there are as many of each.
      qk_norms: queries and keys are normed, head by head.
      tied: the embedding table is also the output layer.
    """
    if fused:
        axes = {"layers/attn/qkv_einsum/w": "depth 3 num_heads width head_dim"}
    else:
        axes = {
            "layers/attn/q_einsum/w": "depth num_heads width head_dim",
            "layers/attn/kv_einsum/w": "depth 2 num_kv_heads width head_dim",
        }
    axes |= {
        "layers/mlp/gating_einsum": "depth 2 width mlp_dim",
        "embedder/input_embedding": "vocab_size width",
        "layers/attn/attn_vec_einsum/w": "depth num_heads head_dim width",
        "layers/mlp/linear": "depth mlp_dim width",
        "final_norm/scale": "width",
    }
    if not tied:
        axes["embedder/output_embedding"] = "vocab_size width"
    if qk_norms:
        axes |= {f"layers/attn/{name}_norm/scale": "depth head_dim" for name in ("query", "key")}
    norms = ["pre_attention_norm", "pre_ffw_norm"]
    norms += ["post_attention_norm", "post_ffw_norm"] if post_norms else []
    return axes | {f"layers/{name}/scale": "depth width" for name in norms}


def shapes(axes: Axes, sizes: SiglipSizes | GemmaSizes) -> dict[str, tuple[int, ...]]:
    """Path and shape of every parameter of a model of these sizes."""

    def size(axis: str) -> int:
        return int(axis) if axis.isdigit() else getattr(sizes, axis)

    return {path: tuple(size(axis) for axis in named.split()) for path, named in axes.items()}


def read(axes: Axes, arrays: Mapping[str, Shaped], prefix: str, where: str | None = None) -> dict[str, int]:
    """The size of each axis, by its name, read off the first parameter that has it.

    Args:
      arrays: a checkpoint's, under `prefix` and the paths of `axes`.
      where: the checkpoint's name, for errors.

    Raises:
      ConfigurationError: a parameter that tells a size is missing or has another number of axes.
    """
    found: dict[str, int] = {}
    for path, named in axes.items():
        names = named.split()
        if all(name.isdigit() or name in found for name in names):
            continue
        if (whole := prefix + path) not in arrays:
            what = f"not a whole checkpoint of a known model: it has no parameter {whole}"
            raise ConfigurationError(what, where=where, hint=_first_paths(arrays))
        shape = tuple(arrays[whole].shape)
        if len(shape) != len(names):
            raise ConfigurationError(f"{whole} has shape {shape} where {len(names)} axes are expected", where=where)
        for name, size in zip(names, shape, strict=True):
            found.setdefault(name, size)
    return {name: size for name, size in found.items() if not name.isdigit()}


def siglip_sizes(arrays: Mapping[str, Shaped], where: str | None = None) -> SiglipSizes:
    """Sizes of a checkpoint's image encoder, whose patches are not pooled.

    Raises as `read`, and where there is no such encoder.
    """
    found = read(siglip_axes(), arrays, "img/", where)
    patches = found.pop("num_patches")
    side = math.isqrt(patches)
    if side**2 != patches:
        raise ConfigurationError(f"img/pos_embedding has {patches} positions, which is not a square", where=where)
    del found["head_dim"]
    sizes = SiglipSizes(**found, image_size=side * found["patch_size"])
    _require_positive("img", sizes, where)
    if sizes.width % sizes.num_heads:
        what = f"an image encoder {sizes.width} wide cannot have {sizes.num_heads} heads"
        raise ConfigurationError(f"no model has these sizes: {what}", where=where)
    return sizes


def gemma_sizes(axes: Axes, arrays: Mapping[str, Shaped], where: str | None = None) -> GemmaSizes:
    """Sizes of a checkpoint's language model. Raises as `read`, and where there is no such model."""
    found = read(axes, arrays, "llm/", where)
    sizes = GemmaSizes(**{"num_kv_heads": found["num_heads"], **found})
    _require_positive("llm", sizes, where)
    what = None
    if sizes.num_heads % sizes.num_kv_heads:
        what = f"{sizes.num_heads} query heads do not share {sizes.num_kv_heads} key/value heads evenly"
    elif sizes.head_dim % 2:
        what = f"heads are {sizes.head_dim} wide, and rotary positions need an even number"
    if what:
        raise ConfigurationError(f"no model has these sizes: {what}", where=where)
    return sizes


def _require_positive(part: str, sizes: SiglipSizes | GemmaSizes, where: str | None) -> None:
    for name, size in dataclasses.asdict(sizes).items():
        if size < 1:
            raise ConfigurationError(f"no model has these sizes: {part} {name} is {size}", where=where)


def _first_paths(arrays: Mapping[str, Shaped]) -> str:
    names = list(arrays)
    if not names:
        return "It holds no arrays"
    found = f"It has {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
    ours = any(name.startswith(("llm/", "img/")) for name in names)
    return f"{found}. If palitune saved it, the .json of its name has to be beside it" if ours else found

"""Sizes: the published ones, and those read off a checkpoint's array shapes. Plain arithmetic, without JAX.

Sources: big_vision's `models/ppp/gemma.py` (get_config), `models/vit.py` (So400m/14) and its PaliGemma configurations
(vocabulary: 256,000 + 1,024 location tokens + 128 segmentation tokens).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from palitune import trees
from palitune.errors import ConfigurationError

VOCAB_SIZE = 257_152
RESOLUTIONS = (224, 448, 896)


@dataclasses.dataclass(frozen=True)
class SiglipConfig:
    """Sizes of the image encoder. `num_classes` is the width D of the language model it feeds."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int  # pixels
    image_size: int  # pixels, square
    num_classes: int

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
    """Sizes and switches of one Gemma. `read` tells how the switches are found."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    attn_logits_softcap: float | None = None
    post_norms: bool = False
    # Queries are scaled by head_dim**-0.5, but by (width / num_heads)**-0.5 in Gemma 2 27B.
    query_pre_attn_norm: str = "rsqrt_head_dim"

    @property
    def query_scale(self) -> float:
        if self.query_pre_attn_norm == "rsqrt_emb_per_head":
            return (self.width // self.num_heads) ** -0.5
        return self.head_dim**-0.5


@dataclasses.dataclass(frozen=True)
class PaliGemmaConfig:
    """Sizes of the image encoder and the language model."""

    img: SiglipConfig
    llm: GemmaConfig


GEMMA2: dict[str, Any] = {"attn_logits_softcap": 50.0, "post_norms": True, "vocab_size": VOCAB_SIZE}

GEMMAS = {
    "gemma_2b": GemmaConfig(2048, 18, 16_384, 8, 1, 256, VOCAB_SIZE),
    "gemma2_2b": GemmaConfig(2304, 26, 9_216, 8, 4, 256, **GEMMA2),
    "gemma2_9b": GemmaConfig(3584, 42, 14_336, 16, 8, 256, **GEMMA2),
    "gemma2_27b": GemmaConfig(4608, 46, 36_864, 32, 16, 128, query_pre_attn_norm="rsqrt_emb_per_head", **GEMMA2),
}


class Family(NamedTuple):
    """A language model and the dtype in which its PaliGemma is published."""

    llm: GemmaConfig
    stored_dtype: str


# PaliGemma 1 has one size; PaliGemma 2 is named by the number of parameters of both parts together.
FAMILIES = {
    "paligemma-3b": Family(GEMMAS["gemma_2b"], "float16"),
    "paligemma2-3b": Family(GEMMAS["gemma2_2b"], "bfloat16"),
    "paligemma2-10b": Family(GEMMAS["gemma2_9b"], "bfloat16"),
    "paligemma2-28b": Family(GEMMAS["gemma2_27b"], "bfloat16"),
}


def published(family: str, resolution: int) -> PaliGemmaConfig:
    """Sizes of a published model, for example `published("paligemma2-10b", 448)`."""
    llm = FAMILIES[family].llm
    return PaliGemmaConfig(SiglipConfig(1152, 27, 4304, 16, 14, resolution, llm.width), llm)


def read(arrays: Mapping[str, Any], where: str | None = None) -> PaliGemmaConfig:
    """Sizes of the model that a flat dict of arrays (anything with a `shape`) holds.

    Post-norms exist in Gemma 2 alone, which also caps attention logits at 50; among Gemma 2's sizes only 27B has heads
    128 wide, and only 27B scales queries by width / heads.

    Raises:
      ConfigurationError: when a parameter that tells a size is missing or has the wrong number of axes.
    """

    def shape(path: str, axes: int) -> tuple[int, ...]:
        if path not in arrays:
            raise ConfigurationError(
                f"not a whole PaliGemma checkpoint: it has no parameter {path}", where=where, hint=_first_paths(arrays)
            )
        found = tuple(arrays[path].shape)
        if len(found) != axes:
            raise ConfigurationError(f"{path} has shape {found} where {axes} axes are expected", where=where)
        return found

    attention = "llm/layers/attn"
    if f"{attention}/qkv_einsum/w" in arrays:
        _, _, heads, width, head_dim = shape(f"{attention}/qkv_einsum/w", 5)
        kv_heads = heads
    else:
        _, heads, width, head_dim = shape(f"{attention}/q_einsum/w", 4)
        kv_heads = shape(f"{attention}/kv_einsum/w", 5)[2]
    depth, _, _, mlp_dim = shape("llm/layers/mlp/gating_einsum", 4)
    gemma2 = "llm/layers/post_attention_norm/scale" in arrays
    llm = GemmaConfig(
        width=width,
        depth=depth,
        mlp_dim=mlp_dim,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=shape("llm/embedder/input_embedding", 2)[0],
        attn_logits_softcap=50.0 if gemma2 else None,
        post_norms=gemma2,
        query_pre_attn_norm="rsqrt_emb_per_head" if gemma2 and head_dim == 128 else "rsqrt_head_dim",
    )
    blocks = "img/Transformer/encoderblock"
    img_depth, img_width, img_heads, _ = shape(f"{blocks}/MultiHeadDotProductAttention_0/query/kernel", 4)
    patch_size = shape("img/embedding/kernel", 4)[0]
    patches = shape("img/pos_embedding", 3)[1]
    if math.isqrt(patches) ** 2 != patches:
        raise ConfigurationError(f"img/pos_embedding has {patches} positions, which is no square", where=where)
    img = SiglipConfig(
        width=img_width,
        depth=img_depth,
        mlp_dim=shape(f"{blocks}/MlpBlock_0/Dense_0/kernel", 3)[2],
        num_heads=img_heads,
        patch_size=patch_size,
        image_size=math.isqrt(patches) * patch_size,
        num_classes=shape("img/head/kernel", 2)[1],
    )
    if problem := _impossible(img, llm):
        raise ConfigurationError(f"no model has these sizes: {problem}", where=where)
    return PaliGemmaConfig(img, llm)


def _impossible(img: SiglipConfig, llm: GemmaConfig) -> str | None:
    """Why sizes that were read cannot be a model's."""
    for part, sizes in (("img", dataclasses.asdict(img)), ("llm", dataclasses.asdict(llm))):
        for name, value in sizes.items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                return f"{part} {name} is {value}"
    if llm.num_heads % llm.num_kv_heads:
        return f"{llm.num_heads} query heads do not share {llm.num_kv_heads} key/value heads evenly"
    if llm.head_dim % 2:
        return f"heads are {llm.head_dim} wide, and rotary positions need an even number"
    if img.width % img.num_heads:
        return f"an image encoder {img.width} wide cannot have {img.num_heads} heads"
    return None


def _first_paths(arrays: Mapping[str, Any]) -> str:
    names = list(arrays)
    if not names:
        return "It holds no arrays"
    found = f"It has {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
    ours = any(name.startswith(("llm/", "img/")) for name in names)
    return f"{found}. If palitune saved it, the .json of its name has to be beside it" if ours else found


def expected(config: PaliGemmaConfig) -> dict[str, trees.Shape]:
    """Path and shape of every parameter of a model.

    They are those of `paligemma.init`, to which a test holds them; tracing that takes a second in every command.
    """
    llm, img = config.llm, config.img
    found = {
        "img/embedding/kernel": (img.patch_size, img.patch_size, 3, img.width),
        "img/embedding/bias": (img.width,),
        "img/pos_embedding": (1, img.num_patches, img.width),
        "img/head/kernel": (img.width, img.num_classes),
        "img/head/bias": (img.num_classes,),
        "llm/embedder/input_embedding": (llm.vocab_size, llm.width),
        "llm/final_norm/scale": (llm.width,),
    }
    found |= {f"img/Transformer/encoder_norm/{name}": (img.width,) for name in ("scale", "bias")}
    blocks, heads = "img/Transformer/encoderblock", (img.num_heads, img.width // img.num_heads)
    for name, shape in _block(img, heads).items():
        found[f"{blocks}/{name}"] = (img.depth, *shape)
    for name, shape in _layer(llm).items():
        found[f"llm/layers/{name}"] = (llm.depth, *shape)
    return {path: trees.Shape(found[path]) for path in sorted(found)}


def _block(img: SiglipConfig, heads: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Number of parameters of one block of the image encoder."""
    attention = "MultiHeadDotProductAttention_0"
    found: dict[str, tuple[int, ...]] = {
        "MlpBlock_0/Dense_0/kernel": (img.width, img.mlp_dim),
        "MlpBlock_0/Dense_0/bias": (img.mlp_dim,),
        "MlpBlock_0/Dense_1/kernel": (img.mlp_dim, img.width),
        "MlpBlock_0/Dense_1/bias": (img.width,),
        f"{attention}/out/kernel": (*heads, img.width),
        f"{attention}/out/bias": (img.width,),
    }
    for name in ("query", "key", "value"):
        found |= {f"{attention}/{name}/kernel": (img.width, *heads), f"{attention}/{name}/bias": heads}
    return found | {f"LayerNorm_{i}/{name}": (img.width,) for i in (0, 1) for name in ("scale", "bias")}


def _layer(llm: GemmaConfig) -> dict[str, tuple[int, ...]]:
    """Parameters of one layer of the language model."""
    found: dict[str, tuple[int, ...]] = {
        "attn/attn_vec_einsum/w": (llm.num_heads, llm.head_dim, llm.width),
        "mlp/gating_einsum": (2, llm.width, llm.mlp_dim),
        "mlp/linear": (llm.mlp_dim, llm.width),
    }
    if llm.num_kv_heads == llm.num_heads:
        found["attn/qkv_einsum/w"] = (3, llm.num_heads, llm.width, llm.head_dim)
    else:
        found["attn/q_einsum/w"] = (llm.num_heads, llm.width, llm.head_dim)
        found["attn/kv_einsum/w"] = (2, llm.num_kv_heads, llm.width, llm.head_dim)
    norms = ["pre_attention_norm", "pre_ffw_norm"]
    norms += ["post_attention_norm", "post_ffw_norm"] if llm.post_norms else []
    return found | {f"{name}/scale": (llm.width,) for name in norms}

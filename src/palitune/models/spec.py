"""Model families: a `ModelSpec` is all that differs between them, and the published ones are values in one table.

Another family is another value here, and in the layers only what no family computes yet.

Sources: big_vision's `models/ppp/gemma.py` (get_config), `models/vit.py` (So400m/14) and its PaliGemma configurations
(vocabulary: 256,000 + 1,024 location tokens + 128 segmentation tokens).
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from palitune import trees
from palitune.models import parameter_shapes
from palitune.models.parameter_shapes import Axes, GemmaSizes, Shaped, SiglipSizes

VOCAB_SIZE = 257_152
RESOLUTIONS = (224, 448, 896)


class LayerKind(NamedTuple):
    """What layers of one kind have in common beside their sizes."""

    rope_base: float = 10_000.0  # of the rotary positions: google-deepmind/gemma, positional_embeddings.py
    window: int | None = None  # how many tokens back a query sees, itself included; None is all of them


@dataclasses.dataclass(frozen=True)
class GemmaSpec(GemmaSizes):
    """One language model: its sizes, and what its layers compute that shapes do not tell."""

    attn_logits_softcap: float | None = None
    post_norms: bool = False  # a norm behind attention and MLP too
    # Queries are scaled by head_dim**-0.5, but by (width / num_heads)**-0.5 in Gemma 2 27B.
    query_pre_attn_norm: str = "rsqrt_head_dim"
    # The kinds of layers, a pattern that repeats: layer i is of the kind i modulo their number.
    kinds: tuple[LayerKind, ...] = (LayerKind(),)

    @property
    def query_scale(self) -> float:
        """What queries are multiplied by before they meet the keys."""
        if self.query_pre_attn_norm == "rsqrt_emb_per_head":
            return (self.width // self.num_heads) ** -0.5
        return self.head_dim**-0.5

    @property
    def axes(self) -> Axes:
        """Axes of every parameter, by its path behind `llm/`."""
        return parameter_shapes.gemma_axes(post_norms=self.post_norms, fused=self.num_kv_heads == self.num_heads)


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One model: its image encoder and its language model, and what goes with them."""

    img: SiglipSizes
    llm: GemmaSpec
    stored_dtype: str = "float32"  # in which its weights are published
    tokenizer: str | None = None  # name of its tokenizer in `hub.catalogue`
    big_vision: str | None = None  # name of the language model in the reference implementation


def _gemma2(width: int, depth: int, mlp_dim: int, heads: int, kv_heads: int, head_dim: int, scale: str) -> GemmaSpec:
    return GemmaSpec(width, depth, mlp_dim, heads, kv_heads, head_dim, VOCAB_SIZE, 50.0, True, scale)


def _paligemma(llm: GemmaSpec, stored_dtype: str, big_vision: str) -> ModelSpec:
    encoder = SiglipSizes(1152, 27, 4304, 16, 14, RESOLUTIONS[0], llm.width)
    return ModelSpec(encoder, llm, stored_dtype, "paligemma", big_vision)


# PaliGemma 1 has one size; PaliGemma 2 is named by the parameters of both parts together.
FAMILIES = {
    "paligemma-3b": _paligemma(GemmaSpec(2048, 18, 16_384, 8, 1, 256, VOCAB_SIZE), "float16", "gemma_2b"),
    "paligemma2-3b": _paligemma(_gemma2(2304, 26, 9_216, 8, 4, 256, "rsqrt_head_dim"), "bfloat16", "gemma2_2b"),
    "paligemma2-10b": _paligemma(_gemma2(3584, 42, 14_336, 16, 8, 256, "rsqrt_head_dim"), "bfloat16", "gemma2_9b"),
    "paligemma2-28b": _paligemma(
        _gemma2(4608, 46, 36_864, 32, 16, 128, "rsqrt_emb_per_head"), "bfloat16", "gemma2_27b"
    ),
}
# The model that ships with palitune.
TINY = ModelSpec(
    SiglipSizes(width=96, depth=3, mlp_dim=256, num_heads=4, patch_size=12, image_size=72, num_classes=96),
    GemmaSpec(width=96, depth=4, mlp_dim=288, num_heads=4, num_kv_heads=1, head_dim=32, vocab_size=512),
    "float16",
    "tiny",
)
KNOWN = (*FAMILIES.values(), TINY)


def published(family: str, resolution: int) -> ModelSpec:
    """A published model, for example `published("paligemma2-10b", 448)`."""
    spec = FAMILIES[family]
    return dataclasses.replace(spec, img=dataclasses.replace(spec.img, image_size=resolution))


def tokenizer_of(vocab_size: int) -> str | None:
    """The tokenizer of the known models with a vocabulary of this size."""
    return next((spec.tokenizer for spec in KNOWN if spec.llm.vocab_size == vocab_size), None)


def expected(spec: ModelSpec) -> dict[str, trees.Shape]:
    """Path and shape of every parameter of a model.

    They are those of `paligemma.init`, to which a test holds them; tracing that takes a second in every command.
    """
    found = {
        f"img/{path}": shape
        for path, shape in parameter_shapes.shapes(parameter_shapes.siglip_axes(), spec.img).items()
    }
    found |= {f"llm/{path}": shape for path, shape in parameter_shapes.shapes(spec.llm.axes, spec.llm).items()}
    return {path: trees.Shape(found[path]) for path in sorted(found)}


def read(arrays: Mapping[str, Shaped], where: str | None = None) -> ModelSpec:
    """The model that a flat dict of arrays holds: a known one, or one of other sizes that computes as a known one does.

    Which parameters there are tells the family; what shapes do not tell is that of the known model of the same sizes,
    or else that of the family's first.

    Args:
      where: the checkpoint's name, for errors.

    Raises:
      ConfigurationError: when a parameter that tells a size is missing or has the wrong number of axes, or the sizes
        are not those of a model.
    """
    family, axes = _family(arrays)
    found = dataclasses.asdict(parameter_shapes.gemma_sizes(axes, arrays, where))
    encoder = parameter_shapes.siglip_sizes(arrays, where)
    known = [spec.llm for spec in KNOWN if spec.llm.post_norms == family.post_norms]
    as_large = (llm for llm in known if llm == dataclasses.replace(llm, **{**found, "vocab_size": llm.vocab_size}))
    llm = dataclasses.replace(next(as_large, family), **found)
    for spec in KNOWN:
        if spec.llm == llm:
            return dataclasses.replace(spec, img=encoder)
    return ModelSpec(encoder, llm, tokenizer=tokenizer_of(llm.vocab_size))


def _family(arrays: Mapping[str, Shaped]) -> tuple[GemmaSpec, Axes]:
    """The first known language model that has most of the parameters that are there, and their axes."""
    layouts = [
        (spec.llm, parameter_shapes.gemma_axes(post_norms=spec.llm.post_norms, fused=fused))
        for spec in KNOWN
        for fused in (False, True)
    ]
    return max(layouts, key=lambda layout: sum(f"llm/{path}" in arrays for path in layout[1]))

"""The published model families as `ModelSpec`s, and which of them a checkpoint's parameters are.

Sources: big_vision's `models/ppp/gemma.py` (get_config), `models/vit.py` (So400m/14) and its PaliGemma configurations
(vocabulary: 256,000 + 1,024 location tokens + 128 segmentation tokens); google-deepmind/gemma, `gm/nn/gemma/` for the
sizes of Gemma 1, 2 and 3; the Gemma 3 report, https://arxiv.org/abs/2503.19786, for its layers and positions.
"""

import dataclasses
from collections.abc import Mapping

from palitune.models import parameter_shapes
from palitune.models.parameter_shapes import Axes, Shaped, SiglipSizes
from palitune.models.spec import GEMMA, PALIGEMMA, SHIELDGEMMA, GemmaSpec, LayerKind, ModelSpec

PALIGEMMA_VOCABULARY = 257_152
RESOLUTIONS = (224, 448, 896)  # pixels
GEMMA2_WINDOW = 4096  # tokens


def _gemma2(
    width: int, depth: int, mlp_dim: int, heads: int, kv_heads: int, head_dim: int, scalar: float | None = None
) -> GemmaSpec:
    """The language model of PaliGemma 2 as big_vision computes it: every layer sees all tokens, logits are not capped.

    Its sequences are shorter than the window of Gemma 2's local layers.
    """
    return GemmaSpec(
        width,
        depth,
        mlp_dim,
        heads,
        kv_heads,
        head_dim,
        PALIGEMMA_VOCABULARY,
        attn_logits_softcap=50.0,
        post_norms=True,
        query_pre_attn_scalar=scalar,
    )


def _paligemma(llm: GemmaSpec, stored_dtype: str, big_vision: str) -> ModelSpec:
    encoder = SiglipSizes(1152, 27, 4304, 16, 14, RESOLUTIONS[0], llm.width)
    return ModelSpec(encoder, llm, stored_dtype, "paligemma", big_vision, PALIGEMMA)


def _text(llm: GemmaSpec, tokenizer: str) -> ModelSpec:
    return ModelSpec(None, llm, "bfloat16", tokenizer, template=GEMMA)


def _gemma2_text(paligemma: GemmaSpec) -> ModelSpec:
    """Gemma 2 itself: every other layer sees a window only, and logits are capped."""
    llm = dataclasses.replace(
        paligemma,
        vocab_size=256_000,
        kinds=(LayerKind(window=GEMMA2_WINDOW), LayerKind()),
        pattern=(0, 1),
        final_logits_softcap=30.0,
    )
    return _text(llm, "gemma2")


def _gemma3(
    width: int,
    depth: int,
    mlp_dim: int,
    heads: int,
    kv_heads: int,
    *,
    head_dim: int = 256,
    scalar: float | None = None,
    window: int = 1024,
    factor: float = 1.0,
    vocabulary: int = 262_144,
) -> GemmaSpec:
    """Five local layers to a global one, whose rotary positions turn slower."""
    return GemmaSpec(
        width,
        depth,
        mlp_dim,
        heads,
        kv_heads,
        head_dim,
        vocabulary,
        post_norms=True,
        query_pre_attn_scalar=scalar,
        kinds=(LayerKind(10_000.0, window), LayerKind(1_000_000.0, rope_factor=factor)),
        pattern=(0, 0, 0, 0, 0, 1),
        qk_norms=True,
    )


def _gemma3_with_images(llm: GemmaSpec, template: str = GEMMA) -> ModelSpec:
    encoder = SiglipSizes(1152, 27, 4304, 16, 14, 896, llm.width, pool=4)
    return ModelSpec(encoder, llm, "bfloat16", "gemma3", template=template)


GEMMA3_4B = _gemma3(2560, 34, 10_240, 8, 4, factor=8.0, vocabulary=262_208)
PALIGEMMA2 = {
    "2b": _gemma2(2304, 26, 9_216, 8, 4, 256),
    "9b": _gemma2(3584, 42, 14_336, 16, 8, 256),
    "27b": _gemma2(4608, 46, 36_864, 32, 16, 128, 144.0),
}
# PaliGemma 1 has one size; PaliGemma 2 is named by the parameters of both parts together.
PALIGEMMAS = {
    "paligemma-3b": _paligemma(GemmaSpec(2048, 18, 16_384, 8, 1, 256, PALIGEMMA_VOCABULARY), "float16", "gemma_2b"),
    "paligemma2-3b": _paligemma(PALIGEMMA2["2b"], "bfloat16", "gemma2_2b"),
    "paligemma2-10b": _paligemma(PALIGEMMA2["9b"], "bfloat16", "gemma2_9b"),
    "paligemma2-28b": _paligemma(PALIGEMMA2["27b"], "bfloat16", "gemma2_27b"),
}
FAMILIES = {
    **PALIGEMMAS,
    "gemma-2b": _text(GemmaSpec(2048, 18, 16_384, 8, 1, 256, 256_000), "gemma1"),
    "gemma-7b": _text(GemmaSpec(3072, 28, 24_576, 16, 16, 256, 256_000), "gemma1"),
    **{f"gemma2-{size}": _gemma2_text(llm) for size, llm in PALIGEMMA2.items()},
    "gemma3-270m": _text(_gemma3(640, 18, 2_048, 4, 1, window=512), "gemma3"),
    "gemma3-1b": _text(_gemma3(1152, 26, 6_912, 4, 1, window=512), "gemma3"),
    "gemma3-4b": _gemma3_with_images(GEMMA3_4B),
    "gemma3-12b": _gemma3_with_images(_gemma3(3840, 48, 15_360, 16, 8, factor=8.0, vocabulary=262_208)),
    "gemma3-27b": _gemma3_with_images(
        _gemma3(5376, 62, 21_504, 32, 16, head_dim=128, scalar=168.0, factor=8.0, vocabulary=262_208)
    ),
    "shieldgemma2-4b": _gemma3_with_images(GEMMA3_4B, SHIELDGEMMA),
}
# The models that ship with palitune.
TINY = ModelSpec(
    SiglipSizes(width=96, depth=3, mlp_dim=256, num_heads=4, patch_size=12, image_size=72, num_classes=96),
    GemmaSpec(width=96, depth=4, mlp_dim=288, num_heads=4, num_kv_heads=1, head_dim=32, vocab_size=512),
    "float16",
    "tiny",
)
# A Gemma 3 with images: narrow windows, so that its local layers do not see a whole example.
TINY3 = ModelSpec(
    SiglipSizes(width=96, depth=3, mlp_dim=256, num_heads=4, patch_size=12, image_size=72, num_classes=96, pool=2),
    _gemma3(96, 6, 288, 4, 2, head_dim=32, window=24, factor=8.0, vocabulary=520),
    "bfloat16",
    "tiny3",
    template=GEMMA,
)
# A Gemma 3 of text alone; windows as narrow.
TINYTEXT = _text(_gemma3(96, 6, 288, 4, 2, head_dim=32, window=24, factor=8.0, vocabulary=2048), "tinytext")
# What is told from shapes alone, in a `.npz`: those of big_vision's names, whose sequences begin with the image.
KNOWN = (*PALIGEMMAS.values(), TINY)


def published(family: str, resolution: int | None = None) -> ModelSpec:
    """A published model, for example `published("paligemma2-10b", 448)`; a family has a resolution of its own."""
    spec = FAMILIES[family]
    if resolution is None or spec.img is None:
        return spec
    return dataclasses.replace(spec, img=dataclasses.replace(spec.img, image_size=resolution))


def variants() -> list[str]:
    """The names of all published variants: a PaliGemma's ends with its resolution in pixels."""
    return [
        name
        for family in FAMILIES
        for name in ([f"{family}-{pixels}" for pixels in RESOLUTIONS] if family in PALIGEMMAS else [family])
    ]


def variant(name: str) -> ModelSpec | None:
    """A published variant by its name in `variants`, or None."""
    if name not in variants():
        return None
    if name in FAMILIES:
        return FAMILIES[name]
    family, _, pixels = name.rpartition("-")
    return published(family, int(pixels))


def tokenizer_of(vocab_size: int) -> str | None:
    """The tokenizer that a vocabulary of this size tells: of PaliGemmas, and of the models that ship with palitune."""
    return next((spec.tokenizer for spec in (*KNOWN, TINY3, TINYTEXT) if spec.llm.vocab_size == vocab_size), None)


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

"""A model's `config.json` as the `transformers` library has it, read as a `ModelSpec`.

Published files leave out most of what is the library's default, and versions before 5 named some settings otherwise.
Source: transformers 5.24, `configuration_*.py` of gemma, gemma2, gemma3, paligemma, shieldgemma2 and siglip, with
what these convert from older files.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from palitune.checkpoint.json_settings import Settings
from palitune.errors import BadDataError, ConfigurationError
from palitune.models import spec_limits
from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import GEMMA, PALIGEMMA, SHIELDGEMMA, GemmaSpec, LayerKind, ModelSpec
from palitune.models.spec_limits import DEEPEST

GEMMA1, GEMMA2, GEMMA3 = "gemma", "gemma2", "gemma3_text"  # model types of language models
GEMMA3_IMAGES, SHIELDGEMMA2, PALIGEMMAS = "gemma3", "shieldgemma2", "paligemma"  # and of those with an image encoder
LOCAL, GLOBAL = "sliding_attention", "full_attention"
EPSILON = 1e-6  # that every norm adds to a variance
GELU = "gelu_pytorch_tanh"
DTYPES = ("float32", "float16", "bfloat16")


class Family(NamedTuple):
    """What there is of one `model_type`.

    Attributes:
      architectures: the first is what is written; the others have the same tensors.
      language_models: the model types that its language model can be of; the first is the default.
    """

    architectures: tuple[str, ...]
    language_models: tuple[str, ...]
    template: str
    tokenizer: str


FAMILIES = {
    GEMMA1: Family(("GemmaForCausalLM", "GemmaModel"), (GEMMA1,), GEMMA, "gemma1"),
    GEMMA2: Family(("Gemma2ForCausalLM", "Gemma2Model"), (GEMMA2,), GEMMA, "gemma2"),
    GEMMA3: Family(("Gemma3ForCausalLM", "Gemma3TextModel"), (GEMMA3,), GEMMA, "gemma3"),
    GEMMA3_IMAGES: Family(("Gemma3ForConditionalGeneration", "Gemma3Model"), (GEMMA3,), GEMMA, "gemma3"),
    SHIELDGEMMA2: Family(("ShieldGemma2ForImageClassification",), (GEMMA3,), SHIELDGEMMA, "gemma3"),
    PALIGEMMAS: Family(
        ("PaliGemmaForConditionalGeneration", "PaliGemmaModel"), (GEMMA1, GEMMA2), PALIGEMMA, "paligemma"
    ),
}
# What transformers takes for a key that a file does not have.
_TEXT: dict[str, object] = {"head_dim": 256, "rms_norm_eps": EPSILON, "attention_bias": False}
_GEMMA2: dict[str, object] = {
    **_TEXT,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "hidden_activation": GELU,
    "rope_theta": 10_000.0,
}
TEXT_DEFAULTS: dict[str, dict[str, object]] = {
    GEMMA1: {
        **_TEXT,
        "vocab_size": 256_000,
        "hidden_size": 3072,
        "intermediate_size": 24_576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "hidden_act": GELU,
        "rope_theta": 10_000.0,
    },
    GEMMA2: {**_GEMMA2, "vocab_size": 256_000, "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
    GEMMA3: {**_GEMMA2, "vocab_size": 262_208, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0},
}
VISION_DEFAULTS: dict[str, object] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 16,
    "hidden_act": GELU,
    "layer_norm_eps": EPSILON,
}
IMAGE_TOKENS = 256  # Gemma 3's `mm_tokens_per_image`


def read(config: Mapping[str, object], where: str) -> ModelSpec:
    """The model that a `config.json` describes.

    Args:
      config: the whole file's object.
      where: the file's name, for errors.

    Raises:
      ConfigurationError: no such model can be read, or a setting has a value that is not computed.
      BadDataError: a value is of the wrong kind, or values contradict each other.
    """
    top = Settings(config, where)
    name, family = _family(top)
    has_images = name in (GEMMA3_IMAGES, SHIELDGEMMA2, PALIGEMMAS)
    text = _text_settings(top, family) if has_images else Settings(config, where, TEXT_DEFAULTS[name])
    _refuse_quantised(top, text)
    llm_type = text.text("model_type") if has_images else name
    _refuse_uncomputed(text, llm_type, name == PALIGEMMAS)
    llm = _language_model(text, llm_type, _tied(top, text, name))
    if name in (GEMMA3_IMAGES, SHIELDGEMMA2) and llm.final_logits_softcap is not None:
        # Versions of transformers disagree on whether it has an effect.
        raise _not_computed(text, "final_logit_softcapping")
    img = _image_encoder(top, llm.width, name) if has_images else None
    found = ModelSpec(img, llm, _dtype(top, text), family.tokenizer, None, family.template)
    if what := spec_limits.problem(found):
        raise BadDataError(f"there is no such model: {what}", where=where)
    return found


def _family(top: Settings) -> tuple[str, Family]:
    known = ", ".join(family.architectures[0] for family in FAMILIES.values())
    hint = f"What can be read: {known}"
    architectures = top.texts("architectures", 100)
    if top["model_type"] is None and not architectures:
        raise BadDataError("it has no model_type and no architectures", where=top.where, hint=hint)
    name = top.text("model_type") if top["model_type"] is not None else _named_by(architectures)
    family = FAMILIES.get(name)
    if family is None or not set(architectures) <= set(family.architectures):
        what = ", ".join(architectures) if architectures else name
        raise ConfigurationError(f"{what[:200]} is not a model that palitune reads", where=top.where, hint=hint)
    return name, family


def _named_by(architectures: Sequence[str]) -> str:
    named = (name for name, family in FAMILIES.items() if set(architectures) <= set(family.architectures))
    return next(named, "")


def _text_settings(top: Settings, family: Family) -> Settings:
    """The language model's settings, with the defaults of its own model type."""
    given = top.part("text_config", {"model_type": family.language_models[0]})
    kind = given.text("model_type")
    if kind not in family.language_models:
        raise _not_computed(given, "model_type")
    if not given.values:
        raise BadDataError("it has no text_config", where=top.where)
    return top.part("text_config", {**TEXT_DEFAULTS[kind], "model_type": kind})


def _refuse_quantised(*parts: Settings) -> None:
    for settings in parts:
        if settings["quantization_config"] is not None:
            quantised = settings.part("quantization_config", {"quant_method": "an unknown method"})
            what = f"its weights are quantised with {quantised.text('quant_method')[:100]}, and cannot be read"
            hint = "Take the unquantised files of the model, which its model card names"
            raise ConfigurationError(what, where=settings.where, hint=hint)


def _not_computed(settings: Settings, key: str) -> ConfigurationError:
    what = f"{settings.named(key)} is {str(settings[key])[:60]!r}, which palitune does not compute"
    return ConfigurationError(what, where=settings.where)


def _refuse_uncomputed(text: Settings, kind: str, is_paligemma: bool) -> None:
    """Raises ConfigurationError for a setting of the language model whose value is not the one that is computed."""
    if text.number("rms_norm_eps") != EPSILON:
        raise _not_computed(text, "rms_norm_eps")
    if text.flag("attention_bias"):
        raise _not_computed(text, "attention_bias")
    # Of Gemma 1, version 5 computes hidden_act; versions before took hidden_activation where it was there.
    keys, known = ["hidden_activation"], [GELU]
    if kind == GEMMA1:
        keys = ["hidden_act", *(keys if text["hidden_activation"] is not None else [])]
        known.append("gelu")  # as it was published, by which transformers understands the approximation too
    for key in keys:
        if text.text(key) not in known:
            raise _not_computed(text, key)
    # PaliGemma's prefix sees itself; its text_config may say so.
    if (text["use_bidirectional_attention"] is not None) and text.flag("use_bidirectional_attention") != is_paligemma:
        raise _not_computed(text, "use_bidirectional_attention")


def _tied(top: Settings, text: Settings, name: str) -> bool:
    """Whether the embedding table is the output layer too: by default it is."""
    said = {
        settings.flag("tie_word_embeddings") for settings in (top, text) if settings["tie_word_embeddings"] is not None
    }
    if len(said) == 2 and name != SHIELDGEMMA2:  # whose own false means nothing where the text's is true
        what = "tie_word_embeddings is true in one place, and false in another"
        raise BadDataError(what, where=top.where)
    return True in said or not said


def _language_model(text: Settings, kind: str, tied: bool) -> GemmaSpec:
    heads, head_dim = text.size("num_attention_heads"), text.size("head_dim")
    kinds, pattern = _layers(text, kind)
    scalar = text.number("query_pre_attn_scalar") if kind != GEMMA1 else head_dim
    return GemmaSpec(
        width=text.size("hidden_size"),
        depth=text.size("num_hidden_layers", DEEPEST),
        mlp_dim=text.size("intermediate_size"),
        num_heads=heads,
        num_kv_heads=text.size("num_key_value_heads"),
        head_dim=head_dim,
        vocab_size=text.size("vocab_size"),
        # Gemma 3's configuration has it too, and transformers' attention of Gemma 3 ignores it.
        attn_logits_softcap=text.number_or_none("attn_logit_softcapping") if kind == GEMMA2 else None,
        post_norms=kind != GEMMA1,
        query_pre_attn_scalar=None if scalar == head_dim else scalar,
        kinds=kinds,
        pattern=pattern,
        final_logits_softcap=text.number_or_none("final_logit_softcapping") if kind != GEMMA1 else None,
        qk_norms=kind == GEMMA3,
        tied=tied,
    )


def _layers(text: Settings, kind: str) -> tuple[tuple[LayerKind, ...], tuple[int, ...]]:
    """The kinds of layers, local before global, and the shortest pattern that gives each layer its kind."""
    types = _layer_types(text, kind)
    present = [name for name in (LOCAL, GLOBAL) if name in types]
    window = text.size("sliding_window") if LOCAL in present else None
    ropes = [_rope_of(text, kind, name) for name in present]
    kinds = tuple(
        LayerKind(base, window if name == LOCAL else None, factor)
        for name, (base, factor) in zip(present, ropes, strict=True)
    )
    numbers = [present.index(name) for name in types]
    length = next(
        n for n in range(1, len(numbers) + 1) if all(numbers[i] == numbers[i % n] for i in range(len(numbers)))
    )
    return kinds, tuple(numbers[:length])


def _layer_types(text: Settings, kind: str) -> tuple[str, ...]:
    """Of each layer whether it is local or global."""
    depth = text.size("num_hidden_layers", DEEPEST)
    if kind == GEMMA1:
        return (GLOBAL,) * depth
    if text["layer_types"] is not None:
        types = text.texts("layer_types", DEEPEST)
        if len(types) != depth:
            raise BadDataError(f"layer_types has {len(types)} of {depth} layers", where=text.where)
        if other := sorted(set(types) - {LOCAL, GLOBAL}):
            what = f"{text.named('layer_types')} has {other[0][:60]!r}, which palitune does not compute"
            raise ConfigurationError(what, where=text.where)
        return types
    every = 2
    if kind == GEMMA3:
        # Published files have `_sliding_window_pattern` too, beside layer_types; without these it is not read.
        every = text.size("sliding_window_pattern", DEEPEST) if text["sliding_window_pattern"] is not None else 6
    return tuple(LOCAL if (layer + 1) % every else GLOBAL for layer in range(depth))


def _rope_of(text: Settings, kind: str, layers: str) -> tuple[float, float]:
    """Base and factor of the rotary positions of one type of layers.

    Since version 5 `rope_parameters` has them, and for Gemma 3 an object for each type of layers; before, there were
    `rope_theta`, `rope_local_base_freq` and `rope_scaling`, which has an effect beside them still.
    """
    base = "rope_local_base_freq" if kind == GEMMA3 and layers == LOCAL else "rope_theta"
    given = text.part("rope_parameters")
    if kind == GEMMA3:
        if given.values and not set(given.values) & {LOCAL, GLOBAL}:
            what = f"{text.named('rope_parameters')} has nothing for {GLOBAL} and {LOCAL}"
            raise BadDataError(what, where=text.where)
        given = given.part(layers)
    scaling = text.part("rope_scaling") if layers == GLOBAL or kind != GEMMA3 else Settings({}, text.where)
    values = {**given.values, **scaling.values} if kind == GEMMA3 else scaling.values or given.values
    within = (scaling if scaling.values else given).within
    return _rope(Settings(values, text.where, {"rope_theta": text[base]}, within))


def _rope(rope: Settings) -> tuple[float, float]:
    keys = [key for key in ("rope_type", "type") if rope[key] is not None]
    kind = rope.text(keys[0]) if keys else "default"
    if kind not in ("default", "linear"):
        raise _not_computed(rope, keys[0])
    if rope["partial_rotary_factor"] is not None and rope.number("partial_rotary_factor") != 1:
        raise _not_computed(rope, "partial_rotary_factor")
    return rope.number("rope_theta"), rope.number("factor") if kind == "linear" else 1.0


def _image_encoder(top: Settings, width: int, name: str) -> SiglipSizes:
    vision = top.part("vision_config", VISION_DEFAULTS)
    if not vision.values:
        raise BadDataError("it has no vision_config", where=top.where)
    for key in ("model_type", "hidden_act", "num_channels", "layer_norm_eps"):
        if vision[key] != VISION_DEFAULTS[key]:
            raise _not_computed(vision, key)
    if name == PALIGEMMAS:
        for settings in (top, vision):
            if settings["projection_dim"] is not None and settings.size("projection_dim") != width:
                raise settings.wrong("projection_dim", f"{width}, the width of the language model")
    image_size, patch_size = vision.size("image_size"), vision.size("patch_size")
    return SiglipSizes(
        width=vision.size("hidden_size"),
        depth=vision.size("num_hidden_layers", DEEPEST),
        mlp_dim=vision.size("intermediate_size"),
        num_heads=vision.size("num_attention_heads"),
        patch_size=patch_size,
        image_size=image_size,
        num_classes=width,
        pool=1 if name == PALIGEMMAS else _pool(top, image_size // patch_size),
    )


def _pool(top: Settings, side: int) -> int:
    """Patches a side that become one token."""
    tokens = Settings(top.values, top.where, {"mm_tokens_per_image": IMAGE_TOKENS})
    count = tokens.size("mm_tokens_per_image")
    tokens_a_side = math.isqrt(count)
    if tokens_a_side**2 != count or tokens_a_side >= side or side % tokens_a_side:
        raise tokens.wrong("mm_tokens_per_image", f"a square that {side} patches a side are pooled to")
    return side // tokens_a_side


def _dtype(*parts: Settings) -> str:
    """In which dtype the weights are said to be; the tensors have the last word."""
    for settings in parts:
        for key in ("dtype", "torch_dtype"):
            if settings[key] is not None:
                found = settings.text(key)
                if found not in DTYPES:
                    raise _not_computed(settings, key)
                return found
    return DTYPES[0]

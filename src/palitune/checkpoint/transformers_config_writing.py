"""A `ModelSpec` as the `config.json` that the `transformers` library reads, version 5 and those before it.

What versions name differently is there under both names; each ignores the other's.
"""

import dataclasses
from collections.abc import Mapping

from palitune.checkpoint import transformers_config
from palitune.checkpoint.transformers_config import (
    EPSILON,
    FAMILIES,
    GELU,
    GEMMA1,
    GEMMA2,
    GEMMA3,
    GEMMA3_IMAGES,
    GLOBAL,
    LOCAL,
    PALIGEMMAS,
    SHIELDGEMMA2,
    TEXT_DEFAULTS,
    VISION_DEFAULTS,
)
from palitune.errors import ConfigurationError
from palitune.models import families
from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import SHIELDGEMMA, GemmaSpec, LayerKind, ModelSpec

Json = dict[str, object]
DROPPED = ("_name_or_path", "dtype", "torch_dtype")  # of a source: where its files were, and other weights' dtype
# Numbers of special tokens, and what else no spec tells, of models whose own file is not at hand.
_TEXT: Json = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
_IMAGES: Json = {"boi_token_index": 255_999, "eoi_token_index": 256_000, "image_token_index": 262_144}


def write(spec: ModelSpec, dtype: str, source: Mapping[str, object] | None = None) -> Json:
    """The object to write as `config.json`.

    Args:
      dtype: of the weights beside it.
      source: the file that the model was read from, which says what a spec does not, such as special tokens.

    Raises:
      ConfigurationError: transformers has no such model.
    """
    name = model_type(spec)
    llm_type = _language_model_type(spec.llm)
    text = _text(spec.llm, llm_type)
    made: Json = {
        "architectures": [FAMILIES[name].architectures[0]],
        "model_type": name,
        "tie_word_embeddings": spec.llm.tied,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if spec.img is None:
        made = _merged({**_TEXT, **text, **made}, source)
    else:
        given = source or {}
        made |= {
            "text_config": _merged({**_TEXT, **text}, _object(given.get("text_config"))),
            "vision_config": _merged(_vision(spec.img, name), _object(given.get("vision_config"))),
        }
        made = _merged({**_of_both(spec, spec.img, name), **made}, source)
    _check(made, spec)
    return made


def model_type(spec: ModelSpec) -> str:
    """The `model_type` of the file of a model."""
    if spec.img is None:
        return _language_model_type(spec.llm)
    if spec.img.pool > 1:
        return SHIELDGEMMA2 if spec.template == SHIELDGEMMA else GEMMA3_IMAGES
    return PALIGEMMAS


def _language_model_type(llm: GemmaSpec) -> str:
    return GEMMA3 if llm.qk_norms else GEMMA2 if llm.post_norms else GEMMA1


def _merged(made: Json, source: Mapping[str, object] | None) -> Json:
    """What the source says beside, and what was made: of defaults the source's values, of all else the made ones."""
    defaults = {**_TEXT, **_IMAGES}
    kept = {key: value for key, value in (source or {}).items() if key not in made or key in defaults}
    return dict(sorted((made | {key: kept[key] for key in kept if key not in DROPPED}).items()))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(llm: GemmaSpec, kind: str) -> Json:
    settings: Json = {
        "model_type": kind,
        "vocab_size": llm.vocab_size,
        "hidden_size": llm.width,
        "intermediate_size": llm.mlp_dim,
        "num_hidden_layers": llm.depth,
        "num_attention_heads": llm.num_heads,
        "num_key_value_heads": llm.num_kv_heads,
        "head_dim": llm.head_dim,
        "rms_norm_eps": EPSILON,
        "attention_bias": False,
        "tie_word_embeddings": llm.tied,
        "hidden_act" if kind == GEMMA1 else "hidden_activation": GELU,
    }
    if kind != GEMMA1:
        settings["query_pre_attn_scalar"] = _whole(llm.query_pre_attn_scalar or llm.head_dim)
        settings["attn_logit_softcapping"] = llm.attn_logits_softcap
        settings["final_logit_softcapping"] = llm.final_logits_softcap
        settings |= _layers(llm, kind)
    return settings | _rope(llm, kind)


def _whole(value: float) -> float:
    """A whole number as an int, which transformers asks for."""
    return int(value) if value == int(value) else value


def _layers(llm: GemmaSpec, kind: str) -> Json:
    """Which layers have a window; versions before 4.53 know a number of layers only, of which the last has none."""
    windows = [llm.kinds[number].window for number in llm.kind_of_layers]
    local = next((window for window in windows if window is not None), TEXT_DEFAULTS[kind]["sliding_window"])
    settings: Json = {
        "layer_types": [GLOBAL if window is None else LOCAL for window in windows],
        "sliding_window": local,
    }
    if kind == GEMMA3:
        settings["sliding_window_pattern"] = windows.index(None) + 1 if None in windows else llm.depth + 1
    return settings


def _rope(llm: GemmaSpec, kind: str) -> Json:
    of = {GLOBAL if one.window is None else LOCAL: one for one in llm.kinds}
    if kind != GEMMA3:
        first = llm.kinds[0]
        return {"rope_parameters": _rope_of(first), "rope_theta": first.rope_base, "rope_scaling": _scaling(first)}
    defaults = TEXT_DEFAULTS[GEMMA3]
    wide = of.get(GLOBAL, LayerKind(float(str(defaults["rope_theta"]))))
    near = of.get(LOCAL, LayerKind(float(str(defaults["rope_local_base_freq"]))))
    return {
        "rope_parameters": {GLOBAL: _rope_of(wide), LOCAL: _rope_of(near)},
        "rope_theta": wide.rope_base,
        "rope_local_base_freq": near.rope_base,
        "rope_scaling": _scaling(wide),
    }


def _rope_of(kind: LayerKind) -> Json:
    return {"rope_theta": kind.rope_base, **(_scaling(kind) or {"rope_type": "default"})}


def _scaling(kind: LayerKind) -> Json | None:
    return {"rope_type": "linear", "factor": kind.rope_factor} if kind.rope_factor != 1 else None


def _vision(img: SiglipSizes, name: str) -> Json:
    settings: Json = {
        **VISION_DEFAULTS,
        "hidden_size": img.width,
        "intermediate_size": img.mlp_dim,
        "num_hidden_layers": img.depth,
        "num_attention_heads": img.num_heads,
        "image_size": img.image_size,
        "patch_size": img.patch_size,
        "vision_use_head": False,
    }
    return settings | ({"projection_dim": img.num_classes} if name == PALIGEMMAS else {})


def _of_both(spec: ModelSpec, img: SiglipSizes, name: str) -> Json:
    if name != PALIGEMMAS:
        return {**_IMAGES, "mm_tokens_per_image": img.num_tokens}
    # The image's token is the first that no text has, whether or not the table has a row for it.
    image = min(spec.llm.vocab_size, families.PALIGEMMA_VOCABULARY)
    widths = {"hidden_size": spec.llm.width, "projection_dim": img.num_classes}
    return {**widths, "vocab_size": spec.llm.vocab_size, "image_token_index": image}


def _check(made: Json, spec: ModelSpec) -> None:
    """Raises ConfigurationError unless the file that was made is read as the model that it was made of."""
    read = transformers_config.read(made, "config.json")
    if dataclasses.replace(read, tokenizer=spec.tokenizer, big_vision=spec.big_vision) != dataclasses.replace(
        spec, stored_dtype=read.stored_dtype, template=read.template
    ):
        what = f"transformers has no {FAMILIES[model_type(spec)].architectures[0]} that computes what this model does"
        raise ConfigurationError(what)

"""config.json of Hugging Face models: read as a ModelSpec, and written of one."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import GOLDEN

from palitune.checkpoint import transformers_config, transformers_config_writing
from palitune.errors import BadDataError, ConfigurationError, PalituneError
from palitune.models import families
from palitune.models.spec import LayerKind, ModelSpec

HF = GOLDEN / "hf"
NAMES = sorted(path.parent.name for path in HF.glob("*/config.json"))
VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "vision_use_head": False,
}
# As they were published, of which the keys that are read are left: what is missing is the library's default.
PUBLISHED: dict[str, dict[str, Any]] = {
    "gemma-2b": {
        "architectures": ["GemmaForCausalLM"],
        "attention_bias": False,
        "head_dim": 256,
        "hidden_act": "gelu",
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "model_type": "gemma",
        "num_attention_heads": 8,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "torch_dtype": "bfloat16",
        "vocab_size": 256000,
    },
    "gemma-7b": {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", "torch_dtype": "bfloat16"},
    "gemma2-2b": {
        "architectures": ["Gemma2ForCausalLM"],
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "model_type": "gemma2",
        "num_attention_heads": 8,
        "num_hidden_layers": 26,
        "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "torch_dtype": "bfloat16",
        "vocab_size": 256000,
    },
    "gemma2-27b": {
        "architectures": ["Gemma2ForCausalLM"],
        "head_dim": 128,
        "hidden_size": 4608,
        "intermediate_size": 36864,
        "model_type": "gemma2",
        "num_attention_heads": 32,
        "num_hidden_layers": 46,
        "num_key_value_heads": 16,
        "query_pre_attn_scalar": 144,
        "sliding_window": 4096,
        "torch_dtype": "bfloat16",
    },
    "gemma3-270m": {
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3ForCausalLM"],
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "torch_dtype": "bfloat16",
        "use_bidirectional_attention": False,
        "vocab_size": 262144,
    },
    "gemma3-1b": {
        "architectures": ["Gemma3ForCausalLM"],
        "attn_logit_softcapping": None,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": None,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "torch_dtype": "bfloat16",
        "vocab_size": 262144,
    },
    "gemma3-4b": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255999,
        "eoi_token_index": 256000,
        "eos_token_id": [1, 106],
        "image_token_index": 262144,
        "mm_tokens_per_image": 256,
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {**VISION, "image_size": 896},
    },
    "gemma3-27b": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "head_dim": 128,
            "hidden_size": 5376,
            "intermediate_size": 21504,
            "model_type": "gemma3_text",
            "num_attention_heads": 32,
            "num_hidden_layers": 62,
            "num_key_value_heads": 16,
            "query_pre_attn_scalar": 168,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {**VISION, "image_size": 896},
    },
    "shieldgemma2-4b": {
        "architectures": ["ShieldGemma2ForImageClassification"],
        "mm_tokens_per_image": 256,
        "model_type": "shieldgemma2",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {**VISION, "image_size": 896},
    },
    "paligemma-3b": {
        "_vocab_size": 257152,
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "hidden_size": 2048,
        "ignore_index": -100,
        "image_token_index": 257152,
        "model_type": "paligemma",
        "projection_dim": 2048,
        "text_config": {
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "model_type": "gemma",
            "num_attention_heads": 8,
            "num_hidden_layers": 18,
            "num_image_tokens": 256,
            "num_key_value_heads": 1,
            "torch_dtype": "float32",
            "vocab_size": 257216,
        },
        "torch_dtype": "float32",
        "vision_config": {
            **VISION,
            "num_image_tokens": 256,
            "projection_dim": 2048,
            "projector_hidden_act": "gelu_fast",
        },
    },
    "paligemma2-3b": {
        "_vocab_size": 257152,
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "hidden_size": 2304,
        "image_token_index": 257152,
        "model_type": "paligemma",
        "num_hidden_layers": 26,
        "projection_dim": 2304,
        "text_config": {
            "architectures": ["Gemma2ForCausalLM"],
            "attn_logit_softcapping": 50.0,
            "cache_implementation": "hybrid",
            "eos_token_id": [1, 107],
            "final_logit_softcapping": 30.0,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "model_type": "gemma2",
            "num_hidden_layers": 26,
            "num_image_tokens": 256,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "torch_dtype": "float32",
            "vocab_size": 257216,
        },
        "torch_dtype": "bfloat16",
        "vision_config": {**VISION, "num_image_tokens": 256, "num_positions": 256, "projection_dim": 2304},
    },
}


def read(config: dict[str, Any]) -> ModelSpec:
    return transformers_config.read(config, "config.json")


def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HF / name / "config.json").read_text())
    return content


def changed(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with another value at `text_config.head_dim`; `...` takes the key away."""
    config = json.loads(json.dumps(config))
    *parents, key = path.split(".")
    part = config
    for parent in parents:
        part = part[parent]
    part[key] = value
    if value is ...:
        del part[key]
    return config


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_the_known_families(name: str) -> None:
    """Whatever they leave out. PaliGemma's have rows for an image token, and 2's caps and windows, unlike its .npz."""
    found, known = read(PUBLISHED[name]), families.FAMILIES[name]
    expected = dataclasses.replace(known, big_vision=None)
    if name.startswith("paligemma"):
        llm = dataclasses.replace(known.llm, vocab_size=257_216)
        if name == "paligemma2-3b":
            kinds = (LayerKind(window=4096), LayerKind())
            llm = dataclasses.replace(llm, final_logits_softcap=30.0, kinds=kinds, pattern=(0, 1))
        expected = dataclasses.replace(expected, llm=llm, stored_dtype=PUBLISHED[name]["torch_dtype"])
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_again(name: str) -> None:
    """With and without the file that the model came from."""
    spec = read(golden(name))
    for source in (golden(name), None):
        made = transformers_config_writing.write(spec, "float16", source)
        assert read(json.loads(json.dumps(made))) == dataclasses.replace(spec, stored_dtype="float16")


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_is_written(name: str) -> None:
    spec = families.FAMILIES[name]
    made = transformers_config_writing.write(spec, "bfloat16")
    assert read(made) == dataclasses.replace(spec, stored_dtype="bfloat16", big_vision=None)


def test_what_a_spec_does_not_tell_is_kept() -> None:
    source = {**golden("gemma3_vision"), "eos_token_id": [1, 106], "_name_or_path": "/home/somebody/model"}
    made = transformers_config_writing.write(read(source), "bfloat16", source)
    assert made["eos_token_id"] == [1, 106]
    assert (made["boi_token_index"], made["image_token_index"]) == (509, 511)
    assert made["dtype"] == made["torch_dtype"] == "bfloat16"
    assert "_name_or_path" not in made


def test_a_model_that_transformers_does_not_have_is_not_written() -> None:
    spec = families.FAMILIES["gemma-2b"]
    odd = dataclasses.replace(spec, llm=dataclasses.replace(spec.llm, final_logits_softcap=30.0))
    with pytest.raises(ConfigurationError, match="no GemmaForCausalLM that computes"):
        transformers_config_writing.write(odd, "bfloat16")


def test_both_forms_of_rotary_positions_say_the_same() -> None:
    """transformers 5 and those before it."""
    new = golden("gemma3_vision")
    old = changed(new, "text_config.rope_parameters", ...)
    old["text_config"] |= {
        "rope_theta": 1_000_000,
        "rope_local_base_freq": 10_000,
        "rope_scaling": {"type": "linear", "factor": 8},
    }
    assert read(old) == read(new)
    assert read(changed(new, "text_config.rope_parameters.full_attention", ...)).llm.kinds[1] == LayerKind(1e6)


def test_layers_are_in_any_order() -> None:
    config = golden("gemma3_text")
    local, wide = "sliding_attention", "full_attention"
    for types, pattern in (
        ([wide, local, local] * 2, (1, 0, 0)),
        ([local] * 6, (0,)),
        ([wide] * 6, (0,)),
        ([local, wide, local, local, wide, local], (0, 1, 0)),
        ([local, local, wide, wide, wide, local], (0, 0, 1, 1, 1)),
    ):
        found = read(changed(config, "layer_types", types))
        assert found.llm.pattern == pattern
        windows = [found.llm.kinds[kind].window for kind in found.llm.kind_of_layers]
        assert windows == [6 if one == local else None for one in types]
        assert read(transformers_config_writing.write(found, "float32")) == found
    short = changed(changed(config, "layer_types", ...), "sliding_window_pattern", 3)
    assert read(short).llm.pattern == (0, 0, 1)


def test_what_transformers_ignores_has_no_effect() -> None:
    """`_sliding_window_pattern` where layer_types are missing, and Gemma 3's cap of attention logits."""
    text = changed(changed(golden("gemma3_text"), "layer_types", ...), "sliding_window_pattern", ...)
    for depth, pattern in ((6, (0, 0, 0, 0, 0, 1)), (3, (0,))):
        given = changed(changed(text, "_sliding_window_pattern", 3), "num_hidden_layers", depth)
        assert read(given).llm.pattern == pattern
    for name, path in (("gemma3_text", ""), ("gemma3_vision", "text_config.")):
        given = changed(golden(name), f"{path}attn_logit_softcapping", 2.0)
        spec = read(given)
        assert spec == read(golden(name))
        made = transformers_config_writing.write(spec, "float32", given)
        assert made.get("text_config", made)["attn_logit_softcapping"] is None  # type: ignore[attr-defined]
    assert read(changed(golden("gemma2_text"), "attn_logit_softcapping", 2.0)).llm.attn_logits_softcap == 2.0


@pytest.mark.parametrize("activation", [..., None, "gelu_pytorch_tanh"])
def test_gemma_1_was_published_with_either_name_of_its_activation(activation: object) -> None:
    published = PUBLISHED["gemma-2b"] | ({} if activation is ... else {"hidden_activation": activation})
    for name in ("gelu", "gelu_pytorch_tanh"):
        assert read({**published, "hidden_act": name}) == read(PUBLISHED["gemma-2b"])
    assert read(changed(published, "hidden_act", ...)) == read(PUBLISHED["gemma-2b"])
    images = golden("paligemma1")
    images["text_config"] |= {"hidden_act": "silu"} | ({} if activation is ... else {"hidden_activation": activation})
    for config, within in (({**published, "hidden_act": "silu"}, ""), (images, "text_config.")):
        with pytest.raises(ConfigurationError, match=f"{within}hidden_act is 'silu', which palitune does not compute"):
            read(config)


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("gemma1_text", "rms_norm_eps", 1e-5, "rms_norm_eps is '1e-05', which palitune does not compute"),
        ("gemma1_text", "attention_bias", True, "attention_bias is 'True'"),
        ("gemma1_text", "hidden_act", "relu", "hidden_act is 'relu'"),
        ("gemma1_text", "hidden_activation", "silu", "hidden_activation is 'silu'"),
        ("gemma2_text", "hidden_activation", "gelu", "hidden_activation is 'gelu'"),
        ("gemma3_text", "use_bidirectional_attention", True, "use_bidirectional_attention is 'True'"),
        ("paligemma1", "text_config.use_bidirectional_attention", False, "text_config.use_bidirectional_attention"),
        ("gemma2_text", "rope_parameters.rope_type", "yarn", "rope_parameters.rope_type is 'yarn'"),
        (
            "gemma3_vision",
            "text_config.rope_scaling",
            {"rope_type": "llama3"},
            "text_config.rope_scaling.rope_type is 'llama3'",
        ),
        ("gemma3_vision", "text_config.final_logit_softcapping", 30.0, "text_config.final_logit_softcapping"),
        ("gemma3_text", "layer_types", ["linear_attention"] * 6, "layer_types has 'linear_attention'"),
        ("gemma3_vision", "vision_config.model_type", "clip", "vision_config.model_type is 'clip'"),
        ("paligemma2", "text_config.model_type", "llama", "text_config.model_type is 'llama'"),
        ("gemma1_text", "dtype", "float8_e4m3fn", "dtype is 'float8_e4m3fn'"),
        ("gemma1_text", "quantization_config", {"quant_method": "gptq"}, "quantised with gptq.*unquantised files"),
        ("gemma3_vision", "text_config.quantization_config", {}, "quantised with an unknown method"),
        ("gemma1_text", "architectures", ["GemmaForSequenceClassification"], "GemmaForSequenceClassification is not"),
        ("gemma1_text", "model_type", "llama", "GemmaForCausalLM is not a model that palitune reads. What can be read"),
    ],
)
def test_what_is_not_computed_is_named(name: str, path: str, value: object, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(changed(golden(name), path, value))
    assert error.match(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("gemma3_vision", "text_config.sliding_window", 3, "a window of 3 tokens does not hold an image's 4"),
        ("gemma3_text", "sliding_window", None, "sliding_window is not there, and has to be a whole number"),
        ("gemma3_vision", "mm_tokens_per_image", 5, "mm_tokens_per_image is '5', and has to be a square"),
        ("gemma3_vision", "mm_tokens_per_image", 16, "mm_tokens_per_image"),
        (
            "gemma3_vision",
            "vision_config.hidden_size",
            True,
            "vision_config.hidden_size is 'True', and has to be a whole",
        ),
        ("gemma1_text", "vocab_size", 10**30, "vocab_size is '1000"),
        ("gemma1_text", "num_hidden_layers", -1, "num_hidden_layers is '-1'"),
        ("gemma1_text", "num_hidden_layers", 10**6, "a whole number from 1 to 1,000"),
        ("gemma2_text", "query_pre_attn_scalar", float("nan"), "query_pre_attn_scalar is 'nan'"),
        ("gemma2_text", "query_pre_attn_scalar", 1e-320, "has to be a number above zero that float32 can hold"),
        ("gemma2_text", "final_logit_softcapping", 1e39, "has to be a number above zero that float32 can hold"),
        ("gemma1_text", "head_dim", 15, "heads are 15 wide"),
        ("gemma2_text", "num_key_value_heads", 3, "4 query heads do not share 3"),
        ("paligemma1", "projection_dim", 32, "projection_dim is '32', and has to be 64"),
        ("paligemma1", "vision_config.image_size", 57, "images of 57 pixels cannot be cut"),
        ("paligemma1", "text_config", ..., "it has no text_config"),
        ("paligemma1", "vision_config", None, "it has no vision_config"),
        ("paligemma1", "text_config", [1], "text_config is '.1.', and has to be an object"),
        ("paligemma1", "tie_word_embeddings", False, "true in one place, and false in another"),
        ("gemma3_text", "layer_types", ["full_attention"], "layer_types has 1 of 6 layers"),
        ("gemma3_text", "rope_parameters", {"rope_theta": 1.0}, "rope_parameters has nothing for full_attention"),
        (
            "gemma1_text",
            "architectures",
            "GemmaForCausalLM",
            "architectures is 'GemmaForCausalLM', and has to be a list",
        ),
    ],
)
def test_wrong_values_are_named(name: str, path: str, value: object, said: str) -> None:
    with pytest.raises(BadDataError) as error:
        read(changed(golden(name), path, value))
    assert error.match(said)
    assert "\n" not in str(error.value)


def result(config: dict[str, Any]) -> tuple[ModelSpec | None, str | None]:
    try:
        return read(config), None
    except PalituneError as error:
        return None, str(error)


def test_random_values_give_a_model_or_one_line() -> None:
    draw = random.Random(16)
    values = [None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 10**400, 0.5, 1e308, -0.0, float("nan"), float("inf")]
    values += ["", "gemma", "\x1b[2J\n", "x" * 10_000, [], [1], ["full_attention"] * 6, {}, {"a": 1}, [[]], 1e-6]
    read_all = 0
    for _ in range(1000):
        config = golden(draw.choice(NAMES))
        for _ in range(draw.choice((1, 1, 2, 4))):
            part = config
            while True:
                key = draw.choice(sorted(part))
                if not (isinstance(part[key], dict) and part[key] and draw.random() < 0.9):
                    break
                part = part[key]
            if draw.random() < 0.2:
                del part[key]
                if not part:
                    part["left"] = 1
            else:
                part[key] = draw.choice(values)
        spec, error = result(config)
        read_all += spec is not None
        assert (spec is None) == (error is not None)
        assert spec is None or spec.num_image_tokens >= 0
        assert error is None or ("\n" not in error and len(error) < 600)
    assert 100 < read_all < 900


def test_folders_are_what_their_names_say() -> None:
    """So that no test above runs over an empty list."""
    assert set(NAMES) >= {"gemma1_text", "gemma2_text", "gemma3_text", "gemma3_vision", "paligemma1", "paligemma2"}
    assert all(isinstance(HF / name, Path) for name in NAMES)

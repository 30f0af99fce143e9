"""Which tensors make which parameters: every name of the golden folders, both ways, in every naming scheme."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
from conftest import GOLDEN

from palitune.checkpoint import tensor_names, transformers_config
from palitune.checkpoint.tensor_files import TensorFiles
from palitune.models import families, spec
from palitune.models.spec import ModelSpec

HF = GOLDEN / "hf"
NAMES = sorted(path.parent.name for path in HF.glob("*/config.json"))


def spec_of(name: str) -> ModelSpec:
    path = HF / name / "config.json"
    return transformers_config.read(json.loads(path.read_text()), str(path))


def before_452(plain: str) -> str:
    """With images, as published."""
    return tensor_names.published_name(plain, families.FAMILIES["gemma3-4b"])


def from_452(plain: str) -> str:
    if plain == tensor_names.OUTPUT:
        return plain
    part = "" if plain.startswith(("vision_tower.", "multi_modal_projector.")) else "language_model."
    return f"model.{part}{plain.replace('vision_tower.', 'vision_tower.vision_model.')}"


def since_5(plain: str) -> str:
    return before_452(plain).replace("vision_model.", "")


def shieldgemma(plain: str) -> str:
    return tensor_names.published_name(plain, families.FAMILIES["shieldgemma2-4b"])


def text_only(plain: str) -> str:
    return tensor_names.published_name(plain, families.FAMILIES["gemma3-1b"])


SCHEMES = (before_452, from_452, since_5, shieldgemma, lambda plain: f"model.{from_452(plain)}", lambda plain: plain)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_its_place_and_shape(name: str) -> None:
    files = TensorFiles(HF / name)
    found = {tensor_names.plain_name(one): files.shape(one) for one in files}
    assert found == {one: tensor.theirs for one, tensor in tensor_names.tensors(spec_of(name)).items()}
    assert len(found) == len(files)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_prefixes_are_taken_away(scheme: Callable[[str], str]) -> None:
    plain = [
        *tensor_names.tensors(spec_of("gemma3_vision")),
        *tensor_names.tensors(spec_of("paligemma1")),
        "lm_head.weight",
    ]
    assert [tensor_names.plain_name(scheme(one)) for one in plain] == plain


def test_prefixes_of_language_models_are_taken_away() -> None:
    plain = [*tensor_names.tensors(spec_of("gemma3_text")), "lm_head.weight"]
    assert [tensor_names.plain_name(text_only(one)) for one in plain] == plain


def test_published_names_are_those_of_the_files() -> None:
    for name in ("paligemma2_published_names", "gemma1_text"):
        files, found = TensorFiles(HF / name), spec_of(name)
        made = {tensor_names.published_name(one, found) for one in tensor_names.tensors(found)}
        assert made == set(files)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_parameter_is_made_of_tensors_and_of_nothing_twice(name: str) -> None:
    for tied in (True, False):
        model = families.FAMILIES[name]
        model = dataclasses.replace(model, llm=dataclasses.replace(model.llm, tied=tied))
        tensors = tensor_names.tensors(model).values()
        expected = {path: shape.shape for path, shape in spec.expected(model).items()}
        assert {tensor.path for tensor in tensors} == expected.keys()
        assert len({(tensor.path, tensor.place) for tensor in tensors}) == len(tensors)
        for tensor in tensors:
            assert expected[tensor.path][len(tensor.place) :] == tensor.ours
            assert all(at < size for at, size in zip(tensor.place, expected[tensor.path], strict=False))
        values = sum(int(np.prod(tensor.theirs)) for tensor in tensors)
        assert values == sum(int(np.prod(shape)) for shape in expected.values())


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    """Each tensor, put in its place and taken out of it, is bit for bit what it was."""
    files, model = TensorFiles(HF / name), spec_of(name)
    shapes, plain = spec.expected(model), {tensor_names.plain_name(one): one for one in files}
    tensors = tensor_names.tensors(model)
    arrays = {path: np.zeros(shape.shape, files[next(iter(files))].dtype) for path, shape in shapes.items()}
    for one, tensor in tensors.items():
        tensor.copy(files[plain[one]], arrays[tensor.path][tensor.place])
    for one, tensor in tensors.items():
        assert arrays[tensor.path][tensor.place].tobytes() == tensor.read(files[plain[one]]).tobytes()
        assert tensor.write(arrays[tensor.path][tensor.place]).tobytes() == files[plain[one]].tobytes()


def test_axes_mean_what_they_say() -> None:
    """Queries of one head, an image's patches, and a projection, against plain arithmetic."""
    files, model = TensorFiles(HF / "gemma3_vision"), spec_of("gemma3_vision")
    tensors = tensor_names.tensors(model)
    plain = {tensor_names.plain_name(one): one for one in files}

    def read(name: str) -> np.ndarray:
        return tensors[name].read(files[plain[name]])

    x, queries = np.arange(64, dtype=np.float32), files[plain["layers.0.self_attn.q_proj.weight"]]
    np.testing.assert_allclose(x @ read("layers.0.self_attn.q_proj.weight")[2], (queries @ x)[32:48], rtol=1e-4)
    heads, outputs = np.arange(64, dtype=np.float32), files[plain["layers.3.self_attn.o_proj.weight"]]
    ours = np.einsum("nh,nhd->d", heads.reshape(4, 16), read("layers.3.self_attn.o_proj.weight"))
    np.testing.assert_allclose(ours, outputs @ heads, rtol=1e-4)
    patches = "vision_tower.embeddings.patch_embedding.weight"
    assert read(patches)[3, 5, 2, 7] == files[plain[patches]][7, 2, 3, 5]
    projection = "multi_modal_projector.mm_input_projection_weight"
    assert read(projection)[3, 5] == files[plain[projection]][3, 5]
    assert tensors["layers.2.mlp.up_proj.weight"].place == (2, 1)
    assert tensors["layers.2.self_attn.v_proj.weight"].place == (2, 1)
    assert tensors["layers.2.post_attention_layernorm.weight"].path == "llm/layers/post_attention_norm/scale"
    gemma1 = tensor_names.tensors(spec_of("gemma1_text"))
    assert gemma1["layers.2.post_attention_layernorm.weight"].path == "llm/layers/pre_ffw_norm/scale"


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.3.self_attn.rotary_emb.inv_freq",
        "language_model.model.rotary_emb.inv_freq",
        "vision_tower.vision_model.embeddings.position_ids",
        "model.vision_tower.vision_model.head.mlp.fc1.weight",
        "vision_tower.vision_model.head.probe",
    ],
)
def test_superfluous_tensors_are_known(name: str) -> None:
    assert tensor_names.is_superfluous(tensor_names.plain_name(name))


def test_no_parameter_is_superfluous() -> None:
    for name in families.FAMILIES:
        assert not any(map(tensor_names.is_superfluous, tensor_names.tensors(families.FAMILIES[name])))
    assert not tensor_names.is_superfluous("vision_tower.header.weight")

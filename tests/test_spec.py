"""Sizes of published models, and sizes read off shapes, against the reference implementation's parameter list."""

import json
from pathlib import Path

import jax
import pytest
from conftest import GOLDEN, Golden

from palitune import trees
from palitune.errors import ConfigurationError
from palitune.hub import catalogue
from palitune.models import families, multimodal, spec

MANIFEST = json.loads((GOLDEN / "parameters.json").read_text())


@pytest.mark.parametrize("name", MANIFEST)
def test_published_parameters(name: str) -> None:
    """Every name, shape and stored dtype of every published size."""
    family, _, resolution = name.rpartition("-")
    sizes = families.published(family, int(resolution))
    found = {path: list(leaf.shape) for path, leaf in spec.expected(sizes).items()}
    assert found == {path: shape for path, (_, shape) in MANIFEST[name].items()}
    assert {dtype for dtype, _ in MANIFEST[name].values()} == {families.FAMILIES[family].stored_dtype}


def test_the_list_is_what_initialisation_makes(golden: Golden) -> None:
    made = jax.eval_shape(lambda: multimodal.init(golden.sizes, jax.random.key(0)))
    shapes = {path: trees.Shape(leaf.shape) for path, leaf in trees.flatten(made).items()}
    assert spec.expected(golden.sizes) == shapes


@pytest.mark.parametrize("name", MANIFEST)
def test_sizes_are_read_off_shapes(name: str) -> None:
    family, _, resolution = name.rpartition("-")
    shapes = {path: trees.Shape(tuple(shape)) for path, (_, shape) in MANIFEST[name].items()}
    assert families.read(shapes) == families.published(family, int(resolution))


def test_every_family_and_resolution_is_listed() -> None:
    names = {f"{family}-{resolution}" for family in families.PALIGEMMAS for resolution in families.RESOLUTIONS}
    assert set(MANIFEST) == names
    for name in catalogue.PUBLISHED:
        assert Path(catalogue.PUBLISHED[name].file).suffixes[-2] == (".b16" if "b-" in name else ".f16")


def test_other_archives_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no parameter llm/layers/attn/q_einsum/w.*It has a, b"):
        families.read({"a": trees.Shape((1,)), "b": trees.Shape((2,))})
    shapes = {path: trees.Shape(tuple(shape)) for path, (_, shape) in MANIFEST["paligemma-3b-224"].items()}
    with pytest.raises(ConfigurationError, match="not a square"):
        families.read({**shapes, "img/pos_embedding": trees.Shape((1, 255, 1152))})
    for path, shape, message in (
        ("llm/layers/attn/kv_einsum/w", (18, 2, 3, 2048, 256), "8 query heads do not share 3"),
        ("llm/embedder/input_embedding", (0, 2048), "llm vocab_size is 0"),
        ("llm/layers/attn/q_einsum/w", (18, 8, 2048, 255), "255 wide"),
        ("img/embedding/kernel", (0, 14, 3, 1152), "img patch_size is 0"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            families.read({**shapes, path: trees.Shape(shape)})
    with pytest.raises(ConfigurationError, match="3 axes are expected"):
        families.read({**shapes, "img/pos_embedding": trees.Shape((256, 1152))})


@pytest.mark.parametrize(("family", "pixels", "together"), [("paligemma-3b", 224, 8), ("paligemma-3b", 896, 1)])
def test_large_images_go_through_the_encoder_alone(family: str, pixels: int, together: int) -> None:
    """Eight at once at 224 pixels; of 4,096 patches the attention scores of one image take a gigabyte."""
    assert families.published(family, pixels).image_encoder.together(8) == together
    assert families.FAMILIES["gemma3-4b"].image_encoder.together(8) == 1

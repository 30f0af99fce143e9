"""Parameters written as safetensors under published names, and read again: the same bits, whatever the dtype."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from conftest import GOLDEN, Golden
from numpy.typing import DTypeLike

from palitune.checkpoint import npz, tensor_names, tensor_writer, transformers_config_writing
from palitune.checkpoint.exported_tensors import tensors_of
from palitune.checkpoint.merge import MergedCheckpoint
from palitune.checkpoint.tensor_files import TensorFiles
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.errors import BadDataError
from palitune.models import families, lora
from palitune.models.spec import ModelSpec

HF = GOLDEN / "hf"
NAMES = sorted(path.parent.name for path in HF.glob("*/config.json"))
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)


def exported(folder: Path, spec: ModelSpec, arrays: Any, dtype: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    config = transformers_config_writing.write(spec, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    tensor_writer.save(folder, tensors_of(spec, arrays, dtype))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_import_and_export_give_the_same_tensors(name: str, tmp_path: Path) -> None:
    """Bit for bit, and under the same names where those were the published ones."""
    base, theirs = TransformersCheckpoint(HF / name), TensorFiles(HF / name)
    made = TensorFiles(exported(tmp_path, base.spec, {path: base.sliced(path) for path in base}))
    plain = {tensor_names.plain_name(one): one for one in theirs}
    assert len(made) == len(theirs) == len(plain)
    for one in made:
        other = plain[tensor_names.plain_name(one)]
        assert (made.dtype(one), made.shape(one)) == (theirs.dtype(other), theirs.shape(other))
        assert made[one].tobytes() == theirs[other].tobytes()
    if name in ("paligemma2_published_names", "gemma1_text", "gemma2_text", "gemma3_text"):
        assert set(made) == set(theirs)
    again = TransformersCheckpoint(tmp_path)
    assert again.fingerprints() == base.fingerprints()
    assert again.spec.llm == base.spec.llm
    assert again.spec.img == base.spec.img


@pytest.mark.parametrize("dtype", DTYPES)
def test_npz_to_safetensors_and_back(golden: Golden, dtype: DTypeLike, tmp_path: Path) -> None:
    arrays = {path: np.asarray(array).astype(dtype) for path, array in golden.params.items()}
    exported(tmp_path / "folder", golden.sizes, arrays)
    found = TransformersCheckpoint(tmp_path / "folder")
    assert found.spec.llm == golden.sizes.llm
    assert found.spec.img == golden.sizes.img
    dtypes = {path: leaf.dtype for path, leaf in found.leaves().items()}
    npz.save(tmp_path / "again.npz", {path: found.sliced(path) for path in found}, dtypes)
    again = npz.Checkpoint(tmp_path / "again.npz")
    assert set(again) == set(arrays)
    for path, array in arrays.items():
        assert again[path].dtype == np.dtype(dtype)
        assert again[path].tobytes() == array.tobytes()


def test_layers_are_in_the_order_of_their_numbers() -> None:
    spec = families.FAMILIES["gemma3-1b"]
    arrays: Any = {path: jnp.zeros((0, 0)) for path in {one.path for one in tensor_names.tensors(spec).values()}}
    names = list(tensors_of(spec, arrays))
    norms = [name for name in names if name.endswith("input_layernorm.weight")]
    assert norms == [f"model.layers.{layer}.input_layernorm.weight" for layer in range(26)]
    assert names[0] == "model.embed_tokens.weight"


def test_adapters_are_merged_on_the_way(tmp_path: Path) -> None:
    base = TransformersCheckpoint(HF / "gemma3_text")
    path = "llm/layers/attn/q_einsum/w"
    sizes = lora.shapes(path, base.leaves()[path].shape, 4)
    draw = np.random.default_rng(0)
    adapters = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}
    npz.save(tmp_path / "all.npz", {**{one: base[one] for one in base}, **adapters})
    adapted = npz.Checkpoint(tmp_path / "all.npz")
    merged = MergedCheckpoint(adapted, np.dtype(np.float32))
    found = TransformersCheckpoint(exported(tmp_path / "folder", base.spec, merged))
    expected = lora.merged(path, base[path], *adapters.values())
    np.testing.assert_array_equal(found[path], np.asarray(expected))
    assert found["llm/layers/mlp/linear"].tobytes() == base["llm/layers/mlp/linear"].tobytes()


def test_other_dtypes(tmp_path: Path) -> None:
    base = TransformersCheckpoint(HF / "gemma1_text")
    arrays = {path: np.asarray(base[path]) for path in base}
    found = TransformersCheckpoint(exported(tmp_path / "half", base.spec, arrays, np.dtype(np.float16)))
    assert {leaf.dtype for leaf in found.leaves().values()} == {np.dtype(np.float16)}
    for path in base:
        np.testing.assert_array_equal(found[path], base[path].astype(np.float16))
    arrays["llm/final_norm/scale"] = np.full(64, 1e6, np.float32)
    with pytest.raises(BadDataError, match="llm/final_norm/scale has values that do not fit into float16"):
        exported(tmp_path / "more", base.spec, arrays, np.dtype(np.float16))

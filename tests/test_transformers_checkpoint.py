"""A model of Hugging Face opened as a checkpoint: every naming scheme, every broken folder, and the memory it takes."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GOLDEN
from safetensors.numpy import load_file, save_file
from test_tensor_names import SCHEMES

from palitune import workspace
from palitune.checkpoint import delta, manifest, npz, opening, spec_json, tensor_names, transformers_config
from palitune.checkpoint.store import Stored
from palitune.checkpoint.tensor_files import WHOLE
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.errors import BadDataError, ConfigurationError, MissingInputError, PalituneError
from palitune.infer.loading import check, spec_of
from palitune.models import families, spec

HF = GOLDEN / "hf"
NAMES = sorted(path.parent.name for path in HF.glob("*/config.json"))
IMAGES = "gemma3_vision"


def nowhere(name: str) -> Path:
    raise MissingInputError(f"no {name}")


def copied(name: str, folder: Path) -> Path:
    """A folder of its own, without the vectors."""
    folder.mkdir(parents=True)
    for file in ("config.json", WHOLE):
        shutil.copyfile(HF / name / file, folder / file)
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same folder with other tensors."""
    tensors = load_file(folder / WHOLE)
    change(tensors)
    save_file(tensors, folder / WHOLE, {"format": "pt"})
    return folder


def with_config(folder: Path, **values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_are_the_models(name: str) -> None:
    """All of them, in the shapes of the model and the dtype of the file, and nothing is read to know that."""
    checkpoint = TransformersCheckpoint(HF / name)
    leaves = checkpoint.leaves()
    assert {path: leaf.shape for path, leaf in leaves.items()} == {
        path: shape.shape for path, shape in spec.expected(checkpoint.spec).items()
    }
    for path in checkpoint:
        array = checkpoint[path]
        assert (array.shape, array.dtype) == (leaves[path].shape, leaves[path].dtype)
        assert not array.flags.writeable
        sliced = checkpoint.sliced(path)
        assert np.asarray(sliced[1:3]).tobytes() == np.ascontiguousarray(array[1:3]).tobytes()
    check(checkpoint, checkpoint.spec, HF / name)
    assert "nothing" not in checkpoint
    assert len(checkpoint) == len(list(checkpoint))


def test_a_file_and_an_index_are_opened_too() -> None:
    assert set(TransformersCheckpoint(HF / IMAGES / WHOLE)) == set(TransformersCheckpoint(HF / IMAGES))
    index = HF / "paligemma2_published_names" / "model.safetensors.index.json"
    assert manifest.read(index) == {}
    assert delta.content_hash(TransformersCheckpoint(index)) == delta.content_hash(TransformersCheckpoint(index.parent))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_naming_scheme_is_the_same_checkpoint(scheme: Callable[[str], str], tmp_path: Path) -> None:
    def rename(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            tensors[scheme(tensor_names.plain_name(name))] = tensors.pop(name)

    folder = rewritten(copied(IMAGES, tmp_path / "renamed"), rename)
    found, expected = TransformersCheckpoint(folder), TransformersCheckpoint(HF / IMAGES)
    assert found.fingerprints() == expected.fingerprints()
    assert all(found[path].tobytes() == expected[path].tobytes() for path in expected)


def test_superfluous_tensors_are_left_out(tmp_path: Path) -> None:
    def add(tensors: dict[str, Any]) -> None:
        tensors["vision_tower.vision_model.head.probe"] = np.zeros((1, 1, 32), np.float32)
        tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(8, np.float32)
        tensors["lm_head.weight"] = tensors["language_model.model.embed_tokens.weight"]

    found = TransformersCheckpoint(rewritten(copied(IMAGES, tmp_path / "more"), add))
    assert found.fingerprints() == TransformersCheckpoint(HF / IMAGES).fingerprints()


def test_an_output_layer_of_its_own(tmp_path: Path) -> None:
    def add(tensors: dict[str, Any]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1

    folder = rewritten(copied("gemma3_text", tmp_path / "untied"), add)
    with pytest.raises(BadDataError, match=r"lm_head.weight differs from model.embed_tokens.weight"):
        TransformersCheckpoint(folder)
    found = TransformersCheckpoint(with_config(folder, tie_word_embeddings=False))
    assert not found.spec.llm.tied
    np.testing.assert_array_equal(found["llm/embedder/output_embedding"], found["llm/embedder/input_embedding"] + 1)


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.pop(name)


def put(name: str, array: np.ndarray) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: array})


NORM, QUERIES = "model.norm.weight", "model.layers.2.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop(NORM), "model.norm.weight is missing"),
        (drop(QUERIES), f"{QUERIES} is missing"),
        (put("model.layers.6.mlp.up_proj.weight", np.zeros(1)), "model.layers.6.mlp.up_proj.weight is of no model of"),
        (put("score.weight", np.zeros(1)), "score.weight is of no model of this kind"),
        (put(NORM, np.zeros(3)), r"model.norm.weight has shape \(3,\), and by config.json \(64,\)"),
        (put(NORM, np.zeros((8, 8))), r"model.norm.weight has shape \(8, 8\), and by config.json \(64,\)"),
        (put("norm.weight", np.zeros(64)), "are the same parameter, by the names of two versions"),
        (put(QUERIES, np.zeros((64, 64), np.float16)), "is F32 and model.layers.2.* is F16|is F16 and .* is F32"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    folder = rewritten(copied("gemma3_text", tmp_path / "broken"), change)
    with pytest.raises(BadDataError, match=said) as error:
        TransformersCheckpoint(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_of_many_that_do_not_fit_five_are_named(tmp_path: Path) -> None:
    folder = with_config(copied("gemma3_text", tmp_path / "broken"), hidden_size=32)
    with pytest.raises(BadDataError, match="and 63 more") as error:
        TransformersCheckpoint(folder)
    assert str(error.value).count("by config.json") == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("model.layers.0.mlp.up_proj.weight.absmax", np.zeros(3, np.float32)), r"quantised \(bitsandbytes"),
        (put("model.layers.0.mlp.up_proj.qweight", np.zeros(3, np.int32)), r"quantised \(GPTQ or AWQ"),
        (put("model.layers.0.mlp.up_proj.weight_scale", np.zeros(3, np.float32)), r"quantised \(FP8"),
        (put("model.layers.0.mlp.up_proj.weight", np.zeros((128, 64), np.uint8)), r"quantised \(U8"),
    ],
)
def test_quantised_weights_are_named(change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        TransformersCheckpoint(rewritten(copied("gemma1_text", tmp_path / "quantised"), change))
    assert error.match("Take the unquantised files")


def test_broken_folders_are_one_line(tmp_path: Path) -> None:
    folder = copied("gemma1_text", tmp_path / "model")
    config = folder / "config.json"
    content = config.read_text()
    for text in ("", "{", "[]", "3", "[" * 100_000, '{"model_type": 1}', '{"a": "' + "x" * (5 << 20) + '"}', "\xff"):
        config.write_bytes(text.encode("latin-1"))
        with pytest.raises(PalituneError) as error:
            opening.load(folder, nowhere)
        assert "\n" not in str(error.value)
        assert "config.json" in str(error.value)
        assert len(str(error.value)) < 500
    config.unlink()
    with pytest.raises(MissingInputError, match=r"there is no config.json") as missing:
        opening.load(folder, nowhere)
    assert str(missing.value).startswith(f"{folder}: ")
    config.write_text(content)
    (folder / WHOLE).rename(folder / "pytorch_model.bin")
    with pytest.raises(BadDataError, match=r"pytorch_model.bin has the weights as a pickle"):
        opening.load(folder, nowhere)


def saved(path: Path, base: Stored, name: str, arrays: dict[str, Any]) -> None:
    """A delta as a run saves it."""
    model = spec_json.of_model(spec_of(base, path), base.leaves())
    dtypes = {key: array.dtype for key, array in arrays.items()}
    text = manifest.text(base=delta.describe(base, name), dtypes=dtypes, config={}, data="", model=model)
    npz.save(path, arrays, dtypes, texts={manifest.MEMBER: text})


def test_a_delta_of_a_folder_opens_again(tmp_path: Path) -> None:
    folder = copied(IMAGES, tmp_path / "gemma-3.v2")
    base = opening.load(folder, nowhere)
    scale = np.full(64, 2, np.float32)
    saved(tmp_path / "learned.npz", base, workspace.name_of(folder), {"llm/final_norm/scale": scale})
    found = opening.load(tmp_path / "learned.npz", nowhere)
    assert found.spec == base.spec
    assert found.whole.path == folder.resolve()
    assert found.leaves() == base.leaves()
    np.testing.assert_array_equal(found["llm/final_norm/scale"], scale)
    assert found["llm/layers/mlp/linear"].tobytes() == base["llm/layers/mlp/linear"].tobytes()
    check(found, spec_of(found, folder), folder)

    asked = []

    def find(name: str) -> Path:
        asked.append(name)
        return tmp_path / "elsewhere" / name

    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / folder.name)
    again = opening.load(tmp_path / "learned.npz", find)
    assert asked == ["gemma-3.v2"]
    assert again.fingerprints() == found.fingerprints()
    with_other = rewritten(tmp_path / "elsewhere" / folder.name, lambda tensors: tensors.update(other_norm(tensors)))
    with pytest.raises(BadDataError, match=re.escape(f"{with_other} is not the base gemma-3.v2")):
        opening.load(tmp_path / "learned.npz", find)


def other_norm(tensors: dict[str, Any]) -> dict[str, Any]:
    name = "language_model.model.norm.weight"
    return {name: tensors[name] + 1}


def test_a_whole_checkpoint_says_which_model_it_is(tmp_path: Path) -> None:
    """Where shapes alone do not; and nothing is said of a model that they do tell."""
    for name in (IMAGES, "gemma2_text"):
        base = TransformersCheckpoint(HF / name)
        model = spec_json.of_model(base.spec, base.leaves())
        dtypes = {path: leaf.dtype for path, leaf in base.leaves().items()}
        text = manifest.text(base=None, dtypes=dtypes, config={}, data="", model=model)
        sliced = {path: base.sliced(path) for path in base}
        npz.save(tmp_path / f"{name}.npz", sliced, dtypes, comment=manifest.comment(text))
        found = opening.load(tmp_path / f"{name}.npz", nowhere)
        assert spec_of(found, found.path) == base.spec
        assert found.leaves() == base.leaves()
        assert all(found[path].tobytes() == base[path].tobytes() for path in base)
    shapes = spec.expected(families.TINY)
    assert spec_json.of_model(families.TINY, shapes) is None


@pytest.mark.parametrize("name", families.FAMILIES)
def test_specs_are_the_same_after_json(name: str) -> None:
    model = families.FAMILIES[name]
    assert spec_json.from_json(json.loads(json.dumps(spec_json.as_json(model)))) == model


def test_damaged_specs_are_one_line(tmp_path: Path) -> None:
    good = json.loads(json.dumps(spec_json.as_json(families.FAMILIES["gemma3-4b"])))
    values: list[Any] = [None, True, -1, 0, 1.5, 10**400, float("nan"), "", "x" * 1000, [], [0], [9], {}, {"a": 1}]
    read = 0
    parts = [(good, key) for key in good]
    parts += [(good[part], key) for part in ("img", "llm") for key in good[part]]
    for part, key in parts:
        for value in values:
            kept, part[key] = part[key], value
            try:
                read += spec_json.from_json(good).llm.depth > 0
            except ValueError as error:
                said = str(error)
                assert len(said) < 200, said
            finally:
                part[key] = kept
    assert read > 10
    base = TransformersCheckpoint(HF / "gemma1_text")
    for damaged in ({"llm": 1}, {**good, "more": 1}, {key: good[key] for key in good if key != "llm"}):
        text = manifest.text(base=None, dtypes={}, config={}, data="", model=damaged)
        arrays = {"llm/final_norm/scale": base["llm/final_norm/scale"]}
        npz.save(tmp_path / "a.npz", arrays, comment=manifest.comment(text))
        with pytest.raises(BadDataError, match="its manifest does not tell which model it is"):
            opening.load(tmp_path / "a.npz", nowhere)


def test_names_mean_folders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    inside = copied("gemma1_text", tmp_path / "checkpoints" / "mine")
    beside = copied("gemma1_text", tmp_path / "other" / "gemma-1.1")
    assert workspace.checkpoint_to_read("mine") == inside
    assert workspace.checkpoint_to_read("checkpoints/mine").resolve() == inside
    assert workspace.checkpoint_to_read(str(beside)) == beside
    assert workspace.checkpoint_to_read(str(beside / WHOLE)) == beside / WHOLE
    assert workspace.name_of(beside) == workspace.name_of(beside / WHOLE) == "gemma-1.1"
    assert workspace.name_of(tmp_path / "a.b.npz") == "a.b"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"no checkpoint empty .* There are: mine, tiny"):
        workspace.checkpoint_to_read("empty")
    (tmp_path / "checkpoints" / "mine.npz").touch()
    assert workspace.checkpoint_to_read("mine").suffix == ".npz"


MEASURED = """
import sys, tracemalloc
from pathlib import Path
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

checkpoint = TransformersCheckpoint(Path(sys.argv[1]))
largest = max(leaf.size * leaf.dtype.itemsize for leaf in checkpoint.leaves().values())
before = anonymous()
tracemalloc.start()
most = 0
for path in checkpoint:
    array = checkpoint[path]
    most = max(most, anonymous())
    del array
print(largest, tracemalloc.get_traced_memory()[1], most - before)
"""


def test_memory_is_that_of_the_largest_array(tmp_path: Path) -> None:
    """Of a model of 100 MB, whose largest stacked array has 63 MB."""
    config = json.loads((HF / "gemma3_text" / "config.json").read_text())
    config |= {"hidden_size": 512, "intermediate_size": 2560, "vocab_size": 1024}
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = transformers_config.read(config, "")
    tensors = {
        tensor_names.published_name(plain, made): np.zeros(tensor.theirs, np.float32)
        for plain, tensor in tensor_names.tensors(made).items()
    }
    save_file(tensors, tmp_path / WHOLE)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )
    largest, traced, anonymous = map(int, done.stdout.split())
    assert largest > 60e6
    assert traced <= 1.25 * largest
    assert anonymous <= 1.25 * largest

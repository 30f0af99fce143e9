"""Adapters in PEFT's form, in and out: its logits, its patterns of ranks and alphas, what is refused, and damage."""

import json
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compiled
import hf_golden
import numpy as np
import pytest
from hf_golden import FOLDER, WHOLE, HfGolden, aligned
from safetensors.numpy import load_file, save_file
from test_tensor_files import mutated

from palitune import trees, workspace
from palitune.checkpoint import delta, manifest, opening, peft_config, peft_modules, peft_writer, tensor_file
from palitune.checkpoint.delta import Overlay
from palitune.checkpoint.merge import MergedCheckpoint
from palitune.checkpoint.peft_config import CONFIG, WEIGHTS
from palitune.checkpoint.peft_reader import PeftAdapter
from palitune.checkpoint.store import Stored
from palitune.errors import BadDataError, ConfigurationError, MissingInputError, OutputExistsError, PalituneError
from palitune.infer.loading import check
from palitune.models import families, lora
from palitune.models.spec import ModelSpec

TOLERANCE = 1e-4
# What PEFT 0.21 has made and computed: the folder, and that of its base. The first two have targets as a list and as an
# expression; then ranks and alphas by patterns, in some layers only; and scales by the square root of the rank.
MADE_BY_PEFT = {
    "gemma3_text_lora": "gemma3_text",
    "paligemma1_lora": "paligemma1",
    "gemma2_text_patterns": "gemma2_text",
    "gemma3_vision_rslora": "gemma3_vision",
}
LIST, PATTERNS, IMAGES = "gemma3_text_lora", "gemma2_text_patterns", "gemma3_vision_rslora"
PREFIX = "base_model.model.model.layers.0.self_attn."


def find(name: str) -> Path:
    """A base in the golden folder, or of any path."""
    path = FOLDER / name
    if not path.is_dir():
        raise MissingInputError(f"no checkpoint {name}", hint="There are: tiny")
    return path


def copied(name: str, target: Path, **settings: object) -> Path:
    """A folder of its own, which names its base; other settings as given."""
    target.mkdir()
    for file in (CONFIG, WEIGHTS):
        shutil.copyfile(FOLDER / name / file, target / file)
    return with_config(target, **{"base_model_name_or_path": MADE_BY_PEFT[name], **settings})


def with_config(folder: Path, **settings: object) -> Path:
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, **settings}))
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    return folder


def adapter_of(folder: Path) -> Stored:
    opened = opening.load(folder, find)
    assert isinstance(opened, Overlay)
    return opened.changed


def arrays(checkpoint: Any) -> dict[str, np.ndarray]:
    return {path: np.asarray(checkpoint[path][:]) for path in checkpoint}


def error_of(folder: Path) -> str:
    with pytest.raises(PalituneError) as caught:
        opening.load(folder, find)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def difference(golden: HfGolden, params: dict[str, np.ndarray]) -> float:
    """The largest, between our logits and transformers'."""
    inputs = golden.inputs("in")
    logits = compiled.forward(golden.spec, trees.unflatten(params), inputs.image, inputs.text)
    ours, theirs = aligned(golden, inputs, logits)
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("name", MADE_BY_PEFT)
def test_the_logits_are_pefts(name: str, tmp_path: Path) -> None:
    """With the adapters beside the weights, and merged into them."""
    golden = hf_golden.load(MADE_BY_PEFT[name], name)
    opened = opening.load(copied(name, tmp_path / "adapter"), find)
    check(opened, golden.spec, opened.path)
    assert difference(golden, arrays(opened)) < TOLERANCE
    merged = arrays(MergedCheckpoint(opened, np.dtype(np.float32)))
    assert merged.keys() == golden.params.keys()
    assert difference(golden, merged) < TOLERANCE
    assert difference(golden, golden.params) > 1


@pytest.mark.parametrize("name", MADE_BY_PEFT)
def test_leaves_are_what_is_read(name: str, tmp_path: Path) -> None:
    adapter = adapter_of(copied(name, tmp_path / "adapter"))
    assert set(adapter.leaves()) == set(adapter)
    assert len(adapter) == len(list(adapter))
    for path, leaf in adapter.leaves().items():
        array = adapter[path]
        assert (array.shape, array.dtype) == (leaf.shape, leaf.dtype)
        assert not array.flags.writeable
    assert [file.name for file in adapter.files] == [CONFIG, WEIGHTS]


def test_ranks_and_scales_of_a_stack(tmp_path: Path) -> None:
    """The smaller rank and what is not there are zeros; where scales differ, the smaller is in the second factor."""
    adapter = adapter_of(copied(PATTERNS, tmp_path / "adapter"))
    theirs = load_file(FOLDER / PATTERNS / WEIGHTS)
    path = "llm/layers/mlp/gating_einsum"
    a, b, alpha = (adapter[path + part] for part in (lora.A, lora.B, lora.ALPHA))
    assert a.shape == (6, 2, 64, 7)
    assert np.flatnonzero(np.abs(a).sum((1, 2, 3))).tolist() == [0, 1, 3]  # layers_to_transform
    assert not a[:, 0].any()  # gate_proj is no target
    np.testing.assert_array_equal(a[1, 1].T, theirs["base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"])
    assert not a[0, 1, :, 4:].any()  # rank 4 beside one of 7
    assert not b[0, 1, 4:].any()
    assert alpha.tolist() == pytest.approx([5.5 / 4 * 7, 8, 8, 8 / 4 * 7, 8, 8])
    images = adapter_of(copied(IMAGES, tmp_path / "images"))
    theirs = load_file(FOLDER / IMAGES / WEIGHTS)
    path, name = "llm/layers/attn/kv_einsum/w", "base_model.model.model.language_model.layers.4.self_attn."
    keys, values = 4 / 3**0.5, 16 / 8**0.5  # PEFT's scales
    np.testing.assert_allclose(images[path + lora.ALPHA], values * 8, rtol=1e-6)
    found = images[path + lora.B][4].reshape(2, 8, 32)
    np.testing.assert_array_equal(found[1].T, theirs[f"{name}v_proj.lora_B.weight"])
    np.testing.assert_allclose(found[0, :3].T, theirs[f"{name}k_proj.lora_B.weight"] * (keys / values), rtol=1e-6)


SCHEMES = {
    "since 4.52": "base_model.model.model.language_model.",
    "before 4.52": "base_model.model.language_model.model.",
    "in a classifier": "base_model.model.model.model.language_model.",
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_naming_scheme_is_the_same_adapter(scheme: str, tmp_path: Path) -> None:
    def rename(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            tensors[name.replace(SCHEMES["since 4.52"], scheme)] = tensors.pop(name)

    expected = adapter_of(copied(IMAGES, tmp_path / "first")).fingerprints()
    assert adapter_of(rewritten(copied(IMAGES, tmp_path / "renamed"), rename)).fingerprints() == expected


def drawn(spec: ModelSpec, dtype: str = "float32", uneven: bool = False) -> dict[str, np.ndarray]:
    """Random adapters of every weight that can have one; `uneven` ones differ in rank and alpha."""
    rng = np.random.default_rng(0)
    sizes = {module.path: module for module in peft_modules.modules(spec).values()}
    shapes = {path: spec_shapes(spec)[path] for path in sorted(sizes)}
    found = {}
    for number, (path, shape) in enumerate(shapes.items()):
        for name, size in lora.shapes(path, shape, 4 + uneven * (number % 2)).items():
            if name.endswith(lora.ALPHA):
                layers = np.arange(size[0]) * (uneven and number % 3 == 0)
                found[name] = (8 + layers / 3).astype(np.float32)
            else:
                found[name] = (rng.normal(size=size) * 0.05).astype(dtype)
    return found


def spec_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    from palitune.models.spec import expected

    return {path: tuple(shape.shape) for path, shape in expected(spec).items()}


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("name", WHOLE)
def test_out_and_in_again(name: str, uneven: bool, tmp_path: Path) -> None:
    """Bit for bit, alphas too; and the folder says what is usual once."""
    spec = hf_golden.load(name).spec
    made = drawn(spec, uneven=uneven)
    written = peft_writer.write(tmp_path / "out", spec, made, name)
    assert sorted(path.name for path in written) == sorted(path.name for path in (tmp_path / "out").iterdir())
    opened = opening.load(tmp_path / "out", find)
    assert isinstance(opened, Overlay)
    assert set(opened.changed) == set(made)
    for path, array in made.items():
        again = opened.changed[path]
        assert (again.shape, again.dtype, again.tobytes()) == (array.shape, array.dtype, array.tobytes())
    content = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert (content["r"], content["base_model_name_or_path"]) == (5 if uneven else 4, name)
    assert bool(content["rank_pattern"]) == bool(content["alpha_pattern"]) == uneven


def test_other_dtypes_stay_what_they_are(tmp_path: Path) -> None:
    spec = hf_golden.load("gemma1_text").spec
    for dtype in ("float16", "bfloat16"):
        made = drawn(spec, dtype)
        peft_writer.write(tmp_path / dtype, spec, made, "gemma1_text")
        assert {array.dtype.name for array in load_file(tmp_path / dtype / WEIGHTS).values()} == {dtype}
        adapter = adapter_of(tmp_path / dtype)
        assert all(adapter[path].tobytes() == array.tobytes() for path, array in made.items())


@pytest.mark.parametrize(
    ("family", "name", "targets", "task"),
    [
        ("gemma3-1b", "model.layers.", ["o_proj", "q_proj"], "CAUSAL_LM"),
        ("gemma3-4b", "model.language_model.layers.", r".*language_model.*\.(o_proj|q_proj)", "CAUSAL_LM"),
        ("paligemma2-3b", "model.language_model.layers.", r".*language_model.*\.(o_proj|q_proj)", "CAUSAL_LM"),
        ("shieldgemma2-4b", "model.model.language_model.layers.", r".*language_model.*\.(o_proj|q_proj)", None),
    ],
)
def test_names_and_targets(family: str, name: str, targets: object, task: str | None, tmp_path: Path) -> None:
    """As PEFT itself writes them for the classes of transformers 5."""
    spec = families.FAMILIES[family]
    weights = ["llm/layers/attn/q_einsum/w", "llm/layers/attn/attn_vec_einsum/w"]
    made = {}
    for weight in weights:
        made |= {
            path: np.ones(shape, np.float16)
            for path, shape in lora.shapes(weight, spec_shapes(spec)[weight], 1).items()
        }
    peft_writer.write(tmp_path / "out", spec, made, "google/base")
    content = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert (content["target_modules"], content["task_type"]) == (targets, task)
    assert (content["auto_mapping"] is None) == (task is not None)
    names = list(load_file(tmp_path / "out" / WEIGHTS))
    assert {one.removeprefix("base_model.model.").rpartition("layers.")[0] + "layers." for one in names} == {name}
    assert len(names) == 4 * spec.llm.depth


def test_what_has_no_place_in_an_adapter_is_named(tmp_path: Path) -> None:
    spec = hf_golden.load("gemma3_text").spec
    made = drawn(spec)
    with pytest.raises(ConfigurationError, match="no place for llm/final_norm/scale"):
        peft_writer.write(tmp_path, spec, {**made, "llm/final_norm/scale": np.zeros(64, np.float32)}, "x")
    lacking = {path: array for path, array in made.items() if path != f"llm/layers/mlp/linear{lora.B}"}
    with pytest.raises(ConfigurationError, match="llm/layers/mlp/linear_lora_b is missing"):
        peft_writer.write(tmp_path, spec, lacking, "x")
    with pytest.raises(ConfigurationError, match="there is no adapter to write"):
        peft_writer.write(tmp_path, spec, {}, "x")
    assert not list(tmp_path.iterdir())
    peft_writer.write(tmp_path, spec, made, "x")
    with pytest.raises(OutputExistsError, match=r"it already has adapter_config\.json, adapter_model\.safetensors"):
        peft_writer.write(tmp_path, spec, made, "x")


REFUSED = {
    "of another kind": ({"peft_type": "IA3"}, "it is of PEFT's kind IA3, and what can be read is LORA"),
    "dora": ({"use_dora": True}, "use_dora, magnitudes beside the factors (DoRA)"),
    "biases": ({"bias": "all"}, "bias, biases that were trained beside the adapters"),
    "biases of the factors": ({"lora_bias": True}, "lora_bias, biases beside the factors"),
    "whole layers": ({"modules_to_save": ["lm_head"]}, "modules_to_save, whole layers that were trained"),
    "tokens": ({"trainable_token_indices": [1]}, "trainable_token_indices, tokens that were trained"),
    "swapped": ({"fan_in_fan_out": True}, "fan_in_fan_out, weights with inputs and outputs swapped"),
    "replicated": ({"layer_replication": [[0, 2]]}, "layer_replication, layers that are used several times"),
    "another start": ({"init_lora_weights": "pissa"}, "init_lora_weights pissa, which begins by changing the base's"),
    "unknown": ({"use_xlora2": 1}, "use_xlora2, which is not known"),
    "several": ({"use_dora": True, "kasa_config": {"a": 1}}, "(KaSA); use_dora"),
    "another rank": ({"r": 3}, f"up_proj.lora_A.weight has shape (4, 64), and by {CONFIG} and the base (3, 64)"),
    "no rank": ({"r": 0}, "r is '0', and has to be a whole number from 1 to"),
    "no alpha": ({"lora_alpha": None}, "lora_alpha is not there, and has to be a number above zero"),
    "a list for a text": ({"peft_type": []}, "peft_type is '[]', and has to be a text"),
    "numbers for names": ({"target_modules": [1, 2]}, "target_modules is '[1, 2]', and has to be a list of texts"),
    "fewer targets": ({"target_modules": ["q_proj"]}, "k_proj has an adapter, and by adapter_config.json it has none"),
    "no targets": ({"target_modules": None}, "q_proj has an adapter, and by adapter_config.json it has none"),
    "excluded": ({"exclude_modules": ["v_proj"]}, "v_proj has an adapter, and by adapter_config.json it has none"),
    "some layers": ({"layers_to_transform": [0, 1]}, "layers.2.self_attn.q_proj has an adapter"),
    "no layers": ({"layers_to_transform": "0"}, "layers_to_transform is '0', and has to be numbers of layers"),
    "an odd pattern": ({"alpha_pattern": {"(?=a)": 2}}, "alpha_pattern has an expression that cannot be"),
    "a pattern of texts": ({"alpha_pattern": {"q_proj": "2"}}, "alpha_pattern.q_proj is '2', and has to be a number"),
    "an infinite alpha": ({"lora_alpha": 1e999}, "lora_alpha is 'inf', and has to be a number above zero"),
    "many patterns": ({"rank_pattern": {str(n): 1 for n in range(3_000)}}, "rank_pattern has more than 2,000 entries"),
    "no base": ({"base_model_name_or_path": None}, "it does not say which model it is for"),
    "an odd base": ({"base_model_name_or_path": "a\0b"}, "base_model_name_or_path is 'a\\x00b'"),
    "a missing base": ({"base_model_name_or_path": "google/x"}, "its base google/x is not there: no checkpoint"),
    "another base": ({"base_model_name_or_path": "gemma1_text"}, "k_proj.lora_B.weight has shape (32, 4), and by"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_are_refused(case: str, tmp_path: Path) -> None:
    settings, reason = REFUSED[case]
    assert reason in error_of(copied(LIST, tmp_path / "adapter", **settings))


ALLOWED = {
    "every layer": {"target_modules": "all-linear"},
    "an expression": {
        "target_modules": r"(?:.*?(?:language|model).*?(?:self_attn|mlp).*?(?:_proj).*?)|(?:\bx\.[\d]{1,})"
    },
    "lookahead, which is not followed": {"target_modules": r"^(?!.*vision).*(?:q|k|v|o|gate|up|down)_proj$"},
    "all layers": {"layers_to_transform": list(range(6)), "layers_pattern": ["layers"]},
    "beside an expression": {"target_modules": ".*_proj", "layers_to_transform": [0]},
    "settings that are off": {"use_xlora2": None, "merge_weights": False, "kinds": []},
    "dropout": {"lora_dropout": 0.3, "task_type": "CAUSAL_LM", "velora_config": {"rank": 1}},
}


@pytest.mark.parametrize("case", ALLOWED)
def test_settings_that_change_nothing(case: str, tmp_path: Path) -> None:
    expected = adapter_of(copied(LIST, tmp_path / "first")).fingerprints()
    found = adapter_of(copied(LIST, tmp_path / "adapter", **ALLOWED[case])).fingerprints()
    assert found == expected


def test_an_expression_names_more_than_there_is(tmp_path: Path) -> None:
    targets = r".*language_model.*\.(q_proj|v_proj|gate_proj|down_proj|o_proj)"
    found = error_of(copied("paligemma1_lora", tmp_path / "adapter", target_modules=targets))
    assert "base_model.model.model.language_model.layers.0.self_attn.o_proj has no adapter, and by" in found


def add(name: str, like: str = f"{PREFIX}q_proj.lora_A.weight") -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: tensors[like]})


def change(name: str, to: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: to(tensors[name])})


VISION = "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight"
REFUSED_TENSORS = {
    "the image encoder": (add(VISION), f"adapters on the image encoder ({VISION})"),
    "embeddings": (add("base_model.model.model.embed_tokens.lora_embedding_A"), "adapters on the embedding table"),
    "the output layer": (add("base_model.model.lm_head.weight"), "adapters on the embedding table or the"),
    "magnitudes": (add(f"{PREFIX}q_proj.lora_magnitude_vector"), "it has what cannot be read: magnitudes of DoRA"),
    "other layers": (add(PREFIX.replace("0", "6") + "q_proj.lora_A.weight"), "what this model does not have"),
    "no prefix": (add("layers.0.self_attn.q_proj.lora_A.weight"), "adapters of what this model does not have"),
    "anything": (add("base_model.model.thing"), "tensors that are of no adapter (base_model.model.thing)"),
    "two names": (add(PREFIX.replace(".model.l", ".l") + "q_proj.lora_A.weight"), "are the same layer"),
    "a missing half": (lambda tensors: tensors.pop(f"{PREFIX}q_proj.lora_B.weight"), "q_proj.lora_B.weight is missing"),
    "a missing pair": (
        lambda tensors: [tensors.pop(f"{PREFIX}q_proj.lora_{one}.weight") for one in "AB"],
        "layers.0.self_attn.q_proj has no adapter, and by adapter_config.json it has one",
    ),
    "another shape": (change(f"{PREFIX}q_proj.lora_B.weight", lambda one: one[:32]), "has shape (32, 4), and by"),
    "another dtype": (change(f"{PREFIX}q_proj.lora_B.weight", lambda one: one.astype("float16")), "make one parameter"),
    "whole numbers": (change(f"{PREFIX}q_proj.lora_B.weight", lambda one: one.astype("int8")), "is I8, and what can"),
    "nothing": (lambda tensors: tensors.clear(), "it has no adapter"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_TENSORS)
def test_tensors_that_are_refused(case: str, tmp_path: Path) -> None:
    changed, reason = REFUSED_TENSORS[case]
    assert reason in error_of(rewritten(copied(LIST, tmp_path / "adapter"), changed))


def test_files_that_are_refused(tmp_path: Path) -> None:
    folder = copied(LIST, tmp_path / "adapter")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    assert "adapter_model.bin has the weights as a pickle" in error_of(folder)
    (folder / "adapter_model.bin").unlink()
    assert f"there is no {WEIGHTS}" in error_of(folder)
    folder = copied(LIST, tmp_path / "other")
    (folder / CONFIG).unlink()
    assert f"there is no {CONFIG}" in error_of(folder)
    for content in ("", "[]", "{", '{"r": 1, "r": 2}', "[" * 100_000, '{"a":' + "[0," * 600_000):
        (folder / CONFIG).write_text(content)
        assert f"not an {CONFIG} of PEFT" in error_of(folder)
    shutil.copyfile(FOLDER / "gemma3_text" / "model.safetensors", folder / "model.safetensors")
    assert "it has a whole model and an adapter" in error_of(folder)
    (folder / WEIGHTS).unlink()
    assert not peft_config.is_adapter(folder)  # but a model


def test_ranks_that_would_fill_the_memory(tmp_path: Path) -> None:
    """One layer of a high rank in a deep model makes all layers that large; files may not."""
    spec = families.FAMILIES["gemma3-27b"]
    tensors = {
        f"base_model.model.model.language_model.layers.0.mlp.up_proj.lora_{one}.weight": np.zeros(shape, np.float16)
        for one, shape in (("A", (2_000, spec.llm.width)), ("B", (spec.llm.mlp_dim, 2_000)))
    }
    save_file(tensors, tmp_path / WEIGHTS)
    settings = {"peft_type": "LORA", "r": 2_000, "lora_alpha": 1, "target_modules": r".*\.0\.mlp\.up_proj"}
    (tmp_path / CONFIG).write_text(json.dumps(settings))
    with pytest.raises(ConfigurationError, match="its ranks are too different to be stacked"):
        PeftAdapter(tmp_path, spec)


def test_one_layer_of_one_projection(tmp_path: Path) -> None:
    def only(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            if "layers.3.self_attn.k_proj" not in name:
                del tensors[name]

    folder = copied(LIST, tmp_path / "adapter", target_modules=["layers.3.self_attn.k_proj"])
    adapter = adapter_of(rewritten(folder, only))
    assert lora.adapted(adapter) == ["llm/layers/attn/kv_einsum/w"]
    a = adapter[f"llm/layers/attn/kv_einsum/w{lora.A}"]
    assert [tuple(place) for place in np.argwhere(np.abs(a).sum((2, 3)))] == [(3, 0)]


class TestOpening:
    def test_by_the_file_and_by_the_folder(self, tmp_path: Path) -> None:
        folder = copied(LIST, tmp_path / "adapter")
        assert adapter_of(folder / WEIGHTS).fingerprints() == adapter_of(folder).fingerprints()
        assert workspace.checkpoint_to_read(str(folder)) == folder
        assert workspace.checkpoint_to_read(str(folder / WEIGHTS)) == folder / WEIGHTS
        assert workspace.name_of(folder / WEIGHTS) == workspace.name_of(folder) == "adapter"
        assert manifest.read(folder) == manifest.read(folder / WEIGHTS) == {}

    def test_what_is_learned_on_it_knows_its_base(self, tmp_path: Path) -> None:
        opened = opening.load(copied(LIST, tmp_path / "adapter"), find)
        assert isinstance(opened, Overlay)
        described = delta.describe(opened, "adapter")
        assert described["name"] == "gemma3_text"
        assert described["hash"] == delta.content_hash(opened.base)
        assert delta.inherited(opened) == list(opened.changed)
        assert opened.whole is opened.base

    def test_its_base_is_whole(self, tmp_path: Path) -> None:
        folder = copied(LIST, tmp_path / "adapter")
        with pytest.raises(BadDataError, match="is an adapter or a delta itself"):
            opening.load(folder, lambda name: FOLDER / LIST)

    def test_other_content_is_another_checkpoint(self, tmp_path: Path) -> None:
        name = f"{PREFIX}q_proj.lora_A.weight"
        first, second = copied(LIST, tmp_path / "a"), copied(LIST, tmp_path / "b")
        rewritten(second, change(name, lambda one: one + 1))
        one, other = adapter_of(first).fingerprints(), adapter_of(second).fingerprints()
        assert {path for path in one if one[path] != other[path]} == {f"llm/layers/attn/q_einsum/w{lora.A}"}


MUTATIONS = 500


def lines(count: int, folder: Path, spec: ModelSpec, mutate: Callable[[], None]) -> int:
    """How many mutations could be read; each of the others is one line, within bounded memory."""
    errors: list[tuple[int, str]] = []  # no exceptions, whose frames would keep arrays alive
    tracemalloc.start()
    for _ in range(count):
        mutate()
        try:
            arrays(PeftAdapter(folder, spec))
        except PalituneError as error:
            errors.append((error.exit_code, str(error)))
    assert tracemalloc.get_traced_memory()[1] < tensor_file.MOST_HEADER + (16 << 20)
    tracemalloc.stop()
    for code, line in errors:
        assert code in (65, 66, 78)
        assert "\n" not in line
        assert len(line) < 6000
    return count - len(errors)


def test_mutations_of_the_file(tmp_path: Path) -> None:
    def only(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            if "layers.3.self_attn" not in name:
                del tensors[name]

    folder = rewritten(copied(LIST, tmp_path / "adapter", target_modules=".*[.]3[.]self_attn.*"), only)
    content, dice = (folder / WEIGHTS).read_bytes(), random.Random(1)
    spec = hf_golden.load("gemma3_text").spec
    read = lines(MUTATIONS, folder, spec, lambda: (folder / WEIGHTS).write_bytes(mutated(content, dice)) and None)
    assert 0 < read < MUTATIONS // 2


def test_mutations_of_the_settings(tmp_path: Path) -> None:
    folder = copied(PATTERNS, tmp_path / "adapter")
    content, dice = json.loads((folder / CONFIG).read_text()), random.Random(1)
    odd = [None, True, -1, 0, 2, 1 << 70, 1.5, "", "(", "q_proj", "(a+)+$", [], ["q_proj"], {}, {"q_proj": 2}, [[0]]]

    def mutate() -> None:
        changed = dict(content)
        for _ in range(dice.choice((1, 1, 2))):
            changed[dice.choice(list(changed))] = dice.choice(odd)
        text = json.dumps(changed)
        at = dice.randrange(len(text))
        if dice.random() < 0.5:
            text = text[:at] + dice.choice(["", "}", "9", '"', "\0", "é", "[" * 50]) + text[at + dice.randrange(3) :]
        (folder / CONFIG).write_text(text)

    assert MUTATIONS // 20 < lines(MUTATIONS, folder, hf_golden.load("gemma2_text").spec, mutate) < MUTATIONS * 3 // 4

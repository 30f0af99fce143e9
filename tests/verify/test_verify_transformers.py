"""What palitune exports, as transformers and PEFT load and compute it: bin/test.sh --verify runs this, with torch."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import figures
import hf_golden
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Run

from palitune import trees, workspace
from palitune.checkpoint import opening
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.config.export import ExportSettings
from palitune.config.model import ModelSettings
from palitune.data import example_files, templates
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.images import decoder
from palitune.errors import MissingInputError
from palitune.infer import loading
from palitune.models import multimodal
from palitune.models.multimodal import Text
from palitune.run.export import export
from palitune.run.transformers_reference import TransformersReference
from palitune.run.verification import verify

# Not ours to correct; what transformers says while it loads is recorded below.
pytestmark = pytest.mark.filterwarnings("ignore")
FAMILIES = (*hf_golden.WHOLE, "paligemma2_published_names")
TOLERANCE = 1e-4
Figures = dict[str, dict[str, float | int | str]]


@pytest.fixture(scope="module")
def found() -> Iterator[Figures]:
    """Figures by test, which are kept when all tests of the file have run."""
    made: Figures = {}
    yield made
    figures.write(made)


@pytest.fixture
def said() -> Iterator[Callable[[], list[str]]]:
    """What transformers has warned of since, by Python's way or its own."""
    import transformers

    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), transformers.utils.logging.get_logger("transformers")
    transformers.utils.logging.set_verbosity_warning()
    logger.addHandler(listener)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [*lines, *(str(one.message) for one in caught if "transformers" in one.filename)]
    logger.removeHandler(listener)


def loaded(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """A folder by the class that its config.json names, and what from_pretrained tells of it."""
    import torch
    import transformers

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, told = getattr(transformers, name).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    return model.eval(), told


def computed(model: Any, values: Mapping[str, np.ndarray], prefix: str = "in") -> np.ndarray:
    """Logits float32[B, T, V] of the inputs of a reference vector."""
    import torch

    names = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
    inputs = {name: torch.from_numpy(values[f"{prefix}/{name}"]) for name in names if f"{prefix}/{name}" in values}
    with torch.inference_mode():
        return np.asarray(model(**inputs).logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_import_and_export(name: str, found: Figures, said: Callable[[], list[str]], tmp_path: Path) -> None:
    """transformers misses nothing, warns of nothing, and computes what palitune does."""
    folder = tmp_path / "out"
    export(ExportSettings(model=str(hf_golden.FOLDER / name), to=str(folder)), quiet=True)
    model, told = loaded(folder)
    assert said() == []
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    golden = hf_golden.load(name)
    theirs = computed(model, golden.values)
    golden = golden._replace(values={**golden.values, "logits": theirs})
    inputs = golden.inputs("in")
    params = {path: jnp.asarray(array, jnp.float32) for path, array in golden.params.items()}
    logits = multimodal.forward(golden.spec, trees.unflatten(params), inputs.image, inputs.text)
    ours, expected = hf_golden.aligned(golden, inputs, logits)
    real = np.concatenate([np.asarray(inputs.text.real)[row, : len(c)] for row, c in enumerate(inputs.columns)]) > 0
    difference = float(np.abs(ours - expected)[real].max())
    found[f"import, export: {name}"] = {"largest difference of logits": figures.rounded(difference)}
    assert difference < TOLERANCE


def test_shieldgemma2(found: Figures, said: Callable[[], list[str]], tmp_path: Path) -> None:
    """Both numbers that ShieldGemma 2 answers with are logits of the exported base, and so is the rest."""
    golden = hf_golden.shieldgemma2(tmp_path / "base")
    export(ExportSettings(model=str(tmp_path / "base"), to=str(tmp_path / "out")), quiet=True)
    model, told = loaded(tmp_path / "out")
    assert type(model).__name__ == "ShieldGemma2ForImageClassification"
    assert said() == []
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    logits = computed(model.model, golden.values)
    chosen = logits[:, -1, [golden.config["yes_token_index"], golden.config["no_token_index"]]]
    np.testing.assert_array_equal(computed(model, golden.values), chosen)
    difference = float(np.abs(logits - golden.values["logits"]).max())
    found["import, export: shieldgemma2"] = {"largest difference of logits": figures.rounded(difference)}
    assert difference < TOLERANCE


@pytest.fixture(scope="module")
def ads(workspace: Path, run: Run) -> Path:
    """200 advertisements that no run has learned from."""
    done = run("palitune", "demo-data", "--count", "200", "--seed", "77", "-o", "new", cwd=workspace)
    assert done.returncode == 0, done.stderr
    done = run("palitune", "demo-data", "--count", "200", "-o", "old", cwd=workspace)
    assert done.returncode == 0, done.stderr
    done = run("palitune", "split", "old/data.jsonl", "-v", "40", "-n", "learned", cwd=workspace)
    assert done.returncode == 0, done.stderr
    return workspace


@pytest.fixture(scope="module", params=["tiny", "tiny3"])
def base(request: pytest.FixtureRequest) -> str:
    try:
        workspace.checkpoint_to_read(request.param)
    except MissingInputError:
        pytest.skip(f"{request.param} is not there")
    return str(request.param)


def test_fine_tuned(base: str, found: Figures, ads: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers gives the answers and probabilities of `palitune inference`, of 200 new advertisements."""
    name = f"trained-{base}"
    done = run("palitune", "learn", "-d", "old/learned", "-m", base, "-w", name, "--examples", "400", cwd=ads)
    assert done.returncode == 0, done.stderr
    done = run("palitune", "export", name, "--to", f"hf-{base}", cwd=ads)
    assert done.returncode == 0, done.stderr
    done = run("palitune", "inference", "-m", name, "-d", "new/data.jsonl", cwd=ads)
    assert done.returncode == 0, done.stderr
    (ads / f"{name}.tsv").write_text(done.stdout)
    said = [one for _, (_, one) in example_files.Reader(ads / f"{name}.tsv", labelled=False).answered()]
    monkeypatch.setenv("PALITUNE_HOME", str(ads))
    model = loading.load(ads / "checkpoints" / f"{name}.npz", ModelSettings(dtype="float32"), quiet=True)
    reference = TransformersReference(ads / f"hf-{base}")
    yes, no = (model.template.answer(label) for label in ("yes", "no"))
    assert len(yes) == len(no) == 1
    same, furthest = 0, 0.0
    assert len(said) == 200
    for one in said:
        assert one is not None
        image = decoder.load(ads / "new" / one.example.image.name, model.sizes.image_encoder.image_size)
        prompt = model.template.prompt(one.example, PROMPT)
        logits = reference.logits(image[None], prompt)[-1].astype(np.float64)
        p_yes = 1 / (1 + np.exp(logits[no[0]] - logits[yes[0]]))
        tokens = reference.greedy(image[None], prompt, 8, model.template.end, model.template.vocabulary.size)
        same += templates.written(model.template, tokens.tolist()) == one.text == ("yes" if p_yes >= 0.5 else "no")
        assert one.p_yes is not None
        furthest = max(furthest, abs(float(p_yes) - one.p_yes))
    found[f"fine-tune, export: {base}"] = {
        "same answers of 200": same,
        "largest difference of p_yes": figures.rounded(furthest),
    }
    assert same == 200
    assert furthest < 1e-3


PROMPT = "Is this image appropriate based on Federal Food, Drug, and Cosmetic Act?"


def test_its_own_processor(base: str, ads: Path, run: Run, found: Figures, said: Callable[[], list[str]]) -> None:
    """The exported processor puts the same tokens before the model, and pixels that differ by a grey level."""
    from PIL import Image
    from transformers import AutoProcessor

    name = f"own-{base}"
    done = run("palitune", "export", base, "--to", name, cwd=ads)
    assert done.returncode == 0, done.stderr
    processor = AutoProcessor.from_pretrained(ads / name)
    assert [line for line in said() if "rocessor" not in line] == []
    model = loading.load(workspace.checkpoint_to_read(base), ModelSettings(dtype="float32"), quiet=True)
    path = next(iter(sorted((ads / "new" / "images").glob("*.png"))))
    opened = Image.open(path).convert("RGB")
    if base == "tiny":
        made = processor(images=opened, text=f"<image>{PROMPT}", return_tensors="np")
    else:
        content = [{"type": "image", "image": opened}, {"type": "text", "text": PROMPT}]
        made = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="np",
        )  # fmt: skip
    reference = TransformersReference(ads / name)
    ours = reference.inputs(model.template.prompt(Example.of(path, PROMPT), ""))
    np.testing.assert_array_equal(made["input_ids"], ours.ids)
    pixels = decoder.load(path, model.sizes.image_encoder.image_size)
    difference = float(np.abs(np.asarray(made["pixel_values"])[0].transpose(1, 2, 0) - pixels).max())
    found[f"processor: {base}"] = {"largest difference of pixels, in grey levels": round(difference * 127.5, 1)}
    assert difference * 127.5 < 2


def test_the_command(base: str, ads: Path, monkeypatch: pytest.MonkeyPatch, found: Figures) -> None:
    """palitune verify --against transformers."""
    monkeypatch.setenv("PALITUNE_HOME", str(ads))
    done = verify(ModelSettings(model=base, dtype="float32"), [], against="transformers", quiet=True)
    assert done.agrees
    assert done.image_tokens is not None
    assert done.lines()[-1].startswith("verdict: palitune's model is transformers'")
    found[f"palitune verify: {base}"] = {
        "largest difference of image tokens": figures.rounded(done.image_tokens.largest),
        "largest difference of logits": figures.rounded(done.logits.largest),
        "same answers of 4": done.same,
    }


# Adapters.


@pytest.mark.parametrize("kind", ["--adapter", "--as-lora"])
def test_an_adapter_goes_out(kind: str, ads: Path, run: Run, found: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT, with the adapter on the exported base, computes what palitune does."""
    import torch
    from peft import PeftModel

    monkeypatch.setenv("PALITUNE_HOME", str(ads))
    method = "lora" if kind == "--adapter" else "attention"
    name, folder = f"as{kind}", ads / f"peft{kind}"
    options = ["--method", method, "--examples", "60"]
    done = run("palitune", "learn", "-d", "old/learned", "-m", "tiny", "-w", name, *options, cwd=ads)
    assert done.returncode == 0, done.stderr
    rank = [] if kind == "--adapter" else ["96"]  # all there is
    for command in (["tiny", "--to", f"base{kind}", "--dtype", "float32"], [name, "--to", str(folder), kind, *rank]):
        done = run("palitune", "export", *command, cwd=ads)
        assert done.returncode == 0, done.stderr
    model, _ = loaded(ads / f"base{kind}")
    with_adapter = PeftModel.from_pretrained(model, folder).eval()
    reference = TransformersReference(ads / f"base{kind}")
    ours = loading.load(ads / "checkpoints" / f"{name}.npz", ModelSettings(dtype="float32"), quiet=True)
    path = next(iter(sorted((ads / "new" / "images").glob("*.png"))))
    pixels = decoder.load(path, 72)[None]
    encoded = templates.encoded(ours.template, Example.of(path, PROMPT, "yes"), "")
    arguments = reference._arguments(pixels, reference.inputs(encoded))
    with torch.inference_mode():
        theirs = np.asarray(with_adapter(**arguments).logits)[0][reference.inputs(encoded).text][:, :512]
    difference = float(np.abs(_logits(ours, pixels, encoded) - theirs).max())
    found[f"adapter out: {kind.removeprefix('--')}"] = {"largest difference of logits": figures.rounded(difference)}
    assert difference < TOLERANCE


def _logits(model: loading.Model, pixels: np.ndarray, encoded: Encoded) -> np.ndarray:
    params = {path: jnp.asarray(np.asarray(model.checkpoint[path]), jnp.float32) for path in model.checkpoint}
    blocks = encoded.attention_blocks
    causal = (np.diff(blocks, prepend=blocks[:1]) > 0).astype(np.int32)
    text = Text(encoded.tokens[None], causal[None])
    return np.asarray(multimodal.forward(model.sizes, trees.unflatten(params), pixels, text))[0]


@pytest.mark.parametrize("name", ["gemma3_text", "paligemma1"])
def test_an_adapter_comes_in(name: str, found: Figures, tmp_path: Path) -> None:
    """One that PEFT has made: unmerged and merged, palitune computes what PEFT does."""
    pytest.importorskip("palitune.checkpoint.peft_reader")
    import torch
    from peft import LoraConfig, get_peft_model

    golden, folder = hf_golden.load(name), hf_golden.FOLDER / name
    model, _ = loaded(folder)
    targets: Any = ["q_proj", "v_proj", "down_proj"]
    if golden.spec.img is not None:
        targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=targets, rank_pattern={"down_proj": 3}, use_rslora=True)
    adapted = get_peft_model(model, settings)
    for key, value in adapted.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.05)
    adapted.peft_config["default"].base_model_name_or_path = str(folder)
    adapted.save_pretrained(tmp_path / "adapter")
    golden = golden._replace(values={**golden.values, "logits": computed(adapted.eval(), golden.values)})
    inputs = golden.inputs("in")
    real = np.concatenate([np.asarray(inputs.text.real)[row, : len(c)] for row, c in enumerate(inputs.columns)]) > 0
    export(ExportSettings(model=str(tmp_path / "adapter"), to=str(tmp_path / "merged")), quiet=True)
    unmerged = opening.load(tmp_path / "adapter", workspace.checkpoint_to_read)
    for kind, checkpoint in (("unmerged", unmerged), ("merged", TransformersCheckpoint(tmp_path / "merged"))):
        params = {path: jnp.asarray(np.asarray(checkpoint[path]), jnp.float32) for path in checkpoint}
        logits = multimodal.forward(golden.spec, trees.unflatten(params), inputs.image, inputs.text)
        ours, theirs = hf_golden.aligned(golden, inputs, logits)
        difference = float(np.abs(ours - theirs)[real].max())
        found[f"adapter in, {kind}: {name}"] = {"largest difference of logits": figures.rounded(difference)}
        assert difference < TOLERANCE

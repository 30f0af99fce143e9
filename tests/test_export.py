"""A checkpoint exported as the folder that transformers loads: its files, its tensors, its card, and all that fails.

What transformers itself makes of the folder is in tests/verify, which needs torch.
"""

import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jinja2
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import yaml
from conftest import GOLDEN, Golden, Run
from test_atomic_folder import killed
from test_vocabulary_files import sentence_piece, tokenizer_json

from palitune.checkpoint import manifest, npz, padded_vocabulary, spec_json, tensor_names, transformers_config
from palitune.checkpoint.tensor_files import INDEX, WHOLE, TensorFiles
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.config.export import ExportSettings
from palitune.data import tokenizer_json as made_json
from palitune.data.templates import Gemma
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError, OutputExistsError, PalituneError, UsageError
from palitune.hub import catalogue
from palitune.models import families
from palitune.models.spec import PALIGEMMA
from palitune.run import exported_files
from palitune.run.export import Exported, export
from palitune.storage import atomic_files, new_folder

pytestmark = pytest.mark.quick_programs

HF = GOLDEN / "hf"
NAMES = sorted(path.parent.name for path in HF.glob("*/config.json"))
FILES = {
    *("README.md", "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
}
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def exported(model: Path | str, folder: Path, shard_bytes: int = 1 << 40, **settings: Any) -> Exported:
    return export(ExportSettings(model=str(model), to=str(folder), **settings), quiet=True, shard_bytes=shard_bytes)


def front_matter(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "README.md").read_text().split("---\n")[1]))


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_in_goes_out(name: str, tmp_path: Path) -> None:
    """The same tensors bit for bit, and a configuration that says the same model, special tokens included."""
    exported(HF / name, tmp_path / "out")
    base, again = TransformersCheckpoint(HF / name), TransformersCheckpoint(tmp_path / "out")
    theirs, ours = TensorFiles(HF / name), TensorFiles(tmp_path / "out")
    plain = {tensor_names.plain_name(one): one for one in theirs}
    assert {tensor_names.plain_name(one) for one in ours} == plain.keys()
    for one in ours:
        other = plain[tensor_names.plain_name(one)]
        assert (ours.dtype(one), ours[one].tobytes()) == (theirs.dtype(other), theirs[other].tobytes())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert dataclasses.replace(transformers_config.read(config, "out"), stored_dtype="") == dataclasses.replace(
        base.spec, stored_dtype=""
    )
    assert again.image_token == base.image_token
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert config.get("text_config", config)[key] == base.config.get("text_config", base.config)[key]  # type: ignore[attr-defined]
    generation = HF / name / "generation_config.json"
    if generation.is_file():
        assert (tmp_path / "out" / "generation_config.json").read_bytes() == generation.read_bytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BFLOAT16])
def test_an_npz_goes_out_and_comes_back(golden: Golden, dtype: Any, run: Run, tmp_path: Path) -> None:
    """Bit for bit, by the commands; rows that were added for the image's token are left out again."""
    arrays = {path: np.asarray(array).astype(dtype) for path, array in golden.params.items()}
    dtypes = {path: array.dtype for path, array in arrays.items()}
    model = spec_json.of_model(golden.sizes, arrays)
    text = manifest.text(base=None, dtypes=dtypes, config={}, data="", model=model)
    npz.save(tmp_path / "mine.npz", arrays, dtypes, comment=manifest.comment(text))
    for command in (["export", "./mine.npz", "--to", "out"], ["merge", "./out", "-w", "./again"]):
        done = run("palitune", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    again = npz.Checkpoint(tmp_path / "again.npz")
    assert set(again) == set(arrays)
    for path, array in arrays.items():
        assert again[path].dtype == array.dtype
        assert again[path].tobytes() == array.tobytes()
    assert (again.spec or families.read(again)).llm == golden.sizes.llm


def test_shards(tmp_path: Path) -> None:
    done = exported(HF / "gemma3_vision", tmp_path / "out", shard_bytes=100_000)
    shards = sorted(name for name in done.files if name.endswith(".safetensors"))
    assert len(shards) > 3
    assert INDEX in done.files
    tensors = TensorFiles(tmp_path / "out")
    for name in shards:
        inside = TensorFiles(tmp_path / "out" / name)
        assert len(inside) == 1 or sum(inside[one].nbytes for one in inside) <= 100_000
    assert len(tensors) == len(TensorFiles(HF / "gemma3_vision"))
    # Fewer files take the place of more, and none of the old ones stays.
    exported(HF / "gemma3_vision", tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors*")) == [WHOLE]


def test_dtypes(tmp_path: Path) -> None:
    base = TransformersCheckpoint(HF / "paligemma2_published_names")
    for name, dtype in (("float32", np.dtype(np.float32)), ("float16", np.dtype(np.float16)), ("bfloat16", BFLOAT16)):
        exported(base.path, tmp_path / name, dtype=name)
        found = TransformersCheckpoint(tmp_path / name)
        assert found.spec.stored_dtype == name
        for path in base:
            assert found[path].dtype == dtype
            np.testing.assert_array_equal(found[path], base[path].astype(np.float32).astype(dtype))
    exported(base.path, tmp_path / "own")
    assert TransformersCheckpoint(tmp_path / "own").fingerprints() == base.fingerprints()
    large = {path: base[path].astype(np.float32) for path in base}
    large["llm/final_norm/scale"] = np.full_like(large["llm/final_norm/scale"], 1e6)
    text = manifest.text(base=None, dtypes={}, config={}, data="", model=spec_json.as_json(base.spec))
    npz.save(tmp_path / "large.npz", large, comment=manifest.comment(text))
    with pytest.raises(BadDataError, match="do not fit into float16"):
        exported(tmp_path / "large.npz", tmp_path / "none", dtype="float16")
    assert not (tmp_path / "none").exists()


# A trained checkpoint: the card, and what belongs beside the weights.


@pytest.fixture(scope="module")
def trained(workspace: Path, run: Run) -> Path:
    learn = ["learn", "-d", "set1", "--examples", "4", "-w"]
    for command in ([*learn, "trained"], [*learn, "adapted", "--method", "lora", "--prompt", "a | b `c`\n--- d"]):
        done = run("palitune", *command, cwd=workspace)
        assert done.returncode == 0, done.stderr
    answers = run("palitune", "inference", "-m", "trained", "-d", "dataset/set1/valid.jsonl", cwd=workspace)
    (workspace / "answers.tsv").write_text(answers.stdout)
    done = run("palitune", "threshold", "answers.tsv", "--f-measure", "-m", "trained", cwd=workspace)
    assert done.returncode == 0, done.stderr
    return workspace


@pytest.fixture(scope="module")
def out(trained: Path, run: Run) -> Path:
    done = run("palitune", "export", "trained", "--to", "hf/out", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "note: 64 rows are added to the vocabulary's 512, for the image's token" in done.stderr
    return trained / "hf" / "out"


def test_the_files(out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {*FILES, "palitune.json", "palitune_threshold.json"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    config = json.loads((out / "config.json").read_text())
    assert (config["image_token_index"], config["text_config"]["vocab_size"]) == (512, 576)
    assert config["dtype"] == "float16"
    assert json.loads((out / "preprocessor_config.json").read_text())["size"] == {"height": 72, "width": 72}
    tokens = json.loads((out / "tokenizer_config.json").read_text())
    assert (tokens["bos_token"], tokens["eos_token"], tokens["extra_special_tokens"]) == (
        "<s>",
        "</s>",
        {"image_token": "<image>"},
    )


def test_a_delta_is_merged_with_its_base(out: Path, trained: Path) -> None:
    found, changed = TransformersCheckpoint(out), npz.Checkpoint(trained / "checkpoints" / "trained.npz")
    base = npz.Checkpoint(catalogue.packaged("tiny"))
    assert len(changed) == 3
    for path in base:
        table = base[path] if path not in changed else changed[path]
        assert found[path][: len(table)].tobytes() == table.tobytes()


def test_adapters_are_multiplied_in(trained: Path, run: Run) -> None:
    for command in (
        ["export", "adapted", "--to", "hf/adapted", "--dtype", "float32"],
        ["merge", "-m", "adapted", "-w", "merged"],
    ):
        done = run("palitune", *command, cwd=trained)
        assert done.returncode == 0, done.stderr
    found = TransformersCheckpoint(trained / "hf" / "adapted")
    merged = npz.Checkpoint(trained / "checkpoints" / "merged.npz")
    for path in merged:
        np.testing.assert_array_equal(found[path][: len(merged[path])], merged[path].astype(np.float32))
    done = run("palitune", "export", "adapted", "--to", "hf/rounded", cwd=trained)
    assert "weights that had an adapter are rounded to float16; --dtype float32 keeps all digits" in done.stderr


def test_a_folder_answers_as_its_checkpoint(out: Path, trained: Path, run: Run) -> None:
    """The prompt, the threshold and the images it has learned from go out and come back."""
    for command in (
        ["export", "adapted", "--to", "hf/own-adapter", "--adapter", "--dtype", "float32"],
        ["export", "adapted", "--to", "hf/own-whole", "--dtype", "float32"],
        ["export", "hf/own-whole", "--to", "hf/again"],
        ["merge", "-m", "hf/out", "-w", "back"],
    ):
        done = run("palitune", *command, cwd=trained)
        assert done.returncode == 0, done.stderr

    def answers(name: str) -> tuple[list[str], str]:
        done = run("palitune", "inference", "-m", name, "-d", "dataset/set1/train.jsonl", cwd=trained)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr

    expected, said = answers("trained")
    assert "threshold" in said
    for name in ("hf/out", "hf/out/model.safetensors", "back"):
        found, also_said = answers(name)
        assert found == expected
        assert "threshold" in also_said
    expected, _ = answers("adapted")
    for name in ("hf/own-adapter", "hf/own-whole", "hf/again"):
        found, _ = answers(name)
        for one, other in zip(found, expected, strict=True):
            (*start, share, label, _), (*begun, wanted, right, _) = one.split("\t"), other.split("\t")
            assert (start[0], label) == (begun[0], right)
            assert abs(float(share) - float(wanted)) < 1e-3
    for name in ("trained", "hf/out", "back", "hf/again"):
        done = run("palitune", "validate", "-m", name, "dataset/set1/train.jsonl", cwd=trained)
        assert "has learned from 18 of these 18 images" in done.stderr, done.stderr
    content = (trained / "hf" / "again" / "README.md").read_text()
    assert front_matter(trained / "hf" / "again")["license"] == "apache-2.0"
    assert "Fine-tuned from tiny with 18 different images." in content
    for folder in ("own-adapter", "own-whole", "again"):
        written = json.loads((trained / "hf" / folder / "palitune.json").read_text())
        assert written["config"]["prompt"] == "a | b `c`\n--- d"
        assert (written["base"], written["data"], written["made_from"]) == (None, "", "tiny")


def test_an_adapter_of_an_adapter_is_for_the_same_base(trained: Path, run: Run) -> None:
    for source, to in (("adapted", "hf/first"), ("hf/first", "hf/second")):
        done = run("palitune", "export", source, "--to", to, "--adapter", cwd=trained)
        assert done.returncode == 0, done.stderr
    config = json.loads((trained / "hf" / "second" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"


def test_the_program_of_a_card_asks_the_prompt(trained: Path, run: Run) -> None:
    prompt = "Is \U0001f642 \U00020bb7 fine?"
    learn = ["learn", "-d", "set1", "--examples", "2", "-w", "odd", "--prompt", prompt]
    for command in (learn, ["export", "odd", "--to", "hf/odd"]):
        done = run("palitune", *command, cwd=trained)
        assert done.returncode == 0, done.stderr
    program = (trained / "hf" / "odd" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    texts = [node.value for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]
    assert f"<image>{prompt}" in texts


def test_adapters_too_large_for_their_dtype(trained: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    exported(trained / "checkpoints" / "adapted.npz", adapter, adapter=True, dtype="float32")
    path = adapter / "adapter_model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    name = next(iter(tensors))
    tensors[name][0, 0] = 1e5
    safetensors.numpy.save_file(tensors, path, {"format": "pt"})
    with pytest.raises(BadDataError, match="values that do not fit into float16"):
        exported(adapter, tmp_path / "rounded", adapter=True, dtype="float16")
    assert not (tmp_path / "rounded").exists()


def test_a_name_that_would_hide_the_folder(out: Path, trained: Path, run: Run) -> None:
    shutil.copytree(out, trained / "same")
    done = run("palitune", "learn", "-d", "set1", "--examples", "2", "-m", "same", "-w", "same", cwd=trained)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "-w same would hide the model of that name" in done.stderr


def test_the_added_rows_never_win(out: Path) -> None:
    table = TransformersCheckpoint(out)["llm/embedder/input_embedding"].astype(np.float64)
    np.testing.assert_allclose(table[512:], np.tile(table[:512].mean(axis=0), (64, 1)), atol=1e-3)
    states = np.random.default_rng(0).standard_normal((1000, table.shape[1]))
    logits = states @ table.T
    assert (logits[:, :512].max(axis=1) > logits[:, 512:].max(axis=1)).all()


def test_the_card(out: Path, trained: Path) -> None:
    card, content = front_matter(out), (out / "README.md").read_text()
    assert card["license"] == "apache-2.0"
    assert (card["library_name"], card["pipeline_tag"]) == ("transformers", "image-text-to-text")
    assert {"palitune", "paligemma"} == set(card["tags"])
    figures = {one["type"]: one["value"] for one in card["model-index"][0]["results"][0]["metrics"]}
    block = (trained / "checkpoints" / "trained.run" / "results.txt").read_text().split("valid.jsonl (1st trained)")[1]
    found = re.search(r"accuracy: +(\S+)", block)
    assert found is not None
    assert figures["accuracy"] == pytest.approx(float(found[1]), abs=1e-5)
    assert "Fine-tuned from tiny on 18 examples with 18 different images." in content
    assert "On 6 validation examples, which it has not learned from; intervals are of 95 %." in content
    accuracy = re.search(r"^\| accuracy \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \| ([\d.]+) \|$", content, re.MULTILINE)
    assert accuracy is not None
    value, low, high, _ = map(float, accuracy.groups())
    assert 0 <= low <= value <= high <= 1
    stored = json.loads((trained / "checkpoints" / "trained.threshold.json").read_text())
    assert f"The answer is `yes` from a probability of {stored['threshold']:.6g} on" in content
    assert "| method | attention |" in content
    assert "lora" not in content  # settings of other methods had no effect
    program = content.split("```python\n")[1].split("```")[0]
    compile(program, "card", "exec")
    assert len(program.splitlines()) == 5


def test_no_personal_paths(out: Path, trained: Path, environment: dict[str, str]) -> None:
    """No file names this machine's folders, or its user."""
    user = os.environ.get("USER") or Path.home().name
    names = [
        str(trained),
        environment["HOME"],
        str(Path.home()),
        "dataset/",
        "set1",
        "/tmp/",
        *([user] * (len(user) > 4)),
    ]
    for path in out.iterdir():
        content = path.read_bytes()
        if path.name == WHOLE:
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        assert not [name for name in names if name.encode() in content], path


def test_odd_texts_in_a_card(trained: Path, run: Run) -> None:
    card = trained / "hf" / "adapted" / "README.md"
    if not card.is_file():
        assert run("palitune", "export", "adapted", "--to", "hf/adapted", cwd=trained).returncode == 0
    content = card.read_text()
    assert r"| prompt | a \| b \`c\`\n--- d |" in content.replace(r"\\n", r"\n")
    assert front_matter(card.parent)["license"] == "apache-2.0"
    compile(content.split("```python\n")[1].split("```")[0], "card", "exec")


def test_a_threshold_of_other_parameters_is_left_out(trained: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    shutil.copy(trained / "checkpoints" / "adapted.npz", folder / "adapted.npz")
    shutil.copy(trained / "checkpoints" / "trained.threshold.json", folder / "adapted.threshold.json")
    shutil.copytree(trained / "checkpoints" / "trained.run", folder / "adapted.run")  # and of another run the figures
    done = run("palitune", "export", "adapted", "--to", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "out" / "README.md").read_text()
    assert "## Threshold" not in content
    assert "## What it is worth" not in content
    assert "Fine-tuned from tiny with 18 different images." in content


def test_published_bases_are_named(tmp_path: Path) -> None:
    """By what Hugging Face calls them, under their licence."""
    from palitune.run import model_card
    from palitune.run.run_results import RunResults

    card = model_card.Card(
        "mine", families.published("paligemma-3b"), "paligemma", "PaliGemmaForConditionalGeneration", "float16",
        "pt-224", {"method": "full"}, None, RunResults(), None,
    )  # fmt: skip
    for base, name in (
        ("pt-224", "google/paligemma-3b-pt-224"),
        ("10b-mix-448", "google/paligemma2-10b-mix-448"),
        ("google/gemma-3-4b-it", "google/gemma-3-4b-it"),
    ):
        found = yaml.safe_load(model_card.text(card._replace(base=base)).split("---\n")[1])
        assert (found["base_model"], found["license"]) == (name, "gemma")
        assert found["license_link"].startswith("https://ai.google.dev/")
    found = yaml.safe_load(model_card.text(card._replace(base="my-own")).split("---\n")[1])
    assert "base_model" not in found
    assert found["license"] == "gemma"


# The tokenizer, and what is copied from the base's folder.


def test_a_tokenizer_json_is_made(out: Path) -> None:
    """It writes texts as the SentencePiece model does, and begins them with the piece for that."""
    import tokenizers

    both = [Vocabulary.open(out / name) for name in ("tokenizer.model", "tokenizer.json")]
    for text in (*exported_files.TEXTS, "Is this image appropriate based on Federal Food, Drug, and Cosmetic Act?\n"):
        assert both[0].encode(text) == both[1].encode(text)
    made = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    assert made.encode("no").ids == [both[0].bos, *both[0].encode("no")]
    assert made.token_to_id("<image>") == 512
    model = sentence_piece()
    found, expected = (
        json.loads(made_json.of_model(model, ["<image_soft_token>"], "<bos>") or b""),
        tokenizer_json(model),
    )
    assert {**found, "post_processor": None} == json.loads(expected.to_str())


def test_other_tokenizers_are_not_converted() -> None:
    assert made_json.of_model(sentence_piece(model_type="unigram", vocab_size=314), [], "<bos>") is None
    assert made_json.of_model(sentence_piece(add_dummy_prefix=True), [], "<bos>") is None
    model = sentence_piece()
    assert made_json.of_model(model, [], "<none>") is None
    draw = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(model)
        for place in draw.integers(0, len(model), 3):
            damaged[place] = draw.integers(256)
        made = made_json.of_model(bytes(damaged[: draw.integers(1, len(model) + 1)]), [], "<bos>")
        assert made is None or made.startswith(b"{")


# Pieces that the prompts below need; a blank line is one piece.
TURNS = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "\n", "\n\n", *"wmdl")


@pytest.fixture
def gemma3(tmp_path: Path) -> Path:
    """A Gemma 3 with images and its tokenizer's file, and nothing else beside it."""
    folder = tmp_path / "gemma3"
    folder.mkdir()
    for name in ("config.json", WHOLE):
        shutil.copy(HF / "gemma3_vision" / name, folder)
    rows = TransformersCheckpoint(folder).spec.llm.vocab_size
    symbols = [*TURNS, *(f"<unused{number}>" for number in range(rows - 350))]
    (folder / "tokenizer.model").write_bytes(sentence_piece(vocab_size=rows - 2, user_defined_symbols=symbols))
    return folder


def test_what_a_gemma_3_gets(gemma3: Path, tmp_path: Path) -> None:
    done = exported(gemma3, tmp_path / "out")
    assert done.files.keys() >= FILES | {"processor_config.json", "chat_template.jinja"}
    vocabulary = Vocabulary.open(gemma3)
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [vocabulary.eos, vocabulary.special("<end_of_turn>")]
    processor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert processor["image_processor_type"] == "Gemma3ImageProcessor"
    # The chat template writes what the model was asked, as `data.templates` has it.
    written = jinja2.Environment().from_string((tmp_path / "out" / "chat_template.jinja").read_text())
    parts = [{"type": "image"}, {"type": "text", "text": " how many? "}]
    text = written.render(bos_token="<bos>", add_generation_prompt=True, messages=[{"role": "user", "content": parts}])
    before, _, behind = text.removeprefix("<bos>").partition("<start_of_image>")
    template = Gemma(vocabulary, takes_images=True)
    ours, places = template._of_text("how many?", 1)
    pieces = [vocabulary.piece(id) for id in ours]
    theirs = f"{before}\n\n<start_of_image><end_of_image>\n\n{behind}"  # as the processor puts an image in its place
    assert "".join(pieces).replace("\u2581", " ") == f"<bos>{theirs}"
    assert places == (pieces.index("<start_of_image>") + 1,)


def test_what_is_beside_the_base_is_copied(gemma3: Path, tmp_path: Path) -> None:
    own = {"tokenizer_config.json": b'{"add_bos_token": true}', "chat_template.json": b"{}", "source.json": b"{}"}
    for name, content in {**own, "preprocessor_config.json": b'{"resample": 3}', "README.md": b"# theirs"}.items():
        (gemma3 / name).write_bytes(content)
    done = exported(gemma3, tmp_path / "out")
    for name in ("tokenizer.model", "tokenizer_config.json", "chat_template.json", "preprocessor_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (gemma3 / name).read_bytes()
    assert "source.json" not in done.files
    assert "chat_template.jinja" not in done.files
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\nlicense: gemma\n")


def test_a_stale_sentence_piece_model_is_left_out(gemma3: Path, tmp_path: Path) -> None:
    """What was added since is in tokenizer.json alone, and other programs may read either."""
    made = tokenizer_json((gemma3 / "tokenizer.model").read_bytes())
    made.save(str(gemma3 / "tokenizer.json"))
    assert "tokenizer.model" in exported(gemma3, tmp_path / "before").files
    made.add_tokens(["appropriate?"])
    made.save(str(gemma3 / "tokenizer.json"))
    done = exported(gemma3, tmp_path / "out")
    assert "tokenizer.model" not in done.files
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (gemma3 / "tokenizer.json").read_bytes()
    assert any("the base's tokenizer.model is left out" in note for note in done.notes)
    assert Vocabulary.open(tmp_path / "out").encode("appropriate?") == Vocabulary.open(gemma3).encode("appropriate?")


def test_images_are_resized_as_in_training(tmp_path: Path) -> None:
    spec = families.published("paligemma-3b")
    for name, content in (
        ("preprocessor_config.json", {"resample": 3, "x": 1}),
        ("processor_config.json", {"image_processor": {"resample": 3, "x": 1}, "y": 2}),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        found = exported_files.companions(spec, {}, tmp_path, None, trained=True)
        changed = json.loads(found.content[name])
        assert changed.get("image_processor", changed) == {"resample": 2, "x": 1}
        assert name in found.notes[-1]
        left = exported_files.companions(spec, {}, tmp_path, None, trained=False)
        assert json.loads(left.content[name]) == content
    assert "its tokenizer is not at hand" in found.notes[0]


def test_published_rows_are_the_models_own() -> None:
    """Those behind the image's token are all different there, and stay."""
    rows = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32)
    assert padded_vocabulary.own_rows(rows, 32) == 96
    rows[32:] = rows[0]
    assert padded_vocabulary.own_rows(rows, 32) == 32
    assert padded_vocabulary.rows_for(257_152, 257_152) == 257_216
    assert padded_vocabulary.rows_for(257_216, 257_152) == 257_216
    assert padded_vocabulary.rows_for(256_000, None) == 256_000
    table = padded_vocabulary.PaddedTable(rows, 128)
    assert np.asarray(table[0:128])[:96].tobytes() == rows.tobytes()
    np.testing.assert_array_equal(np.asarray(table[90:100]), np.asarray(table[0:128])[90:100])
    np.testing.assert_array_equal(np.asarray(table[100:103]), np.asarray(table[0:128])[100:103])
    assert PALIGEMMA in families.published("paligemma-3b").template


# Adapters in place of whole weights.


def test_an_adapter_alone(trained: Path, run: Run) -> None:
    """In PEFT's form, in the dtype that is asked for; the card says what it is for and how it is put there."""
    done = run("palitune", "export", "adapted", "--to", "hf/adapter", "--adapter", cwd=trained)
    assert done.returncode == 0, done.stderr
    folder = trained / "hf" / "adapter"
    files = {"README.md", "adapter_config.json", "adapter_model.safetensors", "palitune.json"}
    assert {path.name for path in folder.iterdir()} == files
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (16, 16, "tiny")
    assert "note: the adapter is for tiny: palitune export tiny --to FOLDER makes the folder" in done.stderr
    content = (folder / "README.md").read_text()
    assert front_matter(folder)["library_name"] == "peft"
    assert "A LoRA adapter for tiny:" in content
    program = content.split("```python\n")[1].split("```")[0]
    compile(program, "card", "exec")
    assert 'PaliGemmaForConditionalGeneration.from_pretrained("tiny")' in program
    assert 'model = PeftModel.from_pretrained(model, "folder")' in program
    changed = npz.Checkpoint(trained / "checkpoints" / "adapted.npz")
    tensors = TensorFiles(folder / "adapter_model.safetensors")
    values = sum(array.size for path, array in changed.leaves().items() if not path.endswith("alpha"))
    assert sum(int(np.prod(tensors.shape(name))) for name in tensors) == values
    arguments = ("--to", "hf/adapter", "--adapter", "--dtype", "bfloat16", "--overwrite")
    assert run("palitune", "export", "adapted", *arguments, cwd=trained).returncode == 0
    tensors = TensorFiles(folder / "adapter_model.safetensors")
    assert {tensors.dtype(name) for name in tensors} == {"BF16"}


def test_changed_weights_as_an_adapter(trained: Path, run: Run) -> None:
    """The error is printed, and is in the card; with the highest rank there is next to none."""
    found = {}
    for rank in ("2", "96"):
        done = run("palitune", "export", "trained", "--to", f"hf/rank{rank}", "--as-lora", rank, cwd=trained)
        assert done.returncode == 0, done.stderr
        off = re.search(rf"with rank {rank} weights are off by up to ([\d.]+)% \(layers\.\d\.", done.stderr)
        assert off is not None
        found[rank] = float(off[1])
        assert f"off by up to {off[1]}%" in (trained / "hf" / f"rank{rank}" / "README.md").read_text()
    assert found["2"] > found["96"]
    assert found["96"] < 0.1
    # Neither are the figures and the threshold of the changed weights the adapter's.
    content = (trained / "hf" / "rank2" / "README.md").read_text()
    assert "What the changed weights were worth is not what the adapter is worth" in content
    assert "## What it is worth" not in content
    assert "## Threshold" not in content
    assert "model-index" not in front_matter(trained / "hf" / "rank2")
    assert not (trained / "hf" / "rank2" / "palitune_threshold.json").exists()


def test_adapters_that_cannot_be(trained: Path, run: Run) -> None:
    for arguments, code, said in (
        (("trained", "--adapter"), 78, "it has no adapter that could be written"),
        (("adapted", "--as-lora", "4"), 78, "it has adapters already. Use --adapter"),
        (("tiny", "--as-lora", "4"), 78, "this is a whole checkpoint"),
        (("adapted", "--adapter", "--as-lora", "4"), 2, "leave one of them out"),
        (("trained", "--as-lora", "0"), 2, "--as-lora"),
    ):
        done = run("palitune", "export", *arguments, "--to", "hf/none", cwd=trained)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert said in done.stderr
    assert not (trained / "hf" / "none").exists()


# What fails, and what it leaves.


def test_exit_codes(trained: Path, run: Run, tmp_path: Path) -> None:
    def code(*arguments: str) -> int:
        done = run("palitune", "export", *arguments, cwd=trained)
        assert done.returncode == 0 or done.stderr.count("\n") == 1, done.stderr
        return done.returncode

    assert code("trained") == 2
    assert code("trained", "--to", ".") == 2
    assert code("no-such", "--to", "hf/none") == 66
    assert code("trained", "--to", "hf/none", "--dtype", "float64") == 2
    assert code("trained", "--to", "hf/none", "--tokenizer", "no-such") == 66
    (trained / "hf" / "file").write_text("mine")
    assert code("trained", "--to", "hf/file", "--overwrite") == 73
    (trained / "hf" / "full").mkdir()
    (trained / "hf" / "full" / "notes.txt").write_text("mine")
    assert code("trained", "--to", "hf/full", "--overwrite") == 73
    assert [path.name for path in (trained / "hf" / "full").iterdir()] == ["notes.txt"]
    assert code("tiny", "--to", "hf/twice") == 0
    before = (trained / "hf" / "twice" / "config.json").stat().st_mtime_ns
    assert code("tiny", "--to", "hf/twice") == 73
    assert (trained / "hf" / "twice" / "config.json").stat().st_mtime_ns == before
    assert code("tiny", "--to", "hf/twice", "--overwrite") == 0
    assert code("./hf/twice", "--to", "hf/twice", "--overwrite") == 2
    assert not (trained / "hf" / "none").exists()
    assert not [path for path in (trained / "hf").iterdir() if path.name.startswith(".")]
    if os.geteuid() != 0:
        (trained / "hf" / "locked").mkdir(mode=0o500)
        assert code("tiny", "--to", "hf/locked/out") == 74


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PalituneError, match="cannot write") as error:
        exported("tiny", tmp_path / "file" / "out")
    assert error.value.exit_code == 74


def test_a_message_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def fill() -> None:
        with new_folder.replacing(folder, False, lambda name: True) as made:
            atomic_files.write(made / "config.json", b"{}")
            atomic_files.write(made / "config.json" / "which is no folder", b"{}")

    with pytest.raises(PalituneError) as told:
        fill()
    assert told.value.where is not None
    assert told.value.where.startswith(f"{folder}/config.json")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    exported("tiny", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(OutputExistsError):
        exported("tiny", tmp_path / "link", overwrite=True)
    with pytest.raises(UsageError):
        export(ExportSettings(model="tiny"), quiet=True)


@pytest.mark.filterwarnings(r"ignore:os\.fork:RuntimeWarning")
def test_killed_anywhere(tmp_path: Path) -> None:
    """The folder is the old one or the new one, and the next export leaves nothing of the killed ones."""
    exported("tiny", tmp_path / "new", dtype="float32")
    new = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    seen = set()
    for number in (1, 20, 40, 60, 70, 80, 100, 120, 160, 200):
        target = tmp_path / "first"
        shutil.rmtree(target, ignore_errors=True)
        if killed(lambda: exported("tiny", tmp_path / "first", dtype="float32"), number):
            seen.add(target.exists())
        if target.exists():
            assert {path.name: path.read_bytes() for path in target.iterdir()} == new
    assert False in seen
    exported("tiny", tmp_path / "first", dtype="float32", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "new"]


def test_stopped_by_a_signal(tmp_path: Path, environment: dict[str, str]) -> None:
    command = ["palitune", "export", "tiny", "--to", "out"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and not list(tmp_path.glob(".out.*")):
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode in (0, 128 + signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] in ([], ["out"])


def test_one_process_at_a_time_writes_a_folder(tmp_path: Path) -> None:
    with (
        new_folder.replacing(tmp_path / "out", False, lambda name: True),
        pytest.raises(OutputExistsError, match="another process is writing this folder"),
        new_folder.replacing(tmp_path / "out", False, lambda name: True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_swap_left_aside_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".out.0123abcd.old").mkdir()
    (tmp_path / ".out.0123abcd.old" / "config.json").write_text("{}")
    (tmp_path / ".out.4567abcd.new").mkdir()
    with (
        pytest.raises(OutputExistsError, match="this folder exists"),
        new_folder.replacing(tmp_path / "out", False, lambda name: True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

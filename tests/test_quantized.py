"""Models beside quantized weights: what they compute is what the numbers give, in every family and every way to ask."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import compiled
import hf_golden
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Run
from hf_golden import PIECES, WHOLE, HfGolden
from test_families import LABELS, adapters_of, two_steps, untied

import palitune
from palitune import Predictor, trees
from palitune.checkpoint import manifest, npz
from palitune.checkpoint.quantized_cache import QuantizedCache
from palitune.config import run_config
from palitune.config.quantization import INT8, NF4, Quantization
from palitune.errors import BadDataError
from palitune.infer import scoring
from palitune.method import METHODS
from palitune.models import lora, quantization
from palitune.train.step_options import Options

pytestmark = pytest.mark.quick_programs

TOLERANCE = 1e-4
BOTH = Quantization(NF4, embeddings=True)


def kept(golden: HfGolden, how: Quantization, trainable: Any = lambda path: False) -> tuple[dict, dict]:
    """The parameters as they are quantized, and the numbers that these stand for."""
    there: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for path, array in golden.params.items():
        if quantization.covers(how, path) and not trainable(path):
            made = quantization.quantize(how, path, array)
            there |= made
            numbers[path] = quantization.dequantized(how, path, made, array.shape)[0 : len(array)]
        else:
            there[path] = numbers[path] = array
    return there, numbers


@pytest.fixture(scope="module", params=[*WHOLE, "untied"])
def family(request: pytest.FixtureRequest) -> HfGolden:
    return untied(hf_golden.load("gemma3_text")) if request.param == "untied" else hf_golden.load(request.param)


@pytest.mark.parametrize("how", [Quantization(INT8), BOTH], ids=str)
def test_logits_are_those_of_the_numbers(family: HfGolden, how: Quantization) -> None:
    there, numbers = kept(family, how)
    assert len(there) > len(numbers)
    inputs = family.inputs("in")
    found, expected = (
        np.asarray(compiled.forward(family.spec, trees.unflatten(params), inputs.image, inputs.text))
        for params in (there, numbers)
    )
    real = np.asarray(inputs.text.real, bool)
    np.testing.assert_allclose(found[real], expected[real], rtol=0, atol=TOLERANCE)
    exact = np.asarray(compiled.forward(family.spec, family.tree, inputs.image, inputs.text))
    assert np.abs(expected[real] - exact[real]).max() > 10 * TOLERANCE


@pytest.mark.parametrize("family", ["gemma2_text", "gemma3_vision", "paligemma1", "untied"], indirect=True)
def test_texts_and_scores_are_those_of_the_numbers(family: HfGolden) -> None:
    """Greedy decoding with its cache, and labels of several tokens in one pass."""
    inputs = family.inputs("generate")
    results = []
    for params in kept(family, BOTH):
        tree = trees.unflatten(params)
        zimg = compiled.image_tokens(family.spec, tree, inputs.image)
        tokens, _ = compiled.greedy(family.spec, tree, zimg, inputs.text, 8, -1, PIECES)
        scores = compiled.log_likelihoods(family.spec, tree, zimg, inputs.text, scoring.label_tree(LABELS, 1))
        results.append((np.asarray(tokens), np.asarray(scores)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "method", "layerwise"),
    [
        *(("gemma3_vision", "qlora", True), ("gemma3_vision", "qlora", False), ("gemma2_text", "qlora", True)),
        *(("paligemma1", "attention", True), ("paligemma1", "attention", False)),
    ],
)
def test_learning_is_that_beside_the_numbers(name: str, method: str, layerwise: bool) -> None:
    """Two steps beside quantized weights leave what they leave beside their numbers, to the last parameter."""
    golden = hf_golden.load(name)
    adapters, options = adapters_of(golden, method), Options(layerwise=layerwise, kept_layers=1)
    results = [
        two_steps(golden, {**params, **adapters}, method, options)
        for params in kept(golden, BOTH, METHODS[method].trainable)
    ]
    assert abs(results[0][0] - results[1][0]) < TOLERANCE
    assert results[0][1].keys() == results[1][1].keys()
    for path, leaf in results[0][1].items():
        np.testing.assert_allclose(leaf, results[1][1][path], rtol=0, atol=TOLERANCE, err_msg=path)


def test_the_plan_counts_what_is_there() -> None:
    """Abstract parameters of a plan have the paths, shapes and dtypes of those that are quantized."""
    from palitune.train import step_shapes
    from palitune.train.step_shapes import Work

    golden = hf_golden.load("gemma3_vision")
    settings = run_config.training(method="qlora", quantize_embeddings=True, lora_rank=2)
    work = Work(golden.spec, golden.params, settings, jnp.dtype(jnp.float32), 8, 2, False)
    chosen, frozen = step_shapes.parameters(work)
    there, _ = kept(golden, BOTH)
    assert {path for path in frozen if not lora.is_adapter(path)} == set(there)
    assert all((leaf.shape, leaf.dtype) == (frozen[path].shape, frozen[path].dtype) for path, leaf in there.items())
    assert all(lora.is_adapter(path) for path in chosen)


# What is kept on disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> npz.Checkpoint:
    golden = hf_golden.load("gemma3_text")
    npz.save(tmp_path / "model.npz", golden.params)
    return npz.Checkpoint(tmp_path / "model.npz")


def arrays_of(cache: QuantizedCache) -> dict[str, np.ndarray]:
    return {name: np.array(array) for _, arrays in cache(cache.paths()) for name, array in arrays.items()}


def test_it_is_quantized_once(stored: npz.Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = QuantizedCache(tmp_path / "quantized", stored, BOTH)
    made = arrays_of(cache)
    assert len(list((tmp_path / "quantized").iterdir())) == len(cache.paths()) == 6
    monkeypatch.setattr(quantization, "quantize", lambda *_: pytest.fail("quantized again"))
    again = arrays_of(QuantizedCache(tmp_path / "quantized", npz.Checkpoint(stored.path), BOTH))
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in made.items()}


def test_other_weights_and_other_kinds_have_other_files(stored: npz.Checkpoint, tmp_path: Path) -> None:
    """A model that shares a weight shares its file; one value more or another kind makes another."""
    arrays_of(QuantizedCache(tmp_path / "quantized", stored, Quantization(NF4)))
    names = {path.name for path in (tmp_path / "quantized").iterdir()}
    changed = {path: np.array(stored[path]) for path in stored}
    changed["llm/layers/mlp/linear"][0, 0, 0] += 1
    npz.save(tmp_path / "other.npz", changed)
    arrays_of(QuantizedCache(tmp_path / "quantized", npz.Checkpoint(tmp_path / "other.npz"), Quantization(NF4)))
    more = {path.name for path in (tmp_path / "quantized").iterdir()}
    assert len(more - names) == 1
    arrays_of(QuantizedCache(tmp_path / "quantized", stored, Quantization(INT8)))
    assert len(list((tmp_path / "quantized").iterdir())) == len(more) + len(names)


@pytest.mark.parametrize("damage", ["a byte", "the end", "another's", "zeros"])
def test_what_is_damaged_is_made_again(
    stored: npz.Checkpoint, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "quantized"
    made = arrays_of(QuantizedCache(folder, stored, Quantization(NF4)))
    first, second = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)[-2:]
    content = bytearray(second.read_bytes())
    if damage == "a byte":
        content[len(content) // 2] ^= 1
    elif damage == "the end":
        del content[-100:]
    else:
        content = bytearray(first.read_bytes())
    if damage == "zeros":  # in the right shapes, with checksums that are theirs
        np.savez(second, **{name: np.zeros_like(array) for name, array in np.load(second).items()})
        content = bytearray(second.read_bytes())
    second.unlink()  # what has been found sound is remembered by the file
    second.write_bytes(content)
    again = arrays_of(QuantizedCache(folder, stored, Quantization(NF4)))
    assert {name: array.tobytes() for name, array in again.items()} == {n: a.tobytes() for n, a in made.items()}
    assert "is damaged, and made again" in capsys.readouterr().err
    arrays_of(QuantizedCache(folder, stored, Quantization(NF4)))
    assert capsys.readouterr().err == ""


def test_without_room_it_is_made_each_time(
    stored: npz.Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quantized").write_text("a file where the folder would be")
    made = arrays_of(QuantizedCache(tmp_path / "quantized", stored, Quantization(NF4)))
    assert len(made) == 5 * 4
    assert capsys.readouterr().err.count("note: quantized weights are not kept") == 1


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    params = {path: np.array(array) for path, array in hf_golden.load("gemma3_text").params.items()}
    params["llm/layers/mlp/linear"][1, 2, 3] = np.nan
    npz.save(tmp_path / "model.npz", params)
    cache = QuantizedCache(tmp_path / "quantized", npz.Checkpoint(tmp_path / "model.npz"), Quantization(NF4))
    with pytest.raises(BadDataError, match="llm/layers/mlp/linear cannot be quantized: it has values that are not"):
        arrays_of(cache)


MEMORY = """
import resource, sys
from pathlib import Path
from palitune.checkpoint import npz
from palitune.checkpoint.quantized_cache import QuantizedCache
from palitune.config.quantization import Quantization

def anonymous():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) << 10

import threading, time
cache = QuantizedCache(Path(sys.argv[2]), npz.Checkpoint(Path(sys.argv[1])), Quantization("nf4", True))
before, most, over = anonymous(), 0, False
def watch():
    global most
    while not over:
        most = max(most, anonymous())
        time.sleep(0.002)
watcher = threading.Thread(target=watch)
watcher.start()
held = [arrays for _, arrays in cache(cache.paths())]
over = True
watcher.join()
print(most - before, sum(array.nbytes for arrays in held for array in arrays.values()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not tell a process's memory")
def test_memory_while_loading(tmp_path: Path) -> None:
    """At most 1.25 times the largest array beside the result, however many arrays there are."""
    rng = np.random.default_rng(0)
    big = rng.normal(size=(4, 2, 1024, 4096)).astype(np.float16)  # 67 MB
    params = {"llm/layers/mlp/gating_einsum": big, "llm/layers/mlp/linear": big.reshape(4, 8192, 1024)}
    params["llm/embedder/input_embedding"] = big.reshape(-1, 1024)
    npz.save(tmp_path / "model.npz", params)
    program = (sys.executable, "-c", MEMORY, str(tmp_path / "model.npz"), str(tmp_path / "quantized"))
    for _ in range(2):  # quantized, and read again
        done = subprocess.run(program, capture_output=True, text=True, check=True, env={**os.environ})
        used, result = map(int, done.stdout.split())
        assert used < 1.25 * big.nbytes + result
        assert result == pytest.approx(big.nbytes / 2 * (2 * 4.13 / 8 + 1), rel=0.01)


# On the command line --------------------------------------------------------------------------------------------------


def test_merged_with_the_scores_it_has_or_with_others(run: Run, workspace: Path) -> None:
    """`--keep-quantized` leaves scores and threshold as they are; without it the difference is printed."""
    learn = ("palitune", "learn", "-d", "set1", "--examples", "32", "-b", "4", "--quiet", "--method", "qlora")
    assert run(*learn, "-w", "q", cwd=workspace).returncode == 0
    file = "dataset/set1/train.jsonl"

    def scores(model: str, *options: str) -> np.ndarray:
        done = run("palitune", "inference", "-m", model, file, *options, cwd=workspace)
        assert done.returncode == 0, done.stderr
        return np.array([float(line.split("\t")[2]) for line in done.stdout.splitlines()])

    own = scores("q")
    answers = run("palitune", "inference", "-m", "q", file, "--jsonl", cwd=workspace).stdout
    (workspace / "answers.jsonl").write_text(answers)
    done = run("palitune", "threshold", "-m", "q", "answers.jsonl", "--f-measure", cwd=workspace)
    assert done.returncode == 0, done.stderr
    plain = run("palitune", "merge", "-m", "q", "-w", "plain", cwd=workspace)
    assert "trained beside nf4 weights" in plain.stderr
    assert "which differ by 9." in plain.stderr
    assert not (workspace / "checkpoints" / "plain.threshold.json").exists()
    same = run("palitune", "merge", "-m", "q", "-w", "same", "--keep-quantized", cwd=workspace)
    assert "with the scores that the model has" in same.stderr
    assert (workspace / "checkpoints" / "same.threshold.json").exists()
    np.testing.assert_allclose(scores("same"), own, rtol=0, atol=2e-5)
    np.testing.assert_allclose(scores("plain"), scores("q", "--quantize", "none"), rtol=0, atol=2e-5)
    assert np.abs(scores("plain") - own).max() > 1e-4
    for name in ("plain", "same"):
        assert "quantize" not in json.loads((workspace / "checkpoints" / f"{name}.json").read_text())["config"]
    done = run("palitune", "merge", "-m", "plain", "-w", "again", "--keep-quantized", cwd=workspace)
    assert (done.returncode, done.stderr.count("nothing of this model was quantized")) == (2, 1)


def test_an_adapter_remembers_what_it_was_trained_beside(run: Run, workspace: Path) -> None:
    learn = ("palitune", "learn", "-d", "set1", "--examples", "32", "-b", "4", "--quiet", "--method", "qlora")
    assert run(*learn, "-w", "q8", "--quantize", "int8", "--quantize-embeddings", cwd=workspace).returncode == 0
    done = run("palitune", "export", "q8", "--to", "adapter", "--adapter", cwd=workspace)
    assert "trained beside int8 weights and int8 embeddings" in done.stderr
    file = "dataset/set1/valid.jsonl"
    one, other = (run("palitune", "inference", "-m", name, file, cwd=workspace) for name in ("q8", "./adapter"))
    assert one.stdout == other.stdout
    assert "int8 weights and int8 embeddings" in one.stderr


def test_in_python_it_is_as_the_model_was_trained_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    config = run_config.training(quantize=NF4, quantize_embeddings=True).as_json()
    golden = npz.Checkpoint(Path(palitune.__file__).parent / "tiny" / "tiny.npz")
    text = manifest.text(base=None, dtypes={}, config=config, data="")
    npz.save(tmp_path / "tiny.npz", {path: golden[path] for path in golden}, comment=manifest.comment(text))
    shutil.copyfile(golden.path.with_name("tokenizer.model"), tmp_path / "tokenizer.model")

    def kept_as(**options: Any) -> Quantization:
        return Predictor.load(str(tmp_path / "tiny.npz"), quiet=True, **options).model.quantization

    assert kept_as() == BOTH
    assert kept_as(quantize_embeddings=False) == Quantization(NF4)
    assert kept_as(quantize="none") == Quantization()
    assert kept_as(quantize="int8", quantize_embeddings=True) == Quantization(INT8, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "full", "--quantize", "nf4"), "--method full trains every parameter"),
        (("--method", "qlora", "--quantize", "none"), "--method qlora is for weights of 4 or 8 bits"),
        (("--method", "attention", "--lora-rank", "4"), "--lora-rank is for --method lora or qlora"),
    ],
)
def test_settings_without_effect(run: Run, workspace: Path, options: tuple[str, ...], message: str) -> None:
    done = run("palitune", "learn", "-d", "set1", *options, cwd=workspace)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_learns_stays_whole(run: Run, workspace: Path) -> None:
    """The attention learns beside a quantized MLP; what was saved is asked in the same way as in training."""
    options = ("-d", "set1", "--examples", "32", "-b", "4", "--quiet", "--quantize", "nf4", "-w", "a")
    cache = workspace / "cache" / "quantized"
    shutil.rmtree(cache, ignore_errors=True)
    done = run("palitune", "learn", *options, cwd=workspace)
    assert done.returncode == 0, done.stderr
    saved = npz.Checkpoint(workspace / "checkpoints" / "a.npz")
    assert all("/attn/" in path and "_nf4" not in path for path in saved)
    assert len(list(cache.iterdir())) == 2
    paths = ("./dataset/set1/train.jsonl", "./dataset/set1/valid.jsonl")
    validated = run("palitune", "validate", "-m", "a", *paths, cwd=workspace).stdout
    after = done.stdout[done.stdout.rindex("Result: ./dataset/set1/train") :].replace(" (1st trained)", "")
    assert validated == after.partition("Result: ./dataset/set1/shuffle")[0]

"""Every method from the command line: learned, saved small, judged as saved, merged, gone on from."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from palitune.checkpoint import exported_tensors, manifest, npz, tensor_writer, transformers_config_writing
from palitune.models import families

pytestmark = pytest.mark.quick_programs

QUICK = ("-d", "set1", "--examples", "32", "-b", "4", "--quiet")


def learn(run: Run, workspace: Path, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = run("palitune", "learn", *QUICK, *arguments, cwd=workspace)
    assert done.returncode == code, done.stderr
    return done


def opened(workspace: Path, name: str) -> npz.Checkpoint:
    return npz.Checkpoint(workspace / "checkpoints" / f"{name}.npz")


def blocks(text: str) -> str:
    """What validation says of the split after learning."""
    after = text[text.rindex("Result: ./dataset/set1/train") :].replace(" (1st trained)", "")
    return after.partition("Result: ./dataset/set1/shuffle")[0]


@pytest.mark.parametrize("method", ["attention", "full", "lora", "qlora"])
def test_what_is_saved_is_what_was_judged(run: Run, workspace: Path, method: str) -> None:
    done = learn(run, workspace, "--method", method, "-w", method)
    base = npz.Checkpoint(workspace / "cache/models/tiny/tiny.npz")
    saved = opened(workspace, method)
    has_adapters = method in ("lora", "qlora")
    if has_adapters:
        assert not set(saved) & set(base)
        assert {path.rpartition("_")[2] for path in saved} == {"a", "b", "alpha"}
    else:
        assert set(saved) == {path for path in base if method == "full" or "/attn/" in path}
    assert {saved[path].dtype for path in saved} == {np.dtype(np.float16)} or has_adapters
    paths = ("./dataset/set1/train.jsonl", "./dataset/set1/valid.jsonl")
    assert run("palitune", "validate", "-m", method, *paths, cwd=workspace).stdout == blocks(done.stdout)
    keep = ["--keep-quantized"] * (method == "qlora")
    merged = run("palitune", "merge", "-m", method, "-w", f"{method}-whole", *keep, cwd=workspace)
    assert merged.returncode == 0, merged.stderr
    whole = opened(workspace, f"{method}-whole")
    assert set(whole) == set(base)
    manifest = json.loads((workspace / "checkpoints" / f"{method}-whole.json").read_text())
    assert manifest["base"] is None
    assert run("palitune", "validate", "-m", f"{method}-whole", *paths, cwd=workspace).stdout == blocks(done.stdout)


def test_a_folder_of_hugging_face_learns_like_the_npz(run: Run, workspace: Path) -> None:
    """The same parameters come of it; what is saved finds the folder again where it has moved to."""
    base = npz.Checkpoint(workspace / "cache/models/tiny/tiny.npz")
    folder = workspace / "theirs" / "tiny-hf"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(transformers_config_writing.write(families.TINY, "float16")))
    tensor_writer.save(folder, exported_tensors.tensors_of(families.TINY, base))
    shutil.copyfile(base.path.with_name("tokenizer.model"), folder / "tokenizer.model")
    learn(run, workspace, "-w", "of-npz")
    learn(run, workspace, "-m", "theirs/tiny-hf", "-w", "of-folder")
    one, other = opened(workspace, "of-npz"), opened(workspace, "of-folder")
    assert {path: array.tobytes() for path, array in one.items()} == {path: other[path].tobytes() for path in other}
    assert manifest.read(other.path)["base"]["name"] == "tiny-hf"
    folder.rename(workspace / "checkpoints" / "tiny-hf")
    data = "./dataset/set1/valid.jsonl"
    said = [run("palitune", "validate", "-m", name, data, cwd=workspace).stdout for name in ("of-npz", "of-folder")]
    assert said[0] == said[1] != ""


@pytest.mark.slow
def test_going_on_from_a_delta(run: Run, workspace: Path) -> None:
    learn(run, workspace, "-w", "first")
    learn(run, workspace, "-m", "first", "--method", "lora", "-w", "second")
    first, second = opened(workspace, "first"), opened(workspace, "second")
    assert set(first) < set(second)
    for path in first:
        np.testing.assert_array_equal(first[path], second[path])
    base = json.loads((workspace / "checkpoints/second.json").read_text())["base"]
    assert base["name"] == "tiny"


@pytest.mark.slow
def test_going_on_with_adapters(run: Run, workspace: Path) -> None:
    learn(run, workspace, "--method", "lora", "--lora-rank", "4", "--lora-alpha", "8", "-w", "small")
    learn(run, workspace, "-m", "small", "--method", "lora", "-w", "more")
    config = json.loads((workspace / "checkpoints/more.json").read_text())["config"]
    assert (config["lora_rank"], config["lora_alpha"]) == (4, 8.0)
    assert set(opened(workspace, "more")) == set(opened(workspace, "small"))
    done = learn(run, workspace, "-m", "small", "--method", "lora", "--lora-rank", "8", code=2)
    assert "--lora-rank is for new adapters, and this model has some already" in done.stderr


def test_kept_tokens_are_shared_and_change_no_answer(run: Run, workspace: Path) -> None:
    arguments = ("validate", "-m", "tiny", "dataset/data.jsonl", "--quiet")
    kept = run("palitune", *arguments, cwd=workspace)
    files = {path: path.stat().st_mtime_ns for path in (workspace / "cache/features").rglob("*.f16")}
    assert len(files) >= 24
    assert run("palitune", *arguments, cwd=workspace).stdout == kept.stdout
    assert run("palitune", *arguments, "--no-features", cwd=workspace).stdout == kept.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_options_of_the_rule_reach_it(run: Run, workspace: Path) -> None:
    rules = ("--optimizer", "adamw", "-r", "0.001", "--schedule", "linear", "--warmup", "0", "--weight-decay", "0.1")
    more = ("--accumulate", "2", "--clip-global", "1", "--ema", "0.5", "--learning-rate-scale", r".*/kv_einsum/.*=0")
    learn(run, workspace, *rules, *more, "-w", "ruled")
    config = json.loads((workspace / "checkpoints/ruled.json").read_text())["config"]
    assert config["weight_decay"] == [[".*", 0.1]]
    assert (config["accumulate"], config["ema"], config["warmup"]) == (2, 0.5, 0)
    base = npz.Checkpoint(workspace / "cache/models/tiny/tiny.npz")
    saved = opened(workspace, "ruled")
    for path in saved:
        assert np.array_equal(saved[path], base[path]) == ("kv_einsum" in path)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--method", "full", "--accumulate", "2"], 78, "--method full cannot take --accumulate"),
        (["--method", "full", "--clip-global", "1"], 78, "never holds the gradients of the whole model"),
        (["--method", "lora", "--lora-targets", "img/.*"], 78, "cannot have a LoRA adapter"),
        (["--method", "lora", "--lora-targets", "attn"], 78, "no parameter has this path"),
        (["--lora-targets", "("], 2, "not a regular expression"),
        (["--weight-decay", "x"], 2, "neither a number nor REGEX=NUMBER"),
        (["--accumulate", "100"], 2, "--examples 32 is less than one batch of 4 x 100"),
        (["--optimizer", "lion"], 2, "invalid choice"),
        (["--weights", "float32"], 2, "--weights is for --method full, this is attention"),
        (["--method", "full", "--lora-rank", "4"], 2, "--lora-rank is for --method lora or qlora, this is full"),
        (["--vocabulary-chunks", "1000000000"], 2, "1000000000 is more than 1024"),
        (["--weight-decay", "nothing=1"], 2, "--weight-decay nothing: no trainable parameter matches"),
        (["--keep", "5", "--accumulate", "2"], 2, "--keep has no effect with --accumulate"),
        (["--warmup", "1"], 2, "not at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, workspace: Path, arguments: list[str], code: int, message: str) -> None:
    done = learn(run, workspace, *arguments, code=code)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_base_that_is_another_is_refused(run: Run, workspace: Path, tmp_path: Path) -> None:
    learn(run, workspace, "-w", "orphan")
    content = json.loads((workspace / "checkpoints" / "orphan.json").read_text())
    content["base"]["hash"] = "0" * 64
    arrays = {path: np.array(array) for path, array in opened(workspace, "orphan").items()}
    target = workspace / "checkpoints" / "orphan.npz"
    npz.save(target, arrays, texts={manifest.MEMBER: json.dumps(content)})
    for command in (["validate", "-m", "orphan", "dataset/data.jsonl"], ["merge", "-m", "orphan", "-w", "x"]):
        done = run("palitune", *command, cwd=workspace)
        assert done.returncode == 65
        assert "is not the base tiny this was made from" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_memory_settings_come_before_jax_and_yield_to_the_user(run: Run, workspace: Path) -> None:
    code = """
import os, sys
from palitune.infer.loading import set_allocator
set_allocator(sys.argv[1])
print({k: v for k, v in os.environ.items() if "XLA" in k and k != "XLA_FLAGS"})
"""

    def chosen(choice: str, **exported: str) -> str:
        return run("python", "-c", code, choice, cwd=workspace, env=exported).stdout.strip()

    assert chosen("default") == "{}"
    assert chosen("platform") == "{'XLA_PYTHON_CLIENT_ALLOCATOR': 'platform'}"
    assert "'XLA_CLIENT_MEM_FRACTION': '0.95'" in chosen("grow")
    assert "'XLA_CLIENT_MEM_FRACTION': '0.5'" in chosen("grow", XLA_CLIENT_MEM_FRACTION="0.5")
    assert "XLA_CLIENT_MEM_FRACTION" not in chosen("grow", XLA_PYTHON_CLIENT_MEM_FRACTION="0.5")
    assert chosen("async", XLA_PYTHON_CLIENT_ALLOCATOR="platform") == "{'XLA_PYTHON_CLIENT_ALLOCATOR': 'platform'}"


def rewritten(workspace: Path, source: str, name: str, change: dict[str, np.ndarray | None]) -> Path:
    """A copy of a delta with some arrays replaced, added, or left out."""
    arrays = {path: np.array(array) for path, array in opened(workspace, source).items()} | {
        path: array for path, array in change.items() if array is not None
    }
    for path in [path for path, array in change.items() if array is None]:
        del arrays[path]
    target = workspace / "checkpoints" / f"{name}.npz"
    npz.save(target, arrays)
    target.with_suffix(".json").write_text((workspace / "checkpoints" / f"{source}.json").read_text())
    return target


Q = "llm/layers/attn/q_einsum/w"


def test_adapters_that_cannot_be_are_named(run: Run, workspace: Path) -> None:
    learn(run, workspace, "--method", "lora", "--lora-rank", "2", "-w", "adapters")
    a = opened(workspace, "adapters")[f"{Q}_lora_a"]
    for number, (change, message) in enumerate(
        (
            ({f"{Q}_lora_a": a[..., :0]}, f"{Q}_lora_a has shape"),
            ({f"{Q}_lora_a": a[0, 0, 0]}, f"{Q}_lora_a has shape ()"),
            ({f"{Q}_lora_b": None}, f"{Q}_lora_b is missing"),
            ({"llm/layers/attn/qkv_einsum/w_lora_a": a}, "qkv_einsum/w_lora_a is not a parameter of this model"),
            ({"attn/q_einsum/w_lora_a": a}, "attn/q_einsum/w_lora_a is not a parameter of this model"),
            ({f"{Q}_lora_a": np.full_like(a, np.nan)}, f"parameter {Q}_lora_a has values that are not finite"),
        )
    ):
        rewritten(workspace, "adapters", f"odd{number}", change)
        done = run("palitune", "validate", "-m", f"odd{number}", "dataset/data.jsonl", cwd=workspace)
        assert (done.returncode, done.stdout) == (65, ""), done.stderr
        assert message in done.stderr.splitlines()[-1]


def test_merging_loses_nothing_unsaid(run: Run, workspace: Path) -> None:
    learn(run, workspace, "--method", "lora", "--lora-rank", "2", "-w", "merging")
    large = {f"{Q}_lora_{part}": opened(workspace, "merging")[f"{Q}_lora_{part}"] * 0 + 3e4 for part in ("a", "b")}
    rewritten(workspace, "merging", "large", {path: array.astype(np.float16) for path, array in large.items()})
    done = run("palitune", "merge", "-m", "large", "-w", "half", "--save-dtype", "float16", cwd=workspace)
    assert done.returncode == 65
    assert f"{Q} does not fit into float16. Use --save-dtype float32" in done.stderr
    assert not (workspace / "checkpoints/half.npz").exists()
    damaged = rewritten(workspace, "merging", "damaged", {})
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    done = run("palitune", "merge", "-m", "damaged", "-w", "half", cwd=workspace)
    assert done.returncode == 65
    assert "is damaged (its checksum is wrong)" in done.stderr


def test_a_manifest_in_the_way_is_not_replaced(run: Run, workspace: Path) -> None:
    notes = workspace / "notes.json"
    notes.write_text("mine")
    done = learn(run, workspace, "-w", "./notes", code=73)
    assert "notes.json: this file exists" in done.stderr
    learn(run, workspace, "-w", "lonely")
    rewritten(workspace, "lonely", "lonely", {})
    (workspace / "checkpoints/lonely.json").unlink()
    done = run("palitune", "validate", "-m", "lonely", "dataset/data.jsonl", cwd=workspace)
    assert done.returncode == 78
    assert "If palitune saved it, the .json of its name has to be beside it" in done.stderr
    done = run("palitune", "merge", "-m", "tiny", "-w", "notes2", cwd=workspace)
    assert done.returncode == 0
    assert notes.read_text() == "mine"

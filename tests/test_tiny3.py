"""The tiny Gemma 3 that ships with palitune does what the tiny PaliGemma does: the whole job, from the shelf."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Once, Run

from palitune.checkpoint import manifest, npz, opening, operating_point
from palitune.data.vocabulary import Vocabulary
from palitune.hub import catalogue
from palitune.method import METHODS
from palitune.models import families, spec
from palitune.models.spec import GEMMA

pytestmark = pytest.mark.quick_programs

Palitune = Callable[..., str]
NEW_SEED = 10_000  # far from that of the training set
COUNTS = re.compile(r"Tp=(\d+) Tn=(\d+) Fp=(\d+) Fn=(\d+)")


def right(block: str) -> float:
    """The accuracy of the first block of counts in what a command has printed."""
    found = COUNTS.search(block)
    assert found
    tp, tn, fp, fn = map(int, found.groups())
    return (tp + tn) / (tp + tn + fp + fn)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, run: Run, once: Once) -> Path:
    """A folder with drawn advertisements, new ones, and a model that has learned of them on `tiny3`."""

    def make(folder: Path) -> None:
        for command in (
            ["demo-data"],
            ["split", "-v", "10", "-n", "set1"],
            ["demo-data", "-o", "new", "--seed", str(NEW_SEED)],
            ["learn", "-d", "set1", "-m", "tiny3", "-w", "some"],
        ):
            done = run("palitune", *command, cwd=folder)
            assert done.returncode == 0, done.stderr

    return shutil.copytree(once("tiny3", make), tmp_path_factory.mktemp("tiny3") / "folder")


@pytest.fixture(scope="module")
def palitune(run: Run, learned: Path) -> Palitune:
    """What a command prints that has to end well."""

    def palitune(*arguments: str) -> str:
        done = run("palitune", *arguments, cwd=learned)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return palitune


def test_what_ships_is_a_gemma_3_with_images() -> None:
    """The files say what the table of families says, and weigh little."""
    path = catalogue.packaged("tiny3")
    checkpoint = opening.load(path, lambda _: path)
    assert checkpoint.spec is not None
    assert dataclasses.replace(checkpoint.spec, tokenizer="tiny3") == families.TINY3
    assert set(spec.expected(families.TINY3)) == set(checkpoint)
    assert {leaf.dtype.name for leaf in checkpoint.leaves().values()} == {"bfloat16"}
    assert sorted(entry.name for entry in path.iterdir()) == sorted(catalogue.PACKAGED["tiny3"])
    assert sum(entry.stat().st_size for entry in path.iterdir()) <= 3_000_000
    vocabulary = Vocabulary.open(path)
    assert vocabulary.size == families.TINY3.llm.vocab_size
    config = json.loads((path / "config.json").read_text())
    for key, piece in (("boi", "<start_of_image>"), ("eoi", "<end_of_image>"), ("image", "<image_soft_token>")):
        assert vocabulary.special(piece) == config[f"{key}_token_index"]


def test_the_demo_is_learned_on_it(palitune: Palitune) -> None:
    """Not known before, and learned from 86 advertisements: new ones tell."""
    assert right(palitune("validate", "-m", "tiny3", "new/data.jsonl")) < 0.65
    assert right(palitune("validate", "-m", "some", "new/data.jsonl")) >= 0.9


def test_attention_is_saved_as_a_delta_of_the_folder(learned: Path) -> None:
    """With the folder's name as its base's, and the arrays in the folder's dtype."""
    saved = learned / "checkpoints" / "some.npz"
    assert (manifest.read(saved)["base"] or {})["name"] == "tiny3"
    arrays = npz.Checkpoint(saved).leaves()
    assert set(arrays) == set(filter(METHODS["attention"].trainable, spec.expected(families.TINY3)))
    assert {leaf.dtype.name for leaf in arrays.values()} == {"bfloat16"}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_other_methods_save_is_opened_again(palitune: Palitune, learned: Path, method: str) -> None:
    """A whole checkpoint, an `.npz`, says itself which model it is, and its rows tell its tokenizer."""
    printed = palitune(
        "learn", "-d", "set1", "-m", "tiny3", "-w", method, "--examples", "8", "-b", "4", "--method", method
    )
    blocks = printed.split("Result: ")
    assert right(palitune("validate", "-m", method, "dataset/set1/valid.jsonl")) == right(blocks[-2])
    saved = learned / "checkpoints" / f"{method}.npz"
    if method == "full":
        found = manifest.model(manifest.read(saved), saved)
        assert found is not None
        assert found.llm == families.TINY3.llm
        assert found.template == GEMMA


def test_a_merged_checkpoint_answers_the_same(palitune: Palitune) -> None:
    """The delta and its base as one file."""
    palitune("merge", "-m", "some", "-w", "whole")
    answers = [palitune("inference", "-m", name, "-d", "dataset/set1/valid.jsonl") for name in ("some", "whole")]
    assert answers[0] == answers[1]


def test_decoding_writes_what_scoring_says(palitune: Palitune) -> None:
    """Where what is written is one of the labels."""
    scored = palitune("inference", "-m", "some", "-d", "dataset/data.jsonl").splitlines()
    written = palitune("inference", "-m", "some", "-d", "dataset/data.jsonl", "--decode").splitlines()
    both = [(one, other) for one, other in zip(scored, written, strict=True) if other.split("\t")[4] in ("yes", "no")]
    assert len(both) >= 90
    assert all(one == other for one, other in both)


@pytest.mark.slow
def test_stages_around_it(palitune: Palitune, learned: Path) -> None:
    """Those that ask the model, or want its tokens, take `tiny3` as they take `tiny`."""
    (learned / "prompts.txt").write_text("is this advertisement allowed?\nis there a star?\n")
    for command in (
        ["prompts", "prompts.txt", "-d", "set1"],
        ["baseline", "-d", "set1"],
        ["suspect", "-d", "dataset/set1/valid.jsonl", "--folds", "2"],
        ["lint", "dataset/set1/valid.jsonl"],
    ):
        assert palitune(*command, "-m", "tiny3")
    (learned / "answers.tsv").write_text(palitune("inference", "-m", "tiny3", "-d", "dataset/data.jsonl"))
    palitune("threshold", "answers.tsv", "--recall", "0.9", "-m", "tiny3")
    assert operating_point.read(learned / "cache" / "models" / "tiny3")
    assert "attention" in palitune("plan", "--checkpoint", "tiny3", "--estimate")

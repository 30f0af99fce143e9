"""The script that makes the tiny models: it runs, it repeats itself, and it is the one that made what ships."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sentencepiece
from conftest import Run

from palitune.checkpoint import opening
from palitune.checkpoint.store import Stored
from palitune.hub import catalogue
from palitune.models import families
from palitune.train import pretrain_tiny

pytestmark = pytest.mark.quick_programs

MODELS = {**pretrain_tiny.MODELS, "tinytext": families.TINYTEXT}
SMALL = ("--pictures", "64", "--tower-steps", "2", "--steps", "2")


def pieces(path: Path) -> list[str]:
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(i) for i in range(model.vocab_size())]


def opened(path: Path) -> Stored:
    return opening.load(path, lambda _: path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_few_steps_give_a_tiny_model_twice(name: str, tmp_path: Path, run: Run) -> None:
    shipped = catalogue.packaged(name)
    folder = shipped if shipped.is_dir() else shipped.parent
    with ThreadPoolExecutor() as pool:
        commands = [("palitune", "pretrain-tiny", "-o", one, "--model", name, *SMALL) for one in ("a", "b")]
        for done in pool.map(lambda command: run(*command, cwd=tmp_path), commands):
            assert done.returncode == 0, done.stderr
    for file in catalogue.PACKAGED[name]:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        if file.endswith(".json"):
            assert (tmp_path / "a" / file).read_bytes() == (folder / file).read_bytes()
    made, real = opened(tmp_path / "a" / shipped.relative_to(folder)), opened(shipped)
    assert made.spec == real.spec
    read, meant = real.spec or families.read(real.leaves()), MODELS[name]
    # A folder has its tokenizer beside it, and its configuration does not say what palitune calls it.
    assert dataclasses.replace(read, tokenizer=meant.tokenizer) == meant
    assert {path: made[path].dtype for path in made} == {path: real[path].dtype for path in real}
    assert pieces(tmp_path / "a" / "tokenizer.model") == pieces(folder / "tokenizer.model")

"""The script that makes the tiny model: it runs, it repeats itself, and it is the one that made what ships."""

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
import sentencepiece
from conftest import Run

from palitune.checkpoint import npz
from palitune.models import families
from palitune.train import pretrain_tiny

SMALL = ("--pictures", "64", "--tower-steps", "2", "--steps", "2")


def pieces(path: Path) -> list[str]:
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(i) for i in range(model.vocab_size())]


@pytest.mark.slow
def test_a_few_steps_give_a_tiny_model_twice(tmp_path: Path, run: Run) -> None:
    shipped = Path(str(files("palitune") / "tiny"))
    with ThreadPoolExecutor() as pool:
        commands = [("palitune", "pretrain-tiny", "-o", name, *SMALL) for name in ("a", "b")]
        for done in pool.map(lambda command: run(*command, cwd=tmp_path), commands):
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "tiny.npz").read_bytes() == (tmp_path / "b" / "tiny.npz").read_bytes()
    made, real = npz.Checkpoint(tmp_path / "a" / "tiny.npz"), npz.Checkpoint(shipped / "tiny.npz")
    assert families.read(made) == families.read(real) == pretrain_tiny.CONFIG
    assert {path: made[path].dtype for path in made} == {path: real[path].dtype for path in real}
    assert pieces(tmp_path / "a" / "tokenizer.model") == pieces(shipped / "tokenizer.model")

"""What a model has learned from is said where it is evaluated on it; records' own questions are asked everywhere."""

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from conftest import Once, Run

from palitune.checkpoint import trained_images
from palitune.checkpoint.trained_images import Known
from palitune.config.run_config import RunConfig
from palitune.data.label_sets import YES_NO
from palitune.run.evaluation import whole_of

pytestmark = pytest.mark.quick_programs

OWN = "is there a cross in the image?"


@pytest.fixture(scope="module")
def trained(workspace: Path, run: Run, once: Once) -> Path:
    """A model that learned from a split whose records all ask the same question of their own."""

    def make(home: Path) -> None:
        shutil.copytree(workspace, home, dirs_exist_ok=True)
        folder = home / "dataset" / "own"
        folder.mkdir()
        for part in ("train", "valid"):
            records = [json.loads(line) for line in (home / f"dataset/set1/{part}.jsonl").read_text().splitlines()]
            lines = [json.dumps({**record, "prefix": OWN}) for record in records]
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
        done = run("palitune", "learn", "-d", "own", "-w", "own", "--examples", "8", "--prompt", "ok?", cwd=home)
        assert done.returncode == 0, done.stderr
        assert "--prompt has no effect: every record asks a question of its own" in done.stderr
        assert "has learned from" not in done.stderr
        done = run("palitune", "learn", "-d", "own", "-m", "own", "-w", "own2", "--examples", "8", cwd=home)
        assert done.returncode == 0, done.stderr
        assert json.loads((home / "checkpoints/own2.json").read_text())["config"]["prompt"] == OWN

    shutil.copytree(once("trained", make), workspace, dirs_exist_ok=True)
    return workspace / "checkpoints" / "own2.npz"


def test_evaluating_what_was_learned_from(trained: Path, workspace: Path, run: Run, tmp_path: Path) -> None:
    alone = tmp_path / "copy.npz"  # without the run, and without the file beside it
    shutil.copy(trained, alone)
    files = [f"dataset/own/{part}.jsonl" for part in ("train", "valid")]
    done = run("palitune", "validate", "-m", str(alone), *files, "dataset/data.jsonl", cwd=workspace)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "has learned from" in line]
    assert [line.partition(":")[0] for line in said] == [files[0], "dataset/data.jsonl"]
    assert "copy has learned from 18 of these 18 images" in said[0]
    assert "copy has learned from 18 and was chosen on 6 of these 24 images" in said[1]


def test_the_baseline_asks_what_records_ask(trained: Path, workspace: Path, run: Run) -> None:
    done = run("palitune", "baseline", "-d", "own", "-m", "tiny", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    zero = next(one for one in json.loads(done.stdout)["contestants"] if one["name"] == "zero-shot")
    assert zero["detail"] == OWN
    block = run("palitune", "validate", "-m", "tiny", "dataset/own/valid.jsonl", cwd=workspace).stdout
    assert f"  accuracy:  {zero['figures']['accuracy']['value']}\n" in block


def test_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / str(number) for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number % 6]))  # two are there twice
    known = trained_images.with_more(trained_images.with_more(trained_images.NONE, paths[:4]), paths[2:])
    assert (len(known.marks), known.images, known.is_all) == (6, 6, True)
    assert trained_images.count(known, [*paths, tmp_path / "gone"]) == 8
    paths[0].write_bytes(b"another image")
    assert trained_images.count(known, paths) == 7
    monkeypatch.setattr(trained_images, "MOST", 4)
    some = trained_images.with_more(trained_images.NONE, paths)
    assert (len(some.marks), some.images, some.is_all) == (4, 7, False)
    content = json.loads(json.dumps(trained_images.as_json(some)))
    checkpoint = tmp_path / "x.npz"
    for written, found in (
        (content, some),
        ({"marks": "!", "images": 1}, trained_images.NONE),
        ([], trained_images.NONE),
    ):
        checkpoint.with_suffix(".json").write_text(json.dumps({"config": {}, "learned": written}))
        assert trained_images.read(checkpoint) == found
    assert isinstance(some, Known)


def test_the_whole_set_is_the_one_that_both_parts_come_from(tmp_path: Path) -> None:
    config = RunConfig()
    shown: Any = Namespace(check=lambda wanted: list(wanted))
    (tmp_path / "a.png").write_bytes(b"")
    line = '{"image": "a.png", "prefix": "", "suffix": "yes"}\n'
    train, valid, whole, test = (tmp_path / f"{name}.jsonl" for name in ("train", "valid", "shuffle", "test"))
    for path in (train, valid):
        path.write_text(line)
    assert whole_of(train, valid, config, shown, YES_NO) == {}
    whole.write_text(line * 2)
    assert [len(records) for records in whole_of(train, valid, config, shown, YES_NO).values()] == [2]
    assert whole_of(train, tmp_path / "other" / "valid.jsonl", config, shown, YES_NO) == {}
    assert whole_of(train, None, config, shown, YES_NO) == {}
    assert whole_of(train, tmp_path / "mine.jsonl", config, shown, YES_NO) == {}
    test.write_text(line)  # kept aside: no run looks at it
    assert whole_of(train, valid, config, shown, YES_NO) == {}
    test.unlink()
    whole.write_text('{"image": "a.png", "suffix": "maybe"}\n')  # no run depends on it
    assert whole_of(train, valid, config, shown, YES_NO) == {}

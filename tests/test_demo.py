"""The demo data: its counts, its formats, and the rule one can see."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palitune.data import example_files
from palitune.data.demo import demo_data, drawing, pretraining_tasks
from palitune.errors import OutputExistsError, UsageError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo_data.make(folder)
    return folder


def test_96_advertisements(drawn: Path) -> None:
    lines = (drawn / "data.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert Counter(row["suffix"] for row in rows) == {"yes": 54, "no": 42}
    assert Counter(Path(row["image"]).suffix for row in rows) == {".png": 45, ".jpg": 44, ".gif": 7}
    assert {row["prefix"] for row in rows} == {""}
    assert lines[0].startswith('{"prefix":"","suffix":"')
    for row in rows:
        with Image.open(drawn / row["image"]) as picture:
            assert {"PNG": "png", "JPEG": "jpg", "GIF": "gif"}[picture.format or ""] == row["image"].rpartition(".")[2]
            assert (getattr(picture, "n_frames", 1) > 1) == (picture.format == "GIF")
        assert Path(row["image"]).name.startswith("OK_image" if row["suffix"] == "yes" else "NG_image")
    assert len(example_files.read(drawn / "data.jsonl")) == 96


def test_the_same_seed_gives_the_same_files(drawn: Path, tmp_path: Path) -> None:
    demo_data.make(tmp_path)
    for path in [drawn / "data.jsonl", *sorted((drawn / "images").iterdir())[:10]]:
        assert (tmp_path / path.relative_to(drawn)).read_bytes() == path.read_bytes()
    demo_data.make(tmp_path)
    other = [json.loads(line) for line in (drawn / "data.jsonl").read_text().splitlines()]
    assert demo_data.make(tmp_path / "other", seed=1) != other


def test_a_new_set_leaves_no_old_pictures(tmp_path: Path) -> None:
    demo_data.make(tmp_path, 8)
    with pytest.raises(OutputExistsError, match="another data set"):
        demo_data.make(tmp_path, 4, seed=1)
    rows = demo_data.make(tmp_path, 4, seed=1, overwrite=True)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {Path(row["image"]).name for row in rows}


def test_a_persons_data_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("mine")
    with pytest.raises(OutputExistsError, match="another data set"):
        demo_data.make(tmp_path)
    assert (tmp_path / "data.jsonl").read_text() == "mine"
    demo_data.make(tmp_path, 4, overwrite=True)
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write("mine\n")
    with pytest.raises(OutputExistsError, match="another data set"):
        demo_data.make(tmp_path, 4)
    with pytest.raises(UsageError, match="at least 4"):
        demo_data.make(tmp_path, 3)


def test_badges_look_different() -> None:
    """The rule is visible: the same scene with another badge has other pixels where the badge is."""
    seen = []
    for badge in drawing.BADGES:
        rng = np.random.default_rng(5)
        seen.append(
            np.asarray(drawing.draw(drawing.random_scene(rng, badge), (160, 160), np.random.default_rng(1))).astype(int)
        )
    for i, a in enumerate(seen):
        for b in seen[:i]:
            assert (np.abs(a - b).max(axis=-1) > 60).sum() > 300


def test_pretraining_never_asks_yes_or_no_about_the_rule() -> None:
    rng = np.random.default_rng(0)
    asked = 0
    for _ in range(20_000):
        prefix, suffix = pretraining_tasks.pretraining_task(drawing.random_scene(rng), rng)
        if suffix in ("yes", "no"):
            asked += 1
            assert "cross" not in prefix
            assert "appropriate" not in prefix
    assert asked > 10_000

    assert "cross" not in {value for _, value, _ in pretraining_tasks.LAWS.values()}


@pytest.mark.slow
@pytest.mark.parametrize("question", [pretraining_tasks.yes_no_question, pretraining_tasks.law_question])
def test_yes_and_no_are_even(question: Callable[..., tuple[str, str]]) -> None:
    rng = np.random.default_rng(0)
    answers = Counter(question(drawing.random_scene(rng), rng)[1] for _ in range(20_000))
    assert abs(answers["yes"] - answers["no"]) < 600


def test_laws_are_kept() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        scene = drawing.random_scene(rng)
        text, answer = pretraining_tasks.law_question(scene, rng)
        (law,) = (rule for name, rule in pretraining_tasks.LAWS.items() if re.search(rf"\b{name}\b", text))
        field, value, demanded = law
        assert answer == ("yes" if (getattr(scene, field) == value) == demanded else "no")

"""Which examples are about the same, and so in one fold: copies under other names, near-duplicates, texts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from PIL import Image as Picture

from palitune.data import dataset_files
from palitune.data.example import Content, Example, Image, Message, Target
from palitune.data.split import example_groups
from palitune.errors import BadDataError
from palitune.evaluate import probe
from palitune.run import folds

pytestmark = pytest.mark.quick_programs


def about(*parts: str | Image | Content, label: str = "yes") -> Example:
    return Example((Message("user", parts),), (Target(answer=label),))


def grouped(examples: list[Example], folds: int = 1) -> list[int]:
    return example_groups.groups_of(examples, folds).tolist()


@pytest.fixture
def images(workspace: Path, tmp_path: Path) -> list[Path]:
    """Eight different advertisements."""
    records = dataset_files.load(workspace / "dataset/set1/train.jsonl")
    found = []
    for number, path in enumerate(dict.fromkeys(one.image.path for one in records[:8])):
        found.append(Path(shutil.copy(path, tmp_path / f"{number}{path.suffix}")))
    return found


def test_copies_and_near_duplicates_are_one(
    images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copy(images[2], tmp_path / f"copy{images[2].suffix}"))
    smaller = tmp_path / "smaller.jpg"
    with Picture.open(images[5]) as picture:
        picture.convert("RGB").resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(smaller, quality=85)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n")
    every = [*images, copy, smaller, damaged, tmp_path / "lost.png"]
    assert grouped([about(Image(path.name, path), "fine?") for path in every]) == [0, 1, 2, 3, 4, 5, 6, 7, 2, 5, 8, 9]
    assert capsys.readouterr().err == "4 images are near-duplicates of others and stay in one fold with them\n"
    # The question is another matter than what it is asked about.
    assert grouped([about(Image("a", images[0]), "fine?"), about(Image("b", images[0]), "red?")]) == [0, 0]
    # Of several images, what is the same has all of them the same.
    first, second, third = (Image(path.name, path) for path in (images[2], copy, images[0]))
    pairs = [about(first, third, "?"), about(second, third, "?"), about(third, first, "?")]
    assert grouped(pairs) == [0, 0, 1]


def test_texts_differ_in_more_than_case_width_and_blanks() -> None:
    texts = ["Buy  now", "buy now ", "BUY NOW", "Buy later", "\uff42\uff55\uff59\u3000now"]
    assert grouped([about(Content(text), "spam?") for text in texts]) == [0, 0, 0, 1, 0]
    assert grouped([about(text) for text in texts]) == [0, 0, 0, 1, 0]


def test_images_that_are_all_near_are_told_apart_by_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of scans or drawings of one kind, which would all be in one fold."""
    drawn = []
    for number in range(9):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
        pixels[60, number * 2] ^= 64
        Picture.fromarray(pixels).save(path)
        drawn.append(path)
    shutil.copy(drawn[0], tmp_path / "copy.png")
    every = [about(Image(path.name, path), "?") for path in [*drawn, tmp_path / "copy.png"]]
    assert grouped(every, folds=3) == [*range(9), 0]
    assert capsys.readouterr().err == (
        "10 of 10 records are about near-duplicates of one image: they are in several folds, and only copies are "
        "together\n"
    )
    assert grouped(every, folds=1) == [0] * 10


def test_no_copy_is_held_out_of_what_is_learned_from(images: list[Path], tmp_path: Path) -> None:
    examples = []
    for number, path in enumerate(images):
        for copy in range(3):
            to = Path(shutil.copy(path, tmp_path / f"copy{copy}-{number}{path.suffix}"))
            examples.append(about(Image(to.name, to), "?", label="yes" if number % 2 else "no"))
    places = folds.parts(examples, 4, 0, quiet=True)
    assert sorted(place for fold in places for place in fold) == list(range(24))
    for fold in places:
        assert len(fold) == 6
        assert len({place // 3 for place in fold}) == 2  # both labels, and each image with all of its copies
        assert {examples[place].label for place in fold} == {"yes", "no"}


def test_folds_that_overlap_or_are_not_all_there(workspace: Path, run: Run, tmp_path: Path) -> None:
    lines = (workspace / "dataset/set1/train.jsonl").read_text().splitlines()[:12]
    images = ("-i", str(workspace / "dataset/set1"))
    for number, part in enumerate((lines[:6], lines[5:]), 1):
        folder = workspace / f"dataset/overlapping/fold{number}"
        folder.mkdir(parents=True)
        (folder / "valid.jsonl").write_text("\n".join(part) + "\n")
    done = run("palitune", "learn", "-d", "overlapping", *images, "-w", "overlapping", "--quiet", cwd=workspace)
    assert done.returncode == 65, done.stderr
    name = json.loads(lines[5])["image"]
    assert f"{name} is in two folds, here and at dataset/overlapping/fold1/valid.jsonl:6" in done.stderr
    (workspace / "dataset/overlapping/fold2").rename(workspace / "dataset/overlapping/fold3")
    done = run("palitune", "learn", "-d", "overlapping", *images, "-w", "overlapping", cwd=workspace)
    assert done.returncode == 65, done.stderr
    assert "fold3 is here, and fold2 is not" in done.stderr


def test_a_probe_learns_from_no_copy_of_what_is_held_out() -> None:
    labels, groups = ["yes", "no"] * 12, np.repeat(np.arange(8), 3)
    parts = list(probe.parts(labels, 4, 0, groups))
    assert sorted(place for _, held_out in parts for place in held_out) == list(range(24))
    for learned, held_out in parts:
        assert not set(groups[learned]) & set(groups[held_out])
        assert {labels[place] for place in held_out} == {"yes", "no"}
    with pytest.raises(BadDataError, match="that one of 9 folds has none"):
        probe.parts(labels, 9, 0, groups)

"""What a file is for, as people and other programs name it."""

import json
from pathlib import Path

import pytest
from conftest import Run
from PIL import Image

from palitune.data import dataset_files
from palitune.data.split import subset_names
from palitune.errors import MissingInputError, UsageError

NAMES = {
    "_annotations.train": "train",
    "_annotations.valid": "valid",
    "train": "train",
    "TRAIN": "train",
    "data-train": "train",
    "trainset2": "train",
    "myTrainData": "train",
    "training_v3": "train",
    "val": "valid",
    "VAL": "valid",
    "my-val": "valid",
    "valid_set": "valid",
    "validation": "valid",
    "ValidationSet": "valid",
    "instances_val2017": "valid",
    "dev": "valid",
    "test": "test",
    "TEST_1": "test",
    "testset": "test",
    "学習データ": "train",
    "検証用": "valid",
    "テスト": "test",
    "value": None,
    "invalid": None,
    "latest": None,
    "contest": None,
    "trainval": None,
    "train_val": None,
    "data": None,
    "constraint": None,
}


@pytest.mark.parametrize(("name", "part"), NAMES.items())
def test_a_name_says_it_or_does_not(name: str, part: str | None) -> None:
    assert subset_names.said_by(name) == part


def parts(*names: str) -> list[str | None]:
    return list(subset_names.of([Path(name) for name in names]).values())


def test_folders_say_it_where_files_do_not() -> None:
    assert parts("train/_annotations.jsonl", "valid/_annotations.jsonl") == ["train", "valid"]
    assert parts("a/train/annotations.jsonl", "a/my-val/x/annotations.jsonl") == ["train", "valid"]
    assert parts("x/valid/train.jsonl", "x/train/valid.jsonl") == ["train", "valid"]
    assert parts("test/a.jsonl", "test/b.jsonl") == [None, None]  # what they share tells nothing
    assert parts("test/train.jsonl", "test/b.jsonl") == ["train", None]
    assert parts("train/annotations.jsonl") == ["train"]


def test_what_is_assumed_is_said() -> None:
    paths = [Path("train.tsv"), Path("more.tsv"), Path("valid.tsv")]
    assert subset_names.assumed(subset_names.of(paths[:1])) is None
    assert subset_names.assumed(subset_names.of([paths[0], paths[2]])) is None
    assert "more.tsv: neither train nor valid in the name; it is used for evaluation" in str(
        subset_names.assumed(subset_names.of(paths[:2]))
    )
    assert "the first one named keeps it" in str(subset_names.assumed(subset_names.of([Path("a.tsv"), Path("b.tsv")])))


LAYOUTS = [
    ("train/_annotations.train.jsonl", "valid/_annotations.valid.jsonl"),
    ("_annotations.train.jsonl", "_annotations.valid.jsonl"),
    ("train/annotations.jsonl", "valid/annotations.jsonl"),
    ("Train/data.jsonl", "Validation/data.jsonl"),
    ("data-train.jsonl", "data-val.jsonl"),
]


def leaking(folder: Path, train: str, valid: str) -> None:
    """Two files with one image in both, beside them."""
    for name, numbers in ((train, (0, 1, 2)), (valid, (3, 0))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            Image.effect_noise((80, 80), 60 + number).convert("RGB").point(lambda v, n=number: v // (n + 1)).save(
                path.parent / f"{number}.png"
            )
            with path.open("a") as file:
                file.write(json.dumps({"image": f"{number}.png", "suffix": "yes" if number % 2 else "no"}) + "\n")
    if Path(train).parent != Path(valid).parent:
        (folder / Path(valid).parent / "0.png").write_bytes((folder / Path(train).parent / "0.png").read_bytes())


@pytest.mark.parametrize(("train", "valid"), LAYOUTS)
def test_other_peoples_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: str, valid: str) -> None:
    leaking(tmp_path / "mine", train, valid)
    monkeypatch.chdir(tmp_path)
    found = dataset_files.data_files(str(tmp_path / "mine"))
    assert found == (tmp_path / "mine" / train, tmp_path / "mine" / valid)
    assert dataset_files.data_files("mine") == (Path("mine") / train, Path("mine") / valid)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "mine").rename(tmp_path / "dataset/mine")
    assert dataset_files.data_files("mine") == (Path("dataset/mine") / train, Path("dataset/mine") / valid)


def test_several_files_of_a_part(tmp_path: Path) -> None:
    for name in ("a-train.jsonl", "b-train.jsonl", "valid.jsonl"):
        (tmp_path / name).write_text("x")
    with pytest.raises(UsageError, match=r"several files say train: .*a-train.jsonl, .*b-train.jsonl"):
        dataset_files.data_files(str(tmp_path))


def test_a_folder_that_is_no_split(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("x")
    with pytest.raises(MissingInputError, match=r"palitune split makes it, has train and valid.* are: data.jsonl$"):
        dataset_files.data_files(str(tmp_path))


def test_a_split_that_is_in_the_playground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking(tmp_path / "playground/dataset/set1", "train.tsv", "valid.tsv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match=r"no such file. It is in playground/.*: cd playground$"):
        dataset_files.data_files("set1")


@pytest.mark.parametrize(("train", "valid"), LAYOUTS[:3])
def test_a_leak_leaves_the_file_that_trains(tmp_path: Path, run: Run, train: str, valid: str) -> None:
    leaking(tmp_path, train, valid)
    for names in ((train, valid), (valid, train)):
        done = run("palitune", "lint", *names, "--fix", "out", "--overwrite", cwd=tmp_path)
        assert done.returncode == 65, done.stderr
        assert "leak" in done.stdout
        (fixed_train,) = (tmp_path / "out").rglob(train if Path(train).name == Path(valid).name else Path(train).name)
        (fixed_valid,) = (tmp_path / "out").rglob(valid if Path(train).name == Path(valid).name else Path(valid).name)
        assert fixed_train.read_text().count("\n") == 2
        assert fixed_valid.read_text().count("\n") == 2
        assert "0.png" in fixed_valid.read_text()

"""Splits: exact partitions that anybody can repeat."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palitune import config
from palitune.data import split as splitting
from palitune.data.split import Amount, Wish
from palitune.errors import BadDataError, OutputExistsError, UsageError

PARTS = ("shuffle.jsonl", "train.jsonl", "valid.jsonl")


def split(source: Path, folder: Path, validation: int, seed: int, overwrite: bool = False) -> tuple[int, int]:
    sizes = splitting.split(source, folder, Wish(Amount(validation)), seed, overwrite).sizes
    return sizes["train"], sizes["valid"]


def source(folder: Path, count: int) -> Path:
    path = folder / "data.jsonl"
    lines = [json.dumps({"image": f"{i}.jpg", "suffix": "yes", "extra": "é"}, ensure_ascii=False) for i in range(count)]
    path.write_text("\n".join(lines), "utf-8")
    return path


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PARTS}


@given(count=st.integers(2, 60), data=st.data(), seed=st.integers(0, 2**70))
def test_partition(tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject, seed: int) -> None:
    folder = tmp_path_factory.mktemp("split")
    path = source(folder, count)
    validation = data.draw(st.integers(1, count - 1))
    assert split(path, folder / "set1", validation, seed) == (count - validation, validation)
    parts = read(folder / "set1")
    assert parts["shuffle.jsonl"] == parts["valid.jsonl"] + parts["train.jsonl"]
    assert parts["valid.jsonl"].count(b"\n") == validation
    assert sorted(parts["shuffle.jsonl"].splitlines()) == sorted(path.read_bytes().splitlines())


def test_seed_and_name_decide(tmp_path: Path) -> None:
    path = source(tmp_path, 40)
    for name, seed in (("a/set1", 0), ("b/set1", 0), ("set2", 0), ("set3", 1)):
        split(path, tmp_path / name, 10, seed)
    assert read(tmp_path / "a/set1") == read(tmp_path / "b/set1")
    assert len({read(tmp_path / name)["shuffle.jsonl"] for name in ("a/set1", "set2", "set3")}) == 3


def test_another_split_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = source(tmp_path, 40)
    split(path, tmp_path / "set1", 10, 0)
    before = read(tmp_path / "set1")
    split(path, tmp_path / "set1", 10, 0)
    with pytest.raises(OutputExistsError, match="another split is there already"):
        split(path, tmp_path / "set1", 10, 1)
    assert read(tmp_path / "set1") == before
    split(path, tmp_path / "set1", 10, 1, overwrite=True)
    assert read(tmp_path / "set1") != before
    assert sorted(os.listdir(tmp_path)) == ["data.jsonl", "set1"]


@pytest.mark.parametrize("validation", [40, 41, 0, -1])
def test_a_split_without_one_part_is_refused(tmp_path: Path, validation: int) -> None:
    with pytest.raises(UsageError, match=f"-v {validation}"):
        split(source(tmp_path, 40), tmp_path / "set1", validation, 0)
    assert os.listdir(tmp_path) == ["data.jsonl"]


def test_a_bad_line_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    path = source(tmp_path, 5)
    path.write_text(path.read_text("utf-8") + '\n{"image": 1}\n', "utf-8")
    with pytest.raises(BadDataError, match=r"data\.jsonl:6"):
        split(path, tmp_path / "set1", 2, 0)
    assert os.listdir(tmp_path) == ["data.jsonl"]


def test_generators_by_name() -> None:
    numbers = {
        names: config.generator(0, *names).integers(2**60)
        for names in [("a",), ("b",), ("a", 1), ("a", 2), ("order", "1st")]
    }
    assert len(set(numbers.values())) == len(numbers)
    assert config.generator(0, "a").integers(2**60) == numbers[("a",)]
    assert config.generator(1, "a").integers(2**60) != numbers[("a",)]

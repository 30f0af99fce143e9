"""Splits: exact partitions that anybody can repeat, in which nothing is torn apart."""

import collections
import json
import os
from collections.abc import Mapping
from pathlib import Path

import conftest
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palitune import randomness
from palitune.data.split import grouping
from palitune.data.split import splitter as splitting
from palitune.data.split.line_index import LineIndex
from palitune.data.split.splitter import Amount, SplitOptions
from palitune.data.split.stratified_partition import partition
from palitune.errors import BadDataError, OutputExistsError, UsageError

PARTS = ("shuffle.jsonl", "train.jsonl", "valid.jsonl")


def split(source: Path, folder: Path, validation: int, seed: int, overwrite: bool = False) -> tuple[int, int]:
    sizes = splitting.split(source, folder, SplitOptions(Amount(validation)), seed, overwrite).sizes
    return sizes["train"], sizes["valid"]


def source(folder: Path, count: int) -> Path:
    path = folder / "data.jsonl"
    lines = [json.dumps({"image": f"{i}.jpg", "suffix": "yes", "extra": "é"}, ensure_ascii=False) for i in range(count)]
    path.write_text("\n".join(lines), "utf-8")
    return path


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PARTS}


@settings(deadline=None)
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


@st.composite
def wishes(draw: st.DrawFn) -> tuple[list[int], list[int], SplitOptions]:
    """Labels, groups (0 is none) and a wish for some records."""
    count = draw(st.integers(3, 80))
    labels = draw(st.lists(st.integers(0, draw(st.integers(0, 4))), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, draw(st.integers(0, count))), min_size=count, max_size=count))
    stratify = draw(st.booleans())
    test = draw(st.integers(0, count // 3))
    if draw(st.booleans()):
        return (
            labels,
            groups,
            SplitOptions(test=Amount(test), folds=draw(st.integers(2, count - test)), stratify=stratify),
        )
    return labels, groups, SplitOptions(Amount(draw(st.integers(1, count - test - 1))), Amount(test), stratify=stratify)


def parted(labels: list[int], groups: list[int], wish: SplitOptions, seed: int = 0) -> Mapping[str, "np.ndarray"]:
    count = len(labels)
    index = LineIndex(
        np.zeros(count, np.int64),
        np.zeros(count, np.int32),
        np.array(labels, np.int32),
        np.array(groups, np.int64) if any(groups) else None,
        np.arange(count),
        "jsonl",
        [],
    )
    sizes = splitting._sizes(wish, count, Path("d"))
    together = grouping.groups_of(index, "ignore", None, [])
    order = np.random.default_rng(seed).permutation(count)
    kinds = index.labels if wish.stratify else np.zeros(count, np.int32)
    found = partition(kinds, together, order, sizes, np.random.default_rng(seed))
    assert list(found) == list(sizes)
    return found


@settings(max_examples=conftest.CASES, deadline=None)
@given(wishes(), st.booleans(), st.integers(0, 9))
def test_every_record_is_in_one_part_and_nothing_is_torn_apart(
    case: tuple[list[int], list[int], SplitOptions], grouped: bool, seed: int
) -> None:
    labels, groups, wish = case
    groups = groups if grouped else [0] * len(labels)
    found = parted(labels, groups, wish, seed)
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(len(labels)))
    homes: dict[int, set[str]] = collections.defaultdict(set)
    for name, lines in found.items():
        for line in lines.tolist():
            homes[groups[line]].add(name)
    assert all(len(parts) == 1 for group, parts in homes.items() if group)
    again = parted(labels, groups, wish, seed)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    if not grouped:
        sizes = splitting._sizes(wish, len(labels), Path("d"))
        assert {name: len(lines) for name, lines in found.items()} == sizes
        folds = [size for name, size in sizes.items() if name.startswith("fold")]
        assert max(folds, default=0) - min(folds, default=0) <= 1
        if wish.stratify:
            whole = collections.Counter(labels)
            for lines in found.values():
                part = collections.Counter(labels[line] for line in lines)
                for label, total in whole.items():
                    assert abs(part[label] - len(lines) * total / len(labels)) < 1


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


def labelled(folder: Path, count: int, kind: str = "jsonl") -> Path:
    """Records of which every third is no, by four advertisers."""
    path = folder / f"data.{kind}"
    lines = []
    for i in range(count):
        name, label = f"{'abcd'[i % 4]}_{i}.png", "yes" if i % 3 else "no"
        fields = {"image": name, "suffix": label, "advertiser": i % 4}
        lines.append(json.dumps(fields) if kind == "jsonl" else f"{name}\t{label}")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
def test_three_parts_with_the_labels_shares(tmp_path: Path, kind: str) -> None:
    wish = SplitOptions(Amount(20, is_percent=True), Amount(10, is_percent=True), stratify=True)
    path = labelled(tmp_path, 60, kind)
    assert splitting.split(path, tmp_path / "set1", wish, 0).sizes == {"valid": 12, "test": 6, "train": 42}
    for name, no in (("valid", 4), ("test", 2), ("train", 14)):
        assert (tmp_path / "set1" / f"{name}.{kind}").read_text().count("no") == no
    assert sorted(os.listdir(tmp_path / "set1")) == sorted(f"{n}.{kind}" for n in ("shuffle", "valid", "test", "train"))


def test_folds(tmp_path: Path) -> None:
    path = labelled(tmp_path, 61)
    wish = SplitOptions(folds=4, test=Amount(7))
    sizes = splitting.split(path, tmp_path / "five", wish, 0).sizes
    assert sizes == {"fold1": 14, "fold2": 14, "fold3": 13, "fold4": 13, "test": 7}
    everything = set(path.read_text().splitlines())
    held_out = set((tmp_path / "five" / "test.jsonl").read_text().splitlines())
    outcomes: set[str] = set()
    for number in range(1, 5):
        fold = tmp_path / "five" / f"fold{number}"
        valid, train = (set((fold / f"{name}.jsonl").read_text().splitlines()) for name in ("valid", "train"))
        assert not valid & (train | outcomes)
        assert valid | train == everything - held_out
        outcomes |= valid
    assert outcomes == everything - held_out
    splitting.split(path, tmp_path / "five", SplitOptions(folds=2), 0, overwrite=True)
    assert sorted(os.listdir(tmp_path / "five")) == ["fold1", "fold2", "shuffle.jsonl"]


@pytest.mark.parametrize(
    ("kind", "group"), [("jsonl", "advertiser"), ("tsv", "image:^([a-z]+)_"), ("jsonl", "image:^.")]
)
def test_groups_stay_together(tmp_path: Path, kind: str, group: str) -> None:
    path = labelled(tmp_path, 40, kind)
    result = splitting.split(path, tmp_path / "set1", SplitOptions(Amount(12), group=group), 0)
    assert result.sizes == {"valid": 10, "train": 30}
    assert any("10 records in valid instead of 12" in remark for remark in result.remarks)
    valid = (tmp_path / "set1" / f"valid.{kind}").read_text()
    assert sum(f"{letter}_" in valid for letter in "abcd") == 1


def test_a_part_without_records_is_refused(tmp_path: Path) -> None:
    path = labelled(tmp_path, 40)
    for wish in (
        SplitOptions(Amount(4), group="image:"),
        SplitOptions(folds=3, group="image:png"),
        SplitOptions(Amount(30), Amount(2), group="image:"),
    ):
        with pytest.raises(BadDataError, match="have to stay together that none is left for"):
            splitting.split(path, tmp_path / "set1", wish, 0)
    assert os.listdir(tmp_path) == ["data.jsonl"]


def test_a_group_that_nothing_matches_is_refused(tmp_path: Path) -> None:
    path = labelled(tmp_path, 40)
    with pytest.raises(UsageError, match="no record has it"):
        splitting.split(path, tmp_path / "set1", SplitOptions(Amount(4), group="image:zzz(q)"), 0)
    result = splitting.split(path, tmp_path / "set1", SplitOptions(Amount(4), group="image:a_.*"), 0)
    assert "10 of 40 records are in 10 groups" in result.remarks


def test_a_missing_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r'data\.jsonl:1: the record has no "series"'):
        splitting.split(labelled(tmp_path, 9), tmp_path / "set1", SplitOptions(Amount(2), group="series"), 0)
    with pytest.raises(BadDataError, match="A TSV has no keys"):
        splitting.split(labelled(tmp_path, 9, "tsv"), tmp_path / "set1", SplitOptions(Amount(2), group="series"), 0)


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def test_copies_of_a_picture_stay_together(tmp_path: Path) -> None:
    names = []
    for number in range(20):
        picture(number).save(tmp_path / f"{number}.png")
        names.append(f"{number}.png")
    for number in range(5):
        picture(number).resize((160, 160)).save(tmp_path / f"copy{number}.jpg", quality=70)
        names.append(f"copy{number}.jpg")
    names += names[10:13]
    path = tmp_path / "data.tsv"
    path.write_text("".join(f"{name}\tyes\n" for name in names))
    for seed in range(5):
        result = splitting.split(path, tmp_path / "set1", SplitOptions(Amount(14)), seed, overwrite=True)
        assert result.remarks == ["10 images are near-duplicates of others and stay in one subset with them"]
        valid = (tmp_path / "set1" / "valid.tsv").read_text().split()[::2]
        assert len(valid) == 14
        for number in range(5):
            assert (f"{number}.png" in valid) == (f"copy{number}.jpg" in valid)
        assert all(valid.count(f"{number}.png") in (0, 2) for number in range(10, 13))
    (tmp_path / "3.png").write_text("no picture")
    result = splitting.split(path, tmp_path / "set1", SplitOptions(Amount(14)), 0, overwrite=True)
    assert "1 of 25 images cannot be compared" in result.remarks[0]
    with pytest.raises(BadDataError, match="not an image"):
        splitting.split(path, tmp_path / "set2", SplitOptions(Amount(14), near="together"), 0)


def test_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = source(tmp_path, 10)
    for wish, message in (
        (SplitOptions(Amount(5), Amount(5)), "-v 5 and --test 5 leave no training data"),
        (SplitOptions(folds=11), "--folds 11: 10 records make 2 to 10 folds"),
        (SplitOptions(folds=1), "--folds 1"),
        (SplitOptions(folds=2, test=Amount(10)), "--test 10: there are 10 records"),
        (SplitOptions(Amount(2), Amount(-5)), "--test -5"),
        (SplitOptions(Amount(1, is_percent=True)), "-v 1%: validation needs at least one record"),
    ):
        with pytest.raises(UsageError, match=message):
            splitting.split(path, tmp_path / "set1", wish, 0)
    assert os.listdir(tmp_path) == ["data.jsonl"]


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
        names: randomness.generator(0, *names).integers(2**60)
        for names in [("a",), ("b",), ("a", 1), ("a", 2), ("order", "1st")]
    }
    assert len(set(numbers.values())) == len(numbers)
    assert randomness.generator(0, "a").integers(2**60) == numbers[("a",)]
    assert randomness.generator(1, "a").integers(2**60) != numbers[("a",)]

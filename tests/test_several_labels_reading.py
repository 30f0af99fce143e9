"""Several labels of each record, as columns, keys, objects and lists have them."""

import json
from pathlib import Path
from typing import Any

import conftest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.config.model import FolderSettings
from palitune.data import dataset_files, example_files
from palitune.data.checks.lint import lint
from palitune.data.checks.lint_text import as_text
from palitune.data.example import Example, Target
from palitune.data.formats import jsonl
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError
from palitune.labels import LABELS


def read(path: Path, labelled: bool = True, **records: Any) -> list[Example]:
    folders = ImageFolders.of(path, FolderSettings(**records))
    return list(example_files.stream(path, labelled, folders))


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def answers(example: Example) -> dict[str, str | None]:
    return {one.name: one.answer for one in example.targets}


def test_columns_of_a_table(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", "text,obscene,violent,id\nGood,0,no,1\nBad,TRUE,,2\nOdd,1.0,nan,3\n")
    found = read(path, label_columns=("obscene", "violent"))
    assert [answers(one) for one in found] == [
        {"obscene": "no", "violent": "no"},
        {"obscene": "yes", "violent": None},
        {"obscene": "yes", "violent": None},
    ]
    assert found[0].targets[0] == Target("obscene", ("yes", "no"), "no", "Is this text obscene?")
    assert found[0].fields == {
        "text": "Good",
        "obscene": "0",
        "violent": "no",
        "id": "1",
        "labels": {"obscene": "no", "violent": "no"},
    }
    assert dataset_files.load(path, FolderSettings(label_columns=("obscene", "violent")))[1].targets == found[1].targets
    with pytest.raises(BadDataError, match="no column other; there are text, obscene"):
        read(path, label_columns=("obscene", "other"))


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        (
            '{"text": "a", "x": 0.93, "y": "", "labels": {"x": "yes", "y": "no"}}',
            {"label_columns": ("x", "y")},
            {"x": "yes", "y": "no"},
        ),
        ('{"text": "a", "labels": {"x": "yes", "y": null, "z": 0}}', {}, {"x": "yes", "y": None, "z": "no"}),
        ('{"text": "a", "labels": {"x": "Yes", "y": "NO"}}', {"label_columns": ("y",)}, {"y": "no"}),
        ('{"text": "a", "labels": {"x": "yes"}}', {"label_columns": ("x", "y")}, {"x": "yes", "y": None}),
        ('{"text": "a", "labels": ["y"]}', {"label_columns": ("x", "y")}, {"x": "no", "y": "yes"}),
        ('{"text": "a", "labels": []}', {"label_columns": ("x", "y")}, {"x": "no", "y": "no"}),
        ('{"text": "a", "label": [0, 2]}', {"label_columns": ("x", "y", "z")}, {"x": "yes", "y": "no", "z": "yes"}),
        (
            '{"text": "a", "x": true, "y": false}',
            {"label_columns": ("x", "y", "z")},
            {"x": "yes", "y": "no", "z": None},
        ),
        ('{"text": "a", "x": "2"}', {"label_columns": ("x",), "map": (("2", "yes"),)}, {"x": "yes"}),
    ],
)
def test_lines_of_json(tmp_path: Path, line: str, options: dict[str, Any], expected: dict[str, str | None]) -> None:
    (found,) = read(written(tmp_path / "d.jsonl", f"{line}\n"), **options)
    assert answers(found) == expected
    assert list(answers(found)) == list(expected)
    # What is written again needs no options.
    assert answers(jsonl.parse(json.dumps(dict(found.fields)), "d:1")) == expected


def test_an_image_with_a_label_keeps_its_own_key() -> None:
    found = jsonl.parse('{"image": "a.jpg", "suffix": "yes", "labels": {"x": "no"}}', "d:1")
    assert found.targets == (Target("", None, "yes"),)


@pytest.mark.parametrize(
    ("line", "options", "what"),
    [
        ('{"text": "a", "labels": ["y"]}', {}, "--label-columns A,B,C"),
        ('{"text": "a", "label": [0]}', {}, "--label-columns A,B,C"),
        ('{"text": "a", "label": [3]}', {"label_columns": ("x", "y")}, "3 is none of the labels x, y"),
        ('{"text": "a", "label": [-1]}', {"label_columns": ("x", "y")}, "-1 is none"),
        ('{"text": "a", "labels": ["z"]}', {"label_columns": ("x", "y")}, "'z' is none"),
        ('{"text": "a", "labels": {"x": "maybe"}}', {}, 'x is "maybe" and neither yes nor no. --map OLD=yes'),
        ('{"text": "a", "labels": {"x": 2}}', {}, 'x is "2" and neither'),
        ('{"text": "a", "labels": {}}', {}, "0 labels"),
        (
            '{"text": "a", "labels": {"X ": "yes", "y": "no"}}',
            {"label_columns": ("x", "y")},
            '"X ", and the label is "x"',
        ),
        (
            '{"text": "a", "x": 0, "labels": {"x": "yes"}}',
            {"label_columns": ("x",)},
            '"x" is no in its own key and yes among the labels',
        ),
        (
            '{"text": "a", "y": 1, "label": [0]}',
            {"label_columns": ("x", "y")},
            '"y" is yes in its own key and no among the labels',
        ),
        ('{"text": "", "labels": {"x": "yes"}}', {}, '"text" is empty'),
        ('{"labels": {"x": "yes"}}', {}, "the record has no"),
    ],
)
def test_what_are_no_labels(tmp_path: Path, line: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(BadDataError, match=what) as caught:
        read(written(tmp_path / "d.jsonl", f"{line}\n"), **options)
    assert str(caught.value).startswith(f"{tmp_path / 'd.jsonl'}:1: ")


def test_questions(tmp_path: Path) -> None:
    asked = written(tmp_path / "q.tsv", "x\tIs it X?\n\ny_z\tIs it Y?\n")
    rows = (
        '{"text": "a", "labels": {"x": "yes", "b_c": null}}\n{"image": "a.jpg", "labels": {"y_z": "no", "b_c": "no"}}\n'
    )
    text, image = read(written(tmp_path / "d.jsonl", rows), questions=str(asked))
    assert [one.question for one in text.targets] == ["Is it X?", "Is this text b c?"]
    assert [one.question for one in image.targets] == ["Is it Y?", "Does b c apply to this image?"]
    (listed,) = read(written(tmp_path / "e.jsonl", '{"text": "a", "labels": ["x"]}\n'), questions=str(asked))
    assert answers(listed) == {"x": "yes", "y_z": "no"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("x\tIs it X?\nz\tIs it?\n", 'q:2: no label is named "z"; there are x, y'),
        ("x Is it X?\n", "q:1: a line is the name of a label, a tab and its question"),
        ("x\tIs it X?\nx\tIs it not?\n", 'q:2: "x" has two questions'),
        ("x\t\n", "q:1: a line is the name"),
    ],
)
def test_questions_that_cannot_be_used(tmp_path: Path, content: str, what: str) -> None:
    asked = written(tmp_path / "q", content)
    data = written(tmp_path / "d.jsonl", '{"text": "a", "labels": {"x": "yes"}}\n')
    with pytest.raises(BadDataError, match=what):
        read(data, questions=str(asked), label_columns=("x", "y"))
    with pytest.raises(MissingInputError, match="cannot be read"):
        read(data, questions=str(tmp_path / "gone"))


NAMES = st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5, unique=True)


@settings(max_examples=conftest.CASES, deadline=None)
@given(st.data(), NAMES)
def test_every_form_says_the_same(data: st.DataObject, names: list[str]) -> None:
    names = list({name.strip(): None for name in names})
    wanted = {name: data.draw(st.sampled_from(LABELS)) for name in names}
    record = FolderSettings(label_columns=tuple(names))
    forms: list[dict[str, Any]] = [
        {"labels": wanted},
        {"labels": [name for name, answer in wanted.items() if answer == "yes"]},
        {"label": [number for number, answer in enumerate(wanted.values()) if answer == "yes"]},
        {"labels": {name: answer == "yes" for name, answer in wanted.items()}},
    ]
    reader = example_files.Reader(Path("d"), folders=ImageFolders([], settings=record))
    reader.kind = "jsonl"
    for form in forms:
        found = reader.example((1, 0, json.dumps({"text": "a", **form}).encode()))
        assert answers(found) == wanted


def test_lint_looks_at_each_label(tmp_path: Path) -> None:
    rows = "text,x,y\nGood,1,0\nGood,0,0\nBad,,0\nBad,1,\n"
    path = written(tmp_path / "d.csv", rows)
    folders = FolderSettings(label_columns=("x", "y"))
    report = lint([path], lambda one: ImageFolders.of(one, folders))
    assert [(one.check, one.what) for one in report.findings if one.level == "error"] == [
        ("two labels", f'"Good" is "x: no" here and "x: yes" in {path}:2'),
        ("one label", 'every known label of y is "no": there is nothing to tell apart'),
    ]
    assert report.expectations == [f"{path}: x: 67 % yes of 3 known", f"{path}: y: 0 % yes of 3 known"]
    rows = [line.split(maxsplit=1)[1].split() for line in as_text(report, everything=False).splitlines()[1:6]]
    assert sorted(rows) == [
        ["x:", "(unknown)", "1", "0.250"],
        ["x:", "no", "1", "0.250"],
        ["x:", "yes", "2", "0.500"],
        ["y:", "(unknown)", "1", "0.250"],
        ["y:", "no", "3", "0.750"],
    ]

"""Records without an image: read from JSONL and TSV, checked, split, and written as answers."""

import json
from pathlib import Path

import conftest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.checkpoint import trained_images
from palitune.data import dataset_files, example_files
from palitune.data.checks.lint import lint
from palitune.data.checks.seen_in_training import learned_from
from palitune.data.example import Content, Example, Image
from palitune.data.formats import jsonl, tsv
from palitune.data.formats.lines import LONGEST_CONTENT
from palitune.data.image_folders import ImageFolders
from palitune.data.prediction import Prediction
from palitune.data.split.splitter import Amount, SplitOptions, split
from palitune.errors import BadDataError
from palitune.evaluate import answer_files
from palitune.evaluate.unfinished_answers import resume
from palitune.labels import LABELS
from palitune.run.answer_lines import answer_line


def written(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("line", "parts", "label"),
    [
        ('{"text": "Well done!", "label": "yes"}', (Content("Well done!"),), "yes"),
        ('{"text": "Well done!", "suffix": "no"}', (Content("Well done!"),), "no"),
        ('{"text": "良い", "prefix": "Is this kind?", "suffix": "yes"}', (Content("良い"), "Is this kind?"), "yes"),
        ('{"prefix": "What is 1 + 1?", "suffix": "2"}', ("What is 1 + 1?",), "2"),
        ('{"text": "a", "label": -1}', (Content("a"),), "-1"),
        ('{"text": "a", "label": true}', (Content("a"),), "true"),
        ('{"image": "a.jpg", "text": "a", "prefix": "q", "suffix": "no"}', (Image("a.jpg"), Content("a"), "q"), "no"),
        ('{"image": "a.jpg", "text": null, "suffix": "no"}', (Image("a.jpg"),), "no"),
    ],
)
def test_lines_of_json(line: str, parts: tuple[object, ...], label: str) -> None:
    found = jsonl.parse(line, "d:1")
    assert found.messages[0].parts == parts
    assert found.label == label
    assert found.fields == json.loads(line)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "", "label": "yes"}', '"text" is empty'),
        ('{"text": " \\t", "label": "yes"}', '"text" is empty'),
        ('{"text": "a"}', 'no "suffix"'),
        ('{"text": "a", "label": {"a": 1}}', '"label" must be text'),
        ('{"text": 3, "label": "yes"}', '"text" must be text'),
        ('{"prefix": " ", "suffix": "yes"}', '"text" is empty'),
        ('{"text": "a\\u0000", "label": "yes"}', "NUL"),
        (json.dumps({"text": "a" * (LONGEST_CONTENT + 1), "label": "yes"}), "100,000 are allowed"),
    ],
)
def test_lines_of_json_that_are_no_example(line: str, what: str) -> None:
    with pytest.raises(BadDataError, match=what):
        jsonl.parse(line, "d:1")


def test_a_label_may_be_missing_where_answers_are_wanted() -> None:
    assert jsonl.parse('{"text": "a"}', "d:1", labelled=False).label == ""
    assert jsonl.parse('{"text": "a", "label": null}', "d:1", labelled=False).label == ""


def test_the_first_field_is_an_image_where_there_is_such_a_file_or_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("images/plain", "with blanks"):
        (tmp_path / name).write_bytes(b"an image")
    rows = {
        "images/plain": True,
        "with blanks": True,
        "images/gone": True,  # its folder is there: a missing image is not taken for a text
        "gone.jpg": True,
        "a photo.PNG": True,
        "/etc/other": True,
        "../other": True,
        "https://example.org/a": True,
        "https://example.org/a is a nice page": False,
        "good": False,
        "and/or": False,
        "What a day.": False,
        "とても良い商品でした。": False,
        "x" * 5_000: False,
    }
    path = written(tmp_path / "data.tsv", *(f"{text}\tyes" for text in rows))
    found = list(example_files.stream(path))
    assert {one.subject: bool(one.images) for one in found} == rows
    assert all(one.label == "yes" for one in found)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "data.tsv", "What a day.\tyes", "gone.jpg\tno", "nice\tno")
    good, gone, other = dataset_files.load(path)
    assert not good.images
    assert not other.images
    assert gone.image.path == tmp_path / "gone.jpg"
    report = lint([path], ImageFolders.beside)
    assert [(one.check, one.where) for one in report.findings if one.level == "error"] == [
        ("missing picture", f"{path}:2")
    ]


@settings(max_examples=conftest.CASES, deadline=None)
@given(st.text(min_size=1, max_size=60), st.sampled_from(LABELS), st.sampled_from(LABELS))
def test_answers_about_a_text_are_read_again(text: str, label: str, answer: str) -> None:
    example = Example.of(text=text, label=label, where="d:1")
    line = tsv.to_answer(example, answer == label, 0.25, answer)
    assert "\n" not in line
    shown = line.split("\t")[0]
    assert len(line.split("\t")) == 5
    if not text.isspace() and "\0" not in text:
        again, said = tsv.parse_answered(line, "d:1", is_image=lambda name: False)
        assert (again.subject, again.label) == (shown, label)
        assert said is not None
        assert (said.text, said.p_yes) == (answer, 0.25)


def test_answers_as_json_have_every_key() -> None:
    example = jsonl.parse('{"text": "a\\tb", "label": "yes", "id": 7}', "d:1")
    made = json.loads(answer_line(Prediction(example, example.target, "no", 0.3), LABELS, jsonl=True))
    assert made == {"text": "a\tb", "label": "yes", "id": 7, "correct": False, "p_yes": 0.3, "answer": "no"}
    example = tsv.parse("What a day.\tyes", "d:1", is_image=lambda name: False)
    made = json.loads(answer_line(Prediction(example, example.target, "yes", 0.7), LABELS, jsonl=True))
    assert made == {"text": "What a day.", "suffix": "yes", "correct": True, "p_yes": 0.7, "answer": "yes"}


def test_answers_to_texts_go_on_where_they_were_cut_off(tmp_path: Path) -> None:
    asked = [Example.of(text=text, label="yes", where="d:1") for text in ("One\tday", "Another\nday", "A third")]
    lines = [tsv.to_answer(one, True, 0.9, "yes") for one in asked]
    path = tmp_path / "out.tsv"
    path.write_text(f"{lines[0]}\n{lines[1]}\nA th")
    with path.open("r+b") as out:
        assert resume(path, out, lambda: iter(asked), jsonl=False, may_skip=False) == (2, 2)
    assert path.read_text() == f"{lines[0]}\n{lines[1]}\n"
    path.write_text(f"{lines[1]}\n")
    with path.open("r+b") as out, pytest.raises(BadDataError, match="no answer to the records"):
        resume(path, out, lambda: iter(asked), jsonl=False, may_skip=False)


def test_answers_to_the_same_texts_are_paired(tmp_path: Path) -> None:
    rows = ["One day\tTrue\t0.900000\tyes\tyes", "Two days\tFalse\t0.200000\tyes\tno"]
    first = answer_files.read(written(tmp_path / "a.tsv", *rows), quiet=True)
    second = answer_files.read(written(tmp_path / "b.tsv", *reversed(rows)), quiet=True)
    _, other = answer_files.same_records(first, second)
    assert [one.subject for one in other.examples] == ["One day", "Two days"]
    third = answer_files.read(written(tmp_path / "c.tsv", "Three days\tTrue\t0.900000\tyes\tyes"), quiet=True)
    with pytest.raises(BadDataError, match="no text is also in"):
        answer_files.same_records(first, third)


def test_lint_finds_texts_that_are_there_twice(tmp_path: Path) -> None:
    train = written(tmp_path / "train.tsv", "One day\tyes", "Two days\tno", "One day\tyes", "Two days\tyes")
    valid = written(tmp_path / "valid.jsonl", '{"text": "One day", "label": "yes"}', '{"text": "New", "label": "no"}')
    report = lint([train, valid], ImageFolders.beside)
    assert [(one.level, one.check, one.where) for one in report.findings if one.check != "spelling"] == [
        ("error", "two labels", f"{train}:4"),
        ("error", "leak", f"{valid}:1"),
        ("warning", "twice", f"{train}:3"),
    ]
    assert any("evaluation needs other texts" in one.what for one in report.findings)


def test_lint_names_an_empty_text(tmp_path: Path) -> None:
    path = written(tmp_path / "d.jsonl", '{"text": "", "label": "yes"}', '{"text": "b", "label": "no"}')
    report = lint([path], ImageFolders.beside)
    assert next((one.where, one.what) for one in report.findings if one.level == "error") == (
        f"{path}:1",
        '"text" is empty',
    )


def test_equal_texts_stay_in_one_part(tmp_path: Path) -> None:
    rows = [f"text number {number % 20}\t{'yes' if number % 2 else 'no'}" for number in range(100)]
    path = written(tmp_path / "data.tsv", *rows)
    split(path, tmp_path / "set1", SplitOptions(Amount(20, True)), 0)
    parts = {
        part: {one.subject for one in example_files.stream(tmp_path / f"set1/{part}.tsv")}
        for part in ("train", "valid")
    }
    assert not parts["train"] & parts["valid"]
    assert sum(map(len, parts.values())) == 20
    assert sorted((tmp_path / "set1/shuffle.tsv").read_text().splitlines()) == sorted(rows)


def test_texts_that_are_compared_as_equal_stay_in_one_part(tmp_path: Path) -> None:
    rows = [f"caf{e} {blank}{number}\tyes" for number in range(20) for e in ("é", "e\u0301") for blank in ("", " ")]
    split(written(tmp_path / "data.tsv", *rows), tmp_path / "set1", SplitOptions(Amount(20, True)), 0)
    parts = [{one.subject.split()[-1] for one in example_files.stream(tmp_path / f"set1/{part}.tsv")}
             for part in ("train", "valid")]  # fmt: skip
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 20


def test_chats_that_end_with_the_same_question_are_split(tmp_path: Path) -> None:
    def line(number: int) -> str:
        says = ["user", f"I am number {number}.", "assistant", "Hello.", "user", "Who am I?", "assistant", str(number)]
        turns = [{"role": role, "content": text} for role, text in zip(says[::2], says[1::2], strict=True)]
        return json.dumps({"messages": turns})

    path = written(tmp_path / "data.jsonl", *(line(number % 10) for number in range(20)))
    split(path, tmp_path / "set1", SplitOptions(Amount(4)), 0)
    parts = [{one.about for one in example_files.stream(tmp_path / f"set1/{part}.jsonl")}
             for part in ("train", "valid")]  # fmt: skip
    assert not parts[0] & parts[1]
    assert [len(part) for part in parts] == [8, 2]


def test_texts_that_were_learned_from_are_recognised(tmp_path: Path) -> None:
    known = trained_images.with_more(trained_images.NONE, ["One day", tmp_path / "gone"])
    assert trained_images.count(known, ["One day", "Two days", tmp_path / "gone"]) == 1
    assert learned_from(Example.of(text="One day", prompt="Is this nice?")) == "One day"
    assert learned_from(Example.of(tmp_path / "a.jpg", text="One day")) == tmp_path / "a.jpg"


def test_images_and_texts_in_one_file(tmp_path: Path) -> None:
    rows = ['{"image": "a.jpg", "prefix": "", "suffix": "yes"}', '{"text": "One day", "label": "no"}']
    image, text = dataset_files.load(written(tmp_path / "d.jsonl", *rows))
    assert image.image.path == tmp_path / "a.jpg"
    assert text.contents == ("One day",)
    assert image.about == tmp_path / "a.jpg"
    assert text.about == (Content("One day"),)

"""Tables with a header, and records whose columns, keys and labels have other names."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

import conftest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.cli import arguments
from palitune.config.model import FolderSettings
from palitune.config.name_kinds import Pairs
from palitune.data import example_files
from palitune.data.checks import label_counts
from palitune.data.checks.lint import lint
from palitune.data.checks.repair import repair
from palitune.data.example import Content, Example
from palitune.data.formats import table_rows
from palitune.data.image_folders import ImageFolders
from palitune.data.split.splitter import Amount, SplitOptions, split
from palitune.errors import BadDataError


def read(path: Path, labelled: bool = True, **records: Any) -> list[Example]:
    folders = ImageFolders.of(path, FolderSettings(**records))
    return list(example_files.stream(path, labelled, folders))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(found: list[Example]) -> list[tuple[str, str]]:
    return [(one.subject, one.label) for one in found]


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nGood,yes\nBad,no\n",
        "text;label\r\nGood;yes\r\nBad;no\r\n",
        "\ufeffsep=;\r\ntext;label\r\nGood;yes\r\nBad;no",
        "Text\tLabel\nGood\tyes\n\nBad\tno\n",
        "id,text,label,\n1,Good,yes,\n2,Bad,no,\n",
        'text,label\n"Good",yes\ntext,label\n"Bad",no\n',
        "text|label\nGood|yes\nBad|no\n",
        "text\tlabel\nGood\tyes\nBad\tno\n".encode("utf-16"),
        "text\tlabel\nGood\tyes\nBad\tno\n".encode("utf-16-le"),
        "suffix,text\nyes,Good\nno,Bad\n",
    ],
)
def test_tables_are_recognised_by_their_header(tmp_path: Path, content: str | bytes) -> None:
    found = read(written(tmp_path / "data", content))
    assert pairs(found) == [("Good", "yes"), ("Bad", "no")]
    assert [one.messages[0].parts for one in found] == [(Content("Good"),), (Content("Bad"),)]


def test_images_and_questions_in_a_table(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", "image,question,answer,id\na.jpg,Is it red?,yes,7\n")
    (found,) = read(path)
    assert found.image.name == "a.jpg"
    assert (found.prompt, found.label) == ("Is it red?", "yes")
    assert found.fields == {"image": "a.jpg", "prefix": "Is it red?", "suffix": "yes", "id": "7"}


ROW = st.tuples(st.text(min_size=1, max_size=30), st.sampled_from(["yes", "no", "-1", "良い", 'a "b", c']))


@settings(max_examples=conftest.CASES, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), st.sampled_from(table_rows.SEPARATORS), st.sampled_from(["\n", "\r\n"]))
def test_every_row_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], separator: str, end: str
) -> None:
    rows = [(text, label) for text, label in rows if text.strip() and "\0" not in text]
    made = io.StringIO(newline="")
    csv.writer(made, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    content = f"tweet{separator}mood{end}{made.getvalue()}"
    if not rows:
        return
    path = written(tmp_path_factory.getbasetemp() / "rows", content)
    how = FolderSettings(text_column="tweet", label_column="mood")
    reader = example_files.Reader(path, folders=ImageFolders.of(path, how))
    found = list(reader.examples())
    assert pairs([one for _, one in found]) == rows
    raw = path.read_bytes()
    for (_, start, line), _ in found:
        assert raw[start:].startswith(line)
        assert raw[start + len(line) :].startswith(end.encode())


def test_names_of_columns_and_keys(tmp_path: Path) -> None:
    names = {"text_column": "tweet", "label_column": "mood"}
    table = read(written(tmp_path / "d.csv", "id,mood,tweet,text\n1,2,Good,other\n"), **names)
    assert pairs(table) == [("Good", "2")]
    assert table[0].fields == {"id": "1", "text_column": "other", "text": "Good", "suffix": "2"}
    lines = read(written(tmp_path / "d.jsonl", '{"tweet": "Good", "mood": 2, "id": 1}\n'), **names)
    assert pairs(lines) == [("Good", "2")]
    with pytest.raises(BadDataError, match="no column tweet; there are a, b"):
        read(written(tmp_path / "e.csv", "a,b\n1,2\n"), **names)
    with pytest.raises(BadDataError, match=r'no "tweet"; there are text.*--text-column'):
        read(written(tmp_path / "e.jsonl", '{"text": "Good", "mood": 2}\n'), **names)


def test_columns_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "d.tsv", "1\ta.jpg\tGood\t-1\n2\tb.jpg\tBad\t1\n")
    assert pairs(read(path, text_column="3", label_column="4")) == [("Good", "-1"), ("Bad", "1")]
    assert pairs(read(path, image_column="2", label_column="4")) == [("a.jpg", "-1"), ("b.jpg", "1")]
    (both, _) = read(path, image_column="2", text_column="3", label_column="4")
    assert (both.image.name, both.contents) == ("a.jpg", ("Good",))
    with pytest.raises(BadDataError, match="4 columns between tabs, and --text-column is 5"):
        read(path, text_column="5", label_column="4")
    with pytest.raises(BadDataError, match="which one is the label is not said"):
        read(path, text_column="3")
    two = written(tmp_path / "two.tsv", "a.jpg\tyes\n")
    assert read(two, text_column="1")[0].contents == ("a.jpg",)


def test_labels_get_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = (("1", "positive"), ("0", "neutral"), ("-1", "negative"), ("9", "never"))
    path = written(tmp_path / "d.tsv", "Good\t1\nSo so\t0\nBad\t-1\nOdd\tother\n")
    labels = ["positive", "neutral", "negative", "other"]
    for _ in range(2):
        assert [one.label for one in read(path, map=names)] == labels
    assert capsys.readouterr().err == f"{path}: --map: no label is 9\n"
    path = written(tmp_path / "d.jsonl", '{"text": "Good", "label": 1}\n{"image": "a.jpg", "suffix": -1.0}\n')
    found = read(path, map=names[:3])
    assert [one.label for one in found] == ["positive", "negative"]
    assert [one.fields.get("label", one.fields.get("suffix")) for one in found] == ["positive", "negative"]


def test_labels_that_are_renamed_are_found_as_labels_are_compared(tmp_path: Path) -> None:
    path = written(tmp_path / "d.tsv", "a\tyes\nb\tNO\nc\tcafe\u0301\nd\ttwo \u3000 words\ne\tTRUE\n")
    names = (("yes", "no"), ("no", "yes"), ("caf\u00e9", "tea"), ("two words", "two"), ("true", "on"))
    assert [one.label for one in read(path, map=names)] == ["no", "yes", "tea", "two", "on"]


def test_a_table_whose_names_are_not_known_is_no_list_of_texts(tmp_path: Path) -> None:
    for content in ("投稿文,暴力,侮辱\nこんにちは,0,1\n", "post;obscene\nhi;1\n"):
        with pytest.raises(BadDataError, match=r"no column is an image or a text; there are .*--text-column NAME"):
            read(written(tmp_path / "d.csv", content), labelled=False)
    (found,) = read(written(tmp_path / "d.csv", "投稿文,暴力\nこんにちは,0\n"), labelled=False, text_column="投稿文")
    assert found.contents == ("こんにちは",)


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        (["--map", "1=a", "0=b", "-1=c"], (("1", "a"), ("0", "b"), ("-1", "c"))),
        (["--map", "-1=c", "--quiet", "--map", "1=a"], (("-1", "c"), ("1", "a"))),
        (["--map=-1.5=c"], (("-1.5", "c"),)),
        ([], ()),
    ],
)
def test_what_map_takes(typed: list[str], given: tuple[tuple[str, str], ...]) -> None:
    parser = argparse.ArgumentParser()
    arguments.add(parser, FolderSettings)
    parser.add_argument("--quiet", action="store_true")
    found = arguments.folders(arguments.parse(parser, typed)).map
    assert found == given
    if given:
        assert arguments.folders(arguments.parse(parser, Pairs().typed("--map", found))).map == given


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("text,label\n", "looks like a header, and no record is below it"),
        ("text,label\nGood\n", "d:2: 1 columns, the header has 2"),
        ("text,label\nGood,yes,more\n", "d:2: 3 columns, the header has 2"),
        ('text,label\nGood,"yes\nBad,no\n', "d:2: broken CSV"),
        ("text,label\n,yes\n", 'd:2: "text" is empty'),
        ("text,label\nGood,\n", 'd:2: "suffix" is empty'),
        ("text,body,comment\nGood,a,b\n", "no column is the label"),
        ("content,body,label\nGood,a,b\n", "several columns may be the text: content, body.*--text-column content"),
        ("text,text,label\nGood,a,b\n", "two columns have the same name"),
        ("a,b\nGood,yes\n", "--text-column"),
        ("text,label\nGood,yes\n\x83\x65,no\n".encode("latin-1"), "Shift-JIS, palitune convert --encoding cp932"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, content: str | bytes, what: str) -> None:
    with pytest.raises(BadDataError, match=what) as caught:
        read(written(tmp_path / "d", content))
    assert "\n" not in str(caught.value)


def test_a_quotation_mark_that_is_not_closed_takes_no_more_than_a_row(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", 'text,label\n"Good,yes\n' + "Bad,no\n" * 200_000)
    with pytest.raises(BadDataError, match=r"d\.csv:2: the row is longer"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_parts_of_a_table_keep_its_header(tmp_path: Path, encoding: str) -> None:
    rows = [f'"text {number},\nwith ""two"" lines",{"yes" if number % 2 else "no"}' for number in range(30)]
    text = "text,label\r\n" + "\r\n".join(rows) + "\r\n"
    path = written(tmp_path / "data.csv", text.encode(encoding))
    split(path, tmp_path / "set1", SplitOptions(Amount(10)), 0)
    parts = [tmp_path / f"set1/{part}.csv" for part in ("train", "valid", "shuffle")]
    mark = b"\xef\xbb\xbf" if encoding == "utf-8-sig" else b""
    assert all(part.read_bytes().startswith(mark + b"text,label\n") for part in parts)
    train, valid, shuffle = (pairs(read(part)) for part in parts)
    assert sorted(train + valid) == sorted(shuffle) == sorted(pairs(read(path)))
    assert len(valid) == 10
    assert shuffle[0][0].count("\n") == 1


def test_a_table_is_repaired_with_its_header(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", "text,label\nGood,yes\nGood,yes\nBad,no\n")
    report = lint([path], ImageFolders.beside)
    assert [(one.check, one.where) for one in report.findings if one.level != "note"] == [("twice", f"{path}:3")]
    repair(report, {path: tmp_path / "clean.csv"})
    assert (tmp_path / "clean.csv").read_text() == "text,label\nGood,yes\nBad,no\n"


def test_columns_of_a_tsv_with_a_header_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "d.tsv", "text\tobscene\tviolent\nGood\tyes\tno\nBad\tno\tno\n")
    table = label_counts.read(path, None)
    assert table.names == ["obscene", "violent"]
    assert table.head == b"text\tobscene\tviolent\n"
    assert table.values.tolist() == [[1, 0], [0, 0]]


def test_answers_are_named_as_palitune_names_them(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", "tweet,mood\nGood,1\n")
    (found,) = read(path, text_column="tweet", label_column="mood", map=(("1", "positive"),))
    again = written(tmp_path / "d.jsonl", f"{json.dumps(dict(found.fields))}\n")
    assert pairs(read(again)) == [("Good", "positive")]


def test_a_table_through_the_commands(tmp_path: Path, run: conftest.Run) -> None:
    (tmp_path / "dataset").mkdir()
    rows = "".join(f'{number},"day {number}, said ""{number}""",{1 if number % 2 else -1}\n' for number in range(20))
    written(tmp_path / "dataset/data.csv", f"id,tweet,mood\n{rows}")
    names = ("--text-column", "tweet", "--label-column", "mood", "--map", "1=yes", "-1=no")
    done = run("palitune", "split", "-d", "dataset/data.csv", "-v", "5", "-n", "set1", *names, cwd=tmp_path)
    assert "15 for training, 5 for validation" in done.stderr
    found = run("palitune", "lint", "set1", *names, "--json", cwd=tmp_path)
    assert json.loads(found.stdout)["findings"] == []
    refused = run("palitune", "lint", "set1", "--text-column", "text", cwd=tmp_path)
    assert refused.returncode == 65
    assert "no column text; there are id, tweet, mood" in refused.stdout

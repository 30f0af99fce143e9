"""Lines of JSON and of TSV: what is read, what is written, and what is said of lines that cannot be."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import conftest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.data import example_files
from palitune.data.example import Example, Image, Message, Target
from palitune.data.formats import json_lines, jsonl, lines, tsv
from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError, MissingInputError

GOOD = '{"prefix":"","suffix":"no","image":"images/NG_image101.jpg"}'


def written(folder: Path, content: bytes | str, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def answered(path: Path) -> list[tuple[Example, Prediction | None]]:
    return [pair for _, pair in example_files.Reader(path).answered()]


def test_a_record(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "\n")
    name = "images/NG_image101.jpg"
    fields = {"prefix": "", "suffix": "no", "image": name}
    assert example_files.read(path) == [
        Example((Message("user", (Image(name, tmp_path / name),)),), (Target("", None, "no"),), f"{path}:1", fields)
    ]


def test_bom_crlf_blank_lines_and_a_missing_last_newline(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n  \n" + GOOD.encode())
    assert [record.where for record in example_files.read(path)] == [f"{path}:1", f"{path}:4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.jpg", "suffix": "no"', "broken JSON"),
        ("[1, 2]", "must be a JSON object"),
        ('{"suffix": "no"}', 'has no "image"'),
        ('{"image": "a.jpg"}', 'has no "suffix"'),
        ('{"image": 3, "suffix": "no"}', '"image" must be text, not 3'),
        ('{"image": "a.jpg", "suffix": null}', '"suffix" must be text'),
        ('{"image": "a.jpg", "suffix": "no", "prefix": []}', '"prefix" must be text'),
        ('{"image": " ", "suffix": "no"}', '"image" is empty'),
        ('{"image": "a.jpg", "suffix": ""}', '"suffix" is empty'),
        ('{"image": "a\\u0000.jpg", "suffix": "no"}', "NUL"),
        ('{"image": "a.jpg", "suffix": "\\ud800"}', "surrogate"),
        ('{"image": "a.jpg", "suffix": "no", "n": ' + "9" * 5000 + "}", "4300 digits"),
        ('{"image": "a.jpg", "suffix": "no", "prefix": "' + "a" * 2001 + '"}', "2,001 characters, 2,000 are allowed"),
        ("[" * 100_000, "nested too deeply|broken JSON"),
        ('{"image": "a.jpg", "suffix": "no", "image": "b.jpg"}', 'the key "image" is there twice'),
        ('{"image": "a.jpg", "suffix": "no", "more": {"a": 1, "a": 2}}', 'the key "a" is there twice'),
        ('{"image": "a.jpg", "suffix": "no", "weight": NaN}', "NaN is not a value"),
        ('{"image": "a.jpg", "suffix": "no", "weight": -Infinity}', "-Infinity is not a value"),
        ('{"image": "a.jpg", "suffix": "no"} {}', "something follows its end, at column 35"),
        ('{"image": "a.jpg", "suffix": "n\0o"}', "NUL"),
        ('{"image": "a.jpg", "suffix": "no", "n": "' + "a" * (1 << 20) + '"}', "longer than 1,048,576 bytes"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, f"{GOOD}\n{line}\n")
    with pytest.raises(BadDataError, match=message) as caught:
        example_files.read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        example_files.read(tmp_path / "data.jsonl")
    with pytest.raises(MissingInputError, match="cannot be read"):
        example_files.read(tmp_path)
    for content in (b"", b"\n \n", b"\xef\xbb\xbf"):
        with pytest.raises(BadDataError, match="is empty"):
            example_files.read(written(tmp_path, content))
    with pytest.raises(BadDataError, match=r"data\.jsonl:2: not UTF-8"):
        example_files.read(written(tmp_path, GOOD.encode() + b"\n\xff\n"))


def test_images_are_found_beside_the_file_or_one_folder_up(tmp_path: Path) -> None:
    (tmp_path / "set1").mkdir()
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / "NG_image101.jpg"
    image.touch()
    path = written(tmp_path / "set1", GOOD)
    assert example_files.read(path)[0].image.path.samefile(image)
    (tmp_path / "set1" / "images").mkdir()
    nearer = tmp_path / "set1" / "images" / "NG_image101.jpg"
    nearer.touch()
    assert example_files.read(path)[0].image.path.samefile(nearer)
    assert example_files.read(path, ImageFolders([tmp_path]))[0].image.path == image
    elsewhere = ImageFolders([tmp_path / "elsewhere"])
    assert example_files.read(path, elsewhere)[0].image.path == tmp_path / "elsewhere/images/NG_image101.jpg"


def test_pictures_stay_in_their_folder(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.png").touch()
    (inside / "in.png").touch()
    (inside / "out.png").symlink_to(tmp_path / "out.png")
    (inside / "other.png").symlink_to(inside / "in.png")
    folders, anywhere = ImageFolders([inside]), ImageFolders([inside], allow_outside=True)
    assert folders.locate("in.png", "d:1") == inside / "in.png"
    assert folders.locate("other.png", "d:1") == inside / "other.png"
    for name, message in (
        ("out.png", "link out of its folder"),
        ("../out.png", "climbs out"),
        ("a/../../out.png", "climbs out"),
        ("..\\out.png", "climbs out"),
        (str(tmp_path / "out.png"), "absolute"),
        ("C:\\out.png", "absolute"),
        ("\\\\server\\out.png", "absolute"),
    ):
        with pytest.raises(BadDataError, match=f"d:1: .*{message}.*--allow-outside"):
            raise_with_text(folders, name)
    assert anywhere.locate("../out.png", "d:1").samefile(tmp_path / "out.png")
    assert anywhere.locate(str(tmp_path / "out.png"), "d:1") == tmp_path / "out.png"


def raise_with_text(folders: ImageFolders, name: str) -> None:
    """pytest matches an exception's `str`, which has place and hint."""
    folders.locate(name, "d:1")


def test_names_written_on_windows(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    assert ImageFolders([tmp_path]).locate("images\\a.png", "d:1") == tmp_path / "images" / "a.png"


def test_names_that_no_system_allows(tmp_path: Path) -> None:
    assert ImageFolders([tmp_path]).locate("a" * 1500, "d:1") == tmp_path / ("a" * 1500)


TSV = b"images/a.jpg\tyes\nimages/b.jpg\tno\n"
ANSWERS = b"a.jpg\tTrue\t0.900000\tyes\tyes\nb.jpg\tFalse\t0.700000\tno\tyes\n"


def test_tsv_is_known_by_its_content(tmp_path: Path) -> None:
    found = answered(written(tmp_path, TSV))
    assert [(one.image.name, one.label, said and said.text) for one, said in found] == [
        ("images/a.jpg", "yes", None),
        ("images/b.jpg", "no", None),
    ]
    found = answered(written(tmp_path, b"\xef\xbb\xbf\r\n" + ANSWERS.replace(b"\n", b"\r\n")[:-2]))
    assert [(one.image.name, one.label, said and said.text, said and said.p_yes) for one, said in found] == [
        ("a.jpg", "yes", "yes", 0.9),
        ("b.jpg", "no", "yes", 0.7),
    ]
    assert [one.where.rpartition(":")[2] for one, _ in found] == ["2", "3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg", "1 column between tabs. A line is image, tab, label"),
        ("a.jpg,yes", "1 column between tabs. palitune convert"),
        ("a.jpg\t", "the label is empty"),
        ("\tyes", "the image's name is empty"),
        ("a\tb\tc", "3 columns"),
        ("0\ta.jpg\tyes", "as pandas writes without index=False"),
        ("a\tb\tc\td\te\tf", "6 columns"),
        ("a\tyes\t0.5\tyes\tyes", "the second is True or False"),
        ("a\tTrue\t1.5\tyes\tyes", "a number from 0 to 1"),
        ("a\tTrue\tnan\tyes\tyes", "a number from 0 to 1"),
        ("image\tlabel", "looks like a header"),
        ("a\0.jpg\tyes", "NUL"),
        ("a.jpg\t" + "a" * 2001, "the label has 2,001 characters"),
        (GOOD, "1 column"),
    ],
)
def test_bad_lines_of_tsv_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, TSV + line.encode() + b"\n")
    with pytest.raises(BadDataError, match=message) as caught:
        list(example_files.stream(path))
    assert str(caught.value).startswith(f"{path}:3: ")


def test_utf16_is_named(tmp_path: Path) -> None:
    for content in (GOOD.encode("utf-16"), b"\xfe\xff" + GOOD.encode("utf-16-be")):
        path = written(tmp_path, content)
        with pytest.raises(BadDataError, match="UTF-16"):
            list(example_files.stream(path))


def test_a_long_line_takes_no_memory_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.encode() + b"\n" + b"x" * (5 << 20) + b"\n" + GOOD.encode())
    reader = example_files.Reader(path)
    lines = list(reader)
    assert [number for number, _, _ in lines] == [1, 2, 3]
    assert max(len(raw) for _, _, raw in lines) < 2 << 20
    assert path.read_bytes()[lines[2][1] :] == GOOD.encode()
    with pytest.raises(BadDataError, match=":2: the line is longer than"):
        reader.example(lines[1])
    assert reader.example(lines[2]).image.name == "images/NG_image101.jpg"


def test_records_without_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg\nb.jpg\tyes\n")
    assert [one.label for one in example_files.stream(path, labelled=False)] == ["", "yes"]
    path = written(tmp_path, '{"image":"a.jpg"}\n')
    assert [one.label for one in example_files.stream(path, labelled=False)] == [""]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with written(tmp_path, TSV + b"x").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(BadDataError, match=r"^stdin:3: "):
            list(example_files.stream(lines.STDIN))


def test_messages_are_one_line_whatever_a_name_holds() -> None:
    error = BadDataError("not an image: a\nb\x1b[31m\udcff", where="d:1")
    assert str(error) == r"d:1: not an image: a\nb\x1b[31m\udcff"


@pytest.mark.parametrize("read", [example_files.read, lines.require_file])
def test_what_is_in_the_playground_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    (tmp_path / "playground").mkdir()
    written(tmp_path / "playground", GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match=r"data.jsonl: no such file. It is in playground/.*: cd playground$"):
        read(Path("data.jsonl"))
    with pytest.raises(MissingInputError, match=r"no such file$"):
        read(Path("x" * 250))


@pytest.mark.parametrize("read", [example_files.read, lines.require_file])
def test_a_folder_is_named_with_what_is_in_it(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(MissingInputError, match=r"it is a folder. Name a file; palitune convert FOLDER"):
        read(tmp_path)
    for number in range(6):
        written(tmp_path, GOOD, f"{number}.jsonl")
    written(tmp_path, "", "a.png")
    expected = "Name a file in it. There are: 0.jsonl, 1.jsonl, 2.jsonl, 3.jsonl, 4.jsonl, and 1 more"
    with pytest.raises(MissingInputError, match=re.escape(f"{tmp_path}: cannot be read: it is a folder. {expected}")):
        read(tmp_path)


def test_labels() -> None:
    yes = jsonl.parse('{"image": "a.jpg", "suffix": " Yes "}', "d:1")
    other = jsonl.parse('{"image": "a.jpg", "suffix": "Perhaps"}', "d:2")
    assert (yes.label, other.label) == ("yes", "Perhaps")
    example_files.require_labels([yes])
    hint = "--labels OK,NG .* --map OK=yes NG=no"
    with pytest.raises(BadDataError, match=f'd:2: suffix "Perhaps" is neither yes nor no.*{hint}'):
        example_files.require_labels([yes, other])


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
text = st.text(characters, min_size=1).filter(str.strip)
cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\r\n"), min_size=1).filter(str.strip)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(characters), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=conftest.CASES, deadline=None)
@given(
    st.fixed_dictionaries({"image": text, "suffix": text, "prefix": st.text(characters)}),
    st.dictionaries(st.text(characters), anything, max_size=3),
    st.booleans(),
)
def test_whatever_json_can_say_is_read_and_written(
    fields: dict[str, str], more: dict[str, object], ascii_: bool
) -> None:
    everything = more | fields
    record = jsonl.parse(json.dumps(everything, ensure_ascii=ascii_), "d:1")
    assert (record.image.name, record.prompt) == (fields["image"], fields["prefix"])
    assert record.label in (fields["suffix"], fields["suffix"].strip().lower())
    assert record.fields == everything
    assert jsonl.parse(json_lines.to_json(record.fields), "d:1") == record


@settings(max_examples=conftest.CASES, deadline=None)
@given(cell.filter(lambda name: name.lower() not in tsv.HEADS), cell, st.booleans(), st.floats(0, 1), st.text())
def test_what_inference_writes_is_read(name: str, label: str, correct: bool, p_yes: float, answer: str) -> None:
    record = Example.of(name, label=label, where="d:1")
    line = tsv.to_answer(record, correct, p_yes, answer)
    assert "\n" not in line
    again, said = tsv.parse_answered(line, "d:1")
    assert said is not None
    printable = re.sub("[\t\r\n]+", " ", answer).strip(" ") if set("\t\r\n") & set(answer) else answer
    assert (again.image.name, said.text) == (name, printable)
    assert again.label in (label, label.strip().lower())
    assert said.p_yes == pytest.approx(p_yes, abs=5e-7)
    assert line.split("\t")[1] == str(correct)
    plain = tsv.parse(tsv.to_tsv(record), "d:1")
    assert (plain.image.name, plain.label) == (again.image.name, again.label)


@settings(max_examples=conftest.CASES, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_a_line_holds_it_is_a_record_or_is_named(line: bytes) -> None:
    for kind in lines.KINDS:
        reader = example_files.Reader(Path("d"))
        reader.kind = kind
        try:
            told = None
            found = reader.example((7, 0, line))
        except BadDataError as error:
            told = str(error)
        if told is None:
            assert found.subject
            assert found.label
        else:
            assert told.startswith("d:7: ")
            assert told.isprintable()


def test_what_tsv_cannot_hold() -> None:
    for name, label in (("a\tb", "yes"), ("a", "y\nes")):
        with pytest.raises(BadDataError, match="tab or a line break"):
            tsv.to_tsv(Example.of(name, label=label, where="d:1"))


MARK = "\ufeff"


def test_marks_in_the_middle_of_joined_files(tmp_path: Path) -> None:
    for line in (GOOD, "a.jpg\tyes", "a.jpg\tTrue\t0.9\tyes\tyes"):
        path = written(tmp_path, f"{MARK}{line}\n{line}\n{MARK}{MARK}{line}\n")
        reader = example_files.Reader(path)
        found = list(reader.examples())
        assert len({record.image.name for _, record in found}) == 1
        assert all(path.read_bytes()[start:].startswith(raw) for (_, start, raw), _ in found)
    for line in (f"{GOOD}{MARK}{GOOD}", f"a.jpg\tyes{MARK}b.jpg\tno"):
        with pytest.raises(BadDataError) as caught:
            example_files.read(written(tmp_path, f"{line}\n"))
        assert "byte-order mark" in str(caught.value)
        assert "put together" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "a.jpg\tTRUE\t0.93\tyes\tyes",
        "a.jpg\tfalse\t0,93\tyes\tyes\r",
        "a.jpg\tTrue\t9.3E-01\tyes\tyes\t\t\t",
        "a.jpg\tWAHR\t0,93\tyes\tyes",
        "a.jpg\t\t0.93\tyes\tyes\t",
    ],
)
def test_answers_that_a_spreadsheet_saved(tmp_path: Path, line: str) -> None:
    ((found, said),) = answered(written(tmp_path, f"{line}\n"))
    assert said is not None
    assert (found.image.name, said.p_yes, found.label, said.text) == ("a.jpg", 0.93, "yes", "yes")


def test_tabs_behind_the_last_column(tmp_path: Path) -> None:
    found = answered(written(tmp_path, "a.jpg\tyes\t\t\t\nb.jpg\tno\t\nc.jpg\tTrue\t0.5\tyes\t\n"))
    assert [(one.image.name, one.label, said and said.text) for one, said in found] == [
        ("a.jpg", "yes", None),
        ("b.jpg", "no", None),
        ("c.jpg", "yes", ""),
    ]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ('{"image": "a.jpg", "suffix": true}', "--map true=yes false=no"),
        ('{"image": "a.jpg", "suffix": 1}', "--map 1=yes 0=no"),
        ('{"image": "a.jpg", "suffix": 0.0}', "--map 1.0=yes 0.0=no"),
        ('{"file": "a.jpg", "class": "yes"}', 'Its keys are "file", "class". palitune convert'),
        ('{"\ufeffimage": "a.jpg"}', "U+FEFF"),
        ('{"image": "images\\index.jpg", "suffix": "no"}', "JSON reads a backslash"),
        ('{"image": "data:image/png;base64,' + "A" * 3000 + '", "suffix": "no"}', "Write the image into a file"),
        ('{"image": "a.jpg", "suffix": "no"},', "without a comma"),
        (GOOD + GOOD, "no line break at its end"),
        ("{'image': 'a.jpg'}", "Python's quotes"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested too deeply"),
    ],
)
def test_lines_say_what_to_do(tmp_path: Path, line: str, advice: str) -> None:
    with pytest.raises(BadDataError) as caught:
        example_files.read(written(tmp_path, f"{GOOD}\n{line}\n"))
    assert advice in str(caught.value)


def test_answers_with_commas_between(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="Save it with tabs between the columns"):
        list(example_files.stream(written(tmp_path, "a.jpg;TRUE;0,93;yes;yes\n"), labelled=True))


def test_a_key_that_is_there_twice_among_many_is_found_in_no_time() -> None:
    keys = ",".join(f'"{number:x}":1' for number in range(60_000))
    with pytest.raises(BadDataError, match='the key "ea5f" is there twice'):
        json_lines.parse_object(f'{{{keys},"ea5f":2}}', "d:1")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("images\new.jpg", r"JSON reads \\n as a line break"),
        ("images\test.jpg", r"JSON reads \\t as a tab"),
        ("images/\u200ba.jpg", r"U\+200B ZERO WIDTH SPACE"),
        ("a.jpg ", "blanks at an end"),
    ],
)
def test_a_name_that_no_file_has(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(MissingInputError) as caught:
        decoder.decode(tmp_path / name, "d:1")
    assert re.search(why, str(caught.value))


def test_images_on_a_server(tmp_path: Path) -> None:
    folders = ImageFolders([tmp_path], allow_outside=True)
    for name in ("https://example.com/a.jpg", "s3://bucket/a.jpg", "gs://b/a.png", "FILE:///home/a.jpg"):
        with pytest.raises(BadDataError, match="is a URL and no file") as caught:
            folders.locate(name, "d:1")
        assert "Download" in str(caught.value)
    folders.locate("c:a.jpg", "d:1")
    folders.locate("data/a.jpg", "d:1")

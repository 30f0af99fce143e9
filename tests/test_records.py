"""Lines of JSON: what is read, and what is said of lines that cannot be."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palitune.data import records
from palitune.errors import BadDataError, MissingInputError

GOOD = '{"prefix":"","suffix":"no","image":"images/NG_image101.jpg"}'


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "data.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_record(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "\n")
    assert records.read(path) == [records.Record(tmp_path / "images/NG_image101.jpg", "", "no", f"{path}:1")]


def test_bom_crlf_blank_lines_and_a_missing_last_newline(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n  \n" + GOOD.encode())
    assert [record.where for record in records.read(path)] == [f"{path}:1", f"{path}:4"]


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
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, f"{GOOD}\n{line}\n")
    with pytest.raises(BadDataError, match=message) as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        records.read(tmp_path / "data.jsonl")
    with pytest.raises(MissingInputError, match="cannot be read"):
        records.read(tmp_path)
    for content in (b"", b"\n \n", b"\xef\xbb\xbf"):
        with pytest.raises(BadDataError, match="is empty"):
            records.read(written(tmp_path, content))
    with pytest.raises(BadDataError, match=r"data\.jsonl:2: not UTF-8"):
        records.read(written(tmp_path, GOOD.encode() + b"\n\xff\n"))


def test_images_are_found_beside_the_file_or_one_folder_up(tmp_path: Path) -> None:
    (tmp_path / "set1").mkdir()
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / "NG_image101.jpg"
    image.touch()
    path = written(tmp_path / "set1", GOOD)
    assert records.read(path)[0].image.samefile(image)
    (tmp_path / "set1" / "images").mkdir()
    nearer = tmp_path / "set1" / "images" / "NG_image101.jpg"
    nearer.touch()
    assert records.read(path)[0].image.samefile(nearer)
    assert records.read(path, tmp_path)[0].image == image
    assert records.read(path, tmp_path / "elsewhere")[0].image == tmp_path / "elsewhere/images/NG_image101.jpg"


def test_names_that_no_system_allows(tmp_path: Path) -> None:
    record = records.parse(json.dumps({"image": "a" * 1500, "suffix": "no"}), "d:1", [tmp_path])
    assert record.image == tmp_path / ("a" * 1500)


def test_messages_are_one_line_whatever_a_name_holds() -> None:
    error = BadDataError("not an image: a\nb\x1b[31m\udcff", where="d:1")
    assert str(error) == r"d:1: not an image: a\nb\x1b[31m\udcff"


def test_labels() -> None:
    yes = records.parse('{"image": "a.jpg", "suffix": " Yes "}', "d:1", [Path()])
    other = records.parse('{"image": "a.jpg", "suffix": "Perhaps"}', "d:2", [Path()])
    assert (yes.suffix, other.suffix) == ("yes", "Perhaps")
    records.require_labels([yes])
    with pytest.raises(BadDataError, match='d:2: suffix "Perhaps" is neither yes nor no'):
        records.require_labels([yes, other])


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@given(
    st.fixed_dictionaries({"image": text, "suffix": text, "prefix": st.text(st.characters(exclude_categories=["Cs"]))})
)
def test_whatever_json_can_say_is_read(fields: dict[str, str]) -> None:
    record = records.parse(json.dumps(fields), "d:1", [Path("folder")])
    assert record.prefix == fields["prefix"]
    assert record.suffix in (fields["suffix"], fields["suffix"].strip().lower())

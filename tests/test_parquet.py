"""Parquet tables in and out, and files at addresses; fsspec's own memory stands for a service."""

import io
import json
import sys
from pathlib import Path

import pytest
from conftest import Run

from palitune.config.predictor_config import PredictorConfig
from palitune.data import dataset_files
from palitune.data.formats import parquet
from palitune.errors import BadDataError, ConfigurationError, MissingInputError, NetworkError, OutputExistsError
from palitune.run import whole_file
from palitune.run.inference import answer
from palitune.run.wanted_answers import Wanted
from palitune.storage import remote

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'palitune[ray]'")
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'palitune[ray]'")
import pyarrow as pa  # noqa: E402

ROWS = [
    {"text": 'One "day",\nand more', "label": "yes", "n": 1, "at": None},
    {"text": "Two, days", "label": "no", "n": None, "at": 0.5},
    {"text": "日本語の文", "label": "yes", "n": 3, "at": 1.5},
]


def table(path: Path, rows: list[dict[str, object]] = ROWS, **more: list[object]) -> Path:
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    pq.write_table(pa.table({**columns, **more}), path, row_group_size=2)
    return path


def test_a_table_is_read_as_one_in_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "in.parquet", raw=[b"a", b"b", b"c"], nested=[{"path": "x", "bytes": b"y"}] * 3)
    found = dataset_files.read(path)
    assert [(one.contents[0], one.label) for one in found] == [(row["text"], row["label"]) for row in ROWS]
    assert "the columns with bytes are left out, because images are files: raw, nested" in capsys.readouterr().err
    other = table(tmp_path / "other.parquet", [{"said": "a", "good": True}, {"said": "b", "good": False}])
    with pytest.raises(BadDataError, match="no column is an image or a text"):
        dataset_files.read(other)


def test_a_table_of_texts_alone(tmp_path: Path) -> None:
    found = dataset_files.read(table(tmp_path / "in.parquet", [{"text": "one"}, {"text": "two"}]))
    assert [one.contents for one in found] == [("one",), ("two",)]


def test_a_damaged_table(tmp_path: Path) -> None:
    path = table(tmp_path / "in.parquet")
    content = path.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], content[:40] + bytes(40) + content[80:]):
        path.write_bytes(damaged)
        with pytest.raises(BadDataError, match="this is a Parquet table, and"):
            dataset_files.read(path)


def test_lines_become_a_table(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "correct": True, "p_yes": 1, "n": 1, "mixed": 1, "labels": {"x": "yes"}},
        {"text": "b", "correct": False, "p_yes": 0.5, "n": 2, "mixed": "one", "more": None},
    ]
    lines = tmp_path / "lines"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write(lines, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in found.schema] == [
        "string", "bool", "double", "int64", "string", "string", "string"
    ]  # fmt: skip
    assert found.to_pylist() == [
        {"text": "a", "correct": True, "p_yes": 1, "n": 1, "mixed": "1", "labels": '{"x": "yes"}', "more": None},
        {"text": "b", "correct": False, "p_yes": 0.5, "n": 2, "mixed": "one", "labels": None, "more": None},
    ]


def test_addresses(tmp_path: Path) -> None:
    assert remote.is_address("s3://bucket/a")
    assert remote.is_address("simplecache::gs://bucket/a")
    assert not any(map(remote.is_address, ("a.jsonl", "/a/b", "C:\\a", "-", "a:b", "./s3://")))
    with fsspec.open("memory://in/a", "w") as file:
        file.write("one")
    assert not remote.is_absent("memory://in/a")
    remote.fetch("memory://in/a", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "one"
    with pytest.raises(MissingInputError, match="memory://in/b: there is nothing at this address"):
        remote.fetch("memory://in/b", tmp_path / "b")
    with pytest.raises(ConfigurationError, match="nope://a: this kind of address is unknown"):
        remote.fetch("nope://a", tmp_path / "b")
    with pytest.raises(NetworkError, match="cannot be used"):
        remote.fetch("ftp://127.0.0.1:1/a", tmp_path / "b")


def test_an_output_is_whole_or_not_there(tmp_path: Path) -> None:
    for output in ("memory://out/whole.tsv", str(tmp_path / "whole.tsv")):
        with pytest.raises(IsADirectoryError), whole_file.made(output) as path:
            path.parent.write_text("half")
        with whole_file.made(output) as path:
            path.write_text("one\n")
        with pytest.raises(OutputExistsError, match="there is something already"), whole_file.made(output):
            pass
        with fsspec.open(output) as file:
            assert file.read() == b"one\n"


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "in.parquet")
    for name in ("pyarrow", "pyarrow.parquet", "fsspec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pyarrow, which is not installed. .*pip install 'palitune\[ray\]'"):
        dataset_files.read(path)
    with pytest.raises(ConfigurationError, match=r"fsspec, which is not installed. .*pip install 'palitune\[ray\]'"):
        remote.fetch("memory://in/a", tmp_path / "a")


def test_answers_from_and_to_addresses(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("palitune", "download", "--model", "tinytext", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with fsspec.open("memory://in/data.parquet", "wb") as file:
        file.write(table(tmp_path / "in.parquet").read_bytes())
    config = PredictorConfig(model="tinytext", prompt="ok?")
    answer(config, Wanted("in.parquet", output="out.tsv", quiet=True))
    answer(config, Wanted("memory://in/data.parquet", output="memory://in/out.tsv", quiet=True))
    answer(config, Wanted("memory://in/data.parquet", output="memory://in/out.parquet", quiet=True))
    with fsspec.open("memory://in/out.tsv") as file:
        assert file.read() == (tmp_path / "out.tsv").read_bytes()
    with fsspec.open("memory://in/out.parquet", "rb") as file:
        found = pq.read_table(io.BytesIO(file.read())).to_pylist()
    lines = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert [f"{row['p_yes']:.6f}" for row in found] == [line[2] for line in lines]
    assert [row["answer"] for row in found] == [line[4] for line in lines]
    done = run("palitune", "inference", "-m", "tinytext", "-d", "in.parquet", "--output", "out.tsv", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (73, 1)

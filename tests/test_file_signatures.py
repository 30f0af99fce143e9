"""Files that are given for others are named for what they are, and text that may be records is let through."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palitune.data import example_files, file_signatures
from palitune.errors import BadDataError

LINES = b'{"image":"a.jpg","suffix":"yes"}\n' * 100


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x")  # without the time of day
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.jsonl"))
    return made.getvalue()


def saved(kind: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(made, kind)
    return made.getvalue()


def array() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as made:
        made.execute("create table t (a)")
    return path.read_bytes()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!-- saved -->\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"
FILES = [
    (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), "an Excel workbook"),
    (zipped("docProps/app.xml", "xl/theme/theme1.xml"), "an Excel workbook"),
    (zipped("mimetype", "word/document.xml"), "a Word document"),
    (zipped("data.jsonl"), "a zip archive"),
    (zipped("params/a.npy"), "a model's weights or arrays"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an old Office file"),
    (gzip.compress(LINES, mtime=0), "packed with gzip"),
    (bz2.compress(LINES), "packed with bzip2"),
    (lzma.compress(LINES), "packed with xz"),
    (tarred(), "a tar archive"),
    (POINTER, "a Git LFS pointer"),
    (b"/annex/objects/MD5E-s3--0cc1.jpg\n", "a git-annex pointer"),
    (PAGE, "an HTML page"),
    (b"\xef\xbb\xbf<HTML lang=ja>", "an HTML page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    (b'<?xml version="1.0"?>\n<svg width="1">', "an SVG drawing"),
    (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    (b"{\\rtf1\\ansi ", "an RTF document"),
    (array(), "a NumPy array"),
    (pickle.dumps([1, 2]), "a Python pickle"),
    (b"PAR1\x15\x04\x15\x10", "a Parquet table"),
    (saved("JPEG"), "a JPEG image"),
    (saved("PNG"), "a PNG image"),
    (saved("GIF"), "a GIF image"),
    (saved("WEBP"), "a WebP image"),
    (saved("BMP"), "a BMP image"),
    (saved("TIFF"), "a TIFF image"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
    (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "an AVIF image"),
    (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", "a video"),
    (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS's notes on a file"),
    (LINES.decode().encode("utf-16"), "UTF-16 text"),
    (LINES.decode().encode("utf-16-le"), "UTF-16 text"),
    (LINES.decode().encode("utf-32"), "UTF-32 text"),
    ((88).to_bytes(8, "little") + b'{"__metadata__":{}}', "a model's weights (safetensors)"),
]


@pytest.mark.parametrize(("content", "what"), FILES, ids=[what for _, what in FILES])
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    named = file_signatures.recognised(content[: file_signatures.HEAD])
    assert named is not None
    assert named.what.startswith(what)
    assert named.hint
    assert file_signatures.recognised_instead_of_image(content[: file_signatures.HEAD]) == named
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadDataError) as caught:
        list(example_files.stream(path))
    assert f"this is {what}" in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_database_is_named(tmp_path: Path) -> None:
    head = database(tmp_path / "labels.db")[: file_signatures.HEAD]
    assert file_signatures.recognised(head) == file_signatures.FileKind("an SQLite database", file_signatures.TO_CSV)


@pytest.mark.parametrize(
    "text",
    [
        "BMW_1.jpg\tyes\n",
        "GIF89_a.gif\tno\n",
        "MZ-12.png\tyes\n",
        "PAR1.jpg\tyes\n",
        "RIFF.jpg\tyes\n",
        "広告/壱.jpg\tyes\n",
        '\ufeff{"image":"<html>.jpg","suffix":"yes"}\n',
        "",
    ],
)
def test_text_is_let_through(text: str) -> None:
    assert file_signatures.recognised(text.encode()) is None


@given(st.binary(max_size=600))
def test_any_bytes_are_named_or_let_through(head: bytes) -> None:
    named = file_signatures.recognised(head)
    assert named is None or (named.what and named.hint)

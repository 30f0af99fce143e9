"""What other programs leave in tables, JSON and folders: read for what it is, or named with what to do."""

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from PIL import Image

from palitune.config.name_kinds import pair
from palitune.data.formats import detection, label_folders, reading
from palitune.data.formats.conversion_losses import Losses
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.options import Fields, Options
from palitune.errors import BadDataError, PalituneError, UsageError

YES_NO = [("a.jpg", "yes"), ("b.jpg", "no")]


def converted(path: Path, names: Renaming | None = None, **options: object) -> list[Fields]:
    """Sound records of a file or folder, whatever it is."""
    given = Options(**options)  # type: ignore[arg-type]
    source = label_folders.source_of(path) if path.is_dir() else path
    found = reading.read(source, detection.detect(source, given), given)
    return [fields for _, fields in reading.settled(found, names or Renaming(), str(source), given)]


def pairs(fields: list[Fields]) -> list[tuple[str, str]]:
    return [(one["image"], one["suffix"]) for one in fields]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("sep=;\r\nimage;label\r\na.jpg;yes\r\nb.jpg;no\r\n", {}),
        ('"sep=|"\nimage|label\na.jpg|yes\nb.jpg|no\n', {}),
        ("image,label,,\na.jpg,yes,,\nb.jpg,no,,\n,,,\n", {}),
        ("image,label\na.jpg,yes,\nb.jpg,no,,\n\n", {}),
        (",image,label\n0,a.jpg,yes\n1,b.jpg,no\n", {}),
        ("image , label\n a.jpg , yes \n\tb.jpg,no\n", {}),
        ('"image", "label"\n"a.jpg", "yes"\n"b.jpg", "no"\n', {}),
        ("\ufeffimage,label\na.jpg,yes\n\ufeffimage,label\nb.jpg,no\n", {}),
        ("image,label\ra.jpg,yes\rb.jpg,no\r", {}),
        ("filename, yes, no\na.jpg, yes, 0\nb.jpg, no, 1\n", {"label": "yes"}),
        ("image\tlabel\tnote\na.jpg\tyes\t\nb.jpg\tno\t,;\n", {}),
        ("Image,LABEL\na.jpg,YES\nb.jpg,No\n", {}),
        ('[{"image":"a.jpg","suffix":"yes"},{"image":"b.jpg","suffix":"no"}]', {}),
        ('[{"img":"a.jpg","label":"yes"},\n{"img":"b.jpg","label":"no"}]', {}),
        ('{"file_name":"a.jpg","text":"yes"}\n{"file_name":"b.jpg","text":"no"}\n', {}),
        ('{"photo":"a.jpg","ok":"yes"}\n{"photo":"b.jpg","ok":"no"}\n', {"image": "photo", "label": "ok"}),
        ('\ufeff{"image":"a.jpg","suffix":"yes"}\r\n\ufeff{"image":"b.jpg","suffix":"no"}\r\n', {}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_tables_and_lines_of_other_programs(
    tmp_path: Path, content: str, options: dict[str, str], encoding: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes((content if encoding == "utf-8" else content.replace("\ufeff", "")).encode(encoding))
    assert pairs(converted(path, **options)) == YES_NO


def test_values_of_a_label(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(
        "\n".join(f'{{"image":"a","label":{value}}}' for value in ("1", "1.0", "true", '"TRUE"', "[1]", '"-1"'))
    )
    assert [label for _, label in pairs(converted(path))] == ["1", "1.0", "true", "TRUE", "1", "-1"]
    names = Renaming([pair("1=yes"), pair("true=yes"), pair("-1=no"), pair("a=b")])
    assert [label for _, label in pairs(converted(path, names))] == ["yes"] * 5 + ["no"]
    assert names.unused == {"a"}
    assert pair(r"a\=b=c\=d") == ("a=b", "c=d")
    assert pair("a=b=c") == ("a=b", "c")
    with pytest.raises(ValueError, match="'A' is to become 'x' and 'y'"):
        Renaming([("A", "x"), ("A", "y")])
    for text in ("OLD", "=x", "x=", r"a\=b"):
        with pytest.raises(ValueError, match="is not OLD=NEW"):
            pair(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg,yes\nb.jpg,no\n", "the first line has no names but a record: a.jpg, yes. Put a line"),
        ("1,yes\n2,no\n", "the first line has no names but a record: 1, yes"),
        ("image,label,answer\na,b,c\n", "the label may be one of label, answer. Choose with --label-column label"),
        ("file,path,label\na,b,c\n", "the image may be one of file, path. Choose with --image-column file"),
        ("image,label,prompt,question\na,b,c,d\n", "the question may be one of prompt, question"),
        ("image,suffix,ok\na,b,c\n", None),
        (",image,label\nx,a,b\n", "a column has no name: x in column 1"),
        ("image,label\na,NaN\n", "the label is empty: NaN"),
        ("image,label\n,b\n", "the image is empty"),
        ('image,label\n"a,b\n', "broken CSV"),
        ('{"image":"a","suffix":"b"\n', "broken JSON"),
        ('{"photo":"a","ok":"b"}\n{"photo":"a","ok":"b"}', "there are photo, ok. Name them with --image-column and"),
        ('{"image":"a","label":null}\n', "the label is empty or no single label: None"),
        ('{"image":"a","label":["b","c"]}\n', "several labels for one record: 1 b, 1 c"),
        ('{"image":"a","suffix":"b","prefix":3}\n', "the question is no text: 3"),
        ('{"image":"a","suffix":"b","x":1e999}\n', "too large a number"),
        ('{"image":"a","suffix":"b","x":%s}\n' % ("9" * 5000), "4300 digits"),
        ('{"image":"a","suffix":"b","x":%s}\n' % ("[" * 100 + "]" * 100), "nested too deeply"),
        ('[{"image":"a","suffix":"b","x":%s}]' % ("[" * 100 + "]" * 100), "nested more than 98 levels"),
        ("[" * 100_000, "nested too deeply"),
        ('["a", "b"]', "a list of texts, which are no records"),
        ('[["a", "b"], 3]', "a list of lists and numbers"),
        ("[]", "a list of nothing"),
        ('{"image": {"0": "a"}, "label": {"0": "b"}}', "If pandas wrote it: to_json"),
        ('{"data": [{"image": "a"}]}', "jq -c '.data[]' FILE"),
        ('{\n "image": "a",\n "suffix": "b"\n}\n{\n "image": "a"\n}', "several JSON values, and not one a line: jq -c"),
        (
            '{"images": [], "annotations": [{"image_id": 1, "bbox": []}]}',
            "no annotation is a caption; they have image_id",
        ),
        ('{"annotations": [{"question_id": 1}]}', "VQA's answers without the questions"),
        ("", "the file is empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "a Git LFS pointer"),
        ("<!DOCTYPE html><html>", "an HTML page"),
        (gzip.compress(b"image,label\n", mtime=0), "packed with gzip"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        ("image,label\na,犬\n".encode("cp932"), "x:2: not UTF-8 text. If it is Shift-JIS, --encoding cp932 reads it"),
        ('{"image":"a","suffix":"犬"}\n'.encode("cp932"), "x:1: not UTF-8 text. If it is Shift-JIS, --encoding cp932"),
    ],
)
def test_what_is_said_of_others(tmp_path: Path, content: str | bytes, message: str | None) -> None:
    path = tmp_path / "x"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if message is None:
        assert pairs(converted(path)) == [("a", "b")]
        return
    with pytest.raises(BadDataError) as caught:
        converted(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_encodings(tmp_path: Path) -> None:
    for content in (
        "image,label\na.jpg,犬\n",
        "a.jpg\t犬\n",
        '{"image":"a.jpg","suffix":"犬"}\n',
        '[{"image":"a.jpg","label":"犬"}]',
    ):
        (tmp_path / "x").write_bytes(content.encode("cp932"))
        assert pairs(converted(tmp_path / "x", encoding="cp932")) == [("a.jpg", "犬")]
    for name in ("no-such", "zlib", "idna", "undefined"):
        with pytest.raises(UsageError, match=f"there is no {name}"):
            converted(tmp_path / "x", encoding=name)


def test_five_of_a_kind_and_a_count(tmp_path: Path, run: Run) -> None:
    (tmp_path / "x.csv").write_text("image,label\n" + "a.jpg,\n" * 500 + "b.jpg\n" + "c.jpg,yes\n")
    done = run("palitune", "convert", "x.csv", "-o", "y.jsonl", cwd=tmp_path)
    assert done.returncode == 65
    assert not (tmp_path / "y.jsonl").exists()
    lines = done.stderr.splitlines()
    assert lines[0] == "the label is empty, 500 times"
    assert lines[6:8] == ["  and 495 more", "a row does not fit the header"]
    assert lines[-1].startswith(
        "palitune convert: x.csv: 501 things cannot be carried over, and nothing is written. --drop"
    )
    assert len(lines) == 10
    done = run("palitune", "convert", "x.csv", "--drop", cwd=tmp_path)
    assert done.stdout == '{"prefix":"","suffix":"yes","image":"c.jpg"}\n'
    assert done.stderr.startswith("left out: the label is empty, 500 times\n")


def test_formulas(tmp_path: Path, run: Run) -> None:
    fields = {"image": "-a.jpg", "prefix": "+1", "suffix": "=1+1", "@k": "'=x", "n": -5, "t": "\tx", "w": "＝1"}  # noqa: RUF001
    (tmp_path / "x.jsonl").write_text(json.dumps(fields) + "\n")
    done = run("palitune", "convert", "x.jsonl", "--to", "csv", "-o", "x.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = [
        cell.strip('"') for line in (tmp_path / "x.csv").read_text("utf-8").splitlines() for cell in line.split(",")
    ]
    assert [cell for cell in cells if cell.startswith(tuple("=+-@\t＝"))] == ["-5"]  # noqa: RUF001
    back = run("palitune", "convert", "x.csv", cwd=tmp_path)
    assert json.loads(back.stdout) == fields | {"n": "-5"}
    done = run("palitune", "convert", "x.jsonl", "--to", "csv", "--formulas", "-o", "y.csv", cwd=tmp_path)
    assert ',"=1+1",' in (tmp_path / "y.csv").read_text("utf-8")
    back = run("palitune", "convert", "y.csv", "--formulas", cwd=tmp_path)
    assert json.loads(back.stdout) == fields | {"n": "-5"}


# Folders.


def image(path: Path, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, kind)


def test_images_by_content_and_rubbish(tmp_path: Path) -> None:
    for label in ("yes", "no"):
        for name, kind in (
            ("a.JFIF", "JPEG"),
            ("b.jpe", "JPEG"),
            ("c.apng", "PNG"),
            ("bare", "WEBP"),
            ("d.dat", "GIF"),
        ):
            image(tmp_path / label / name, kind)
        for name in (".ipynb_checkpoints/a-checkpoint.jpg", "._a.jpg", "Thumbs.db", "desktop.ini", "__MACOSX/x.jpg"):
            image(tmp_path / label / name)
    image(tmp_path / "__MACOSX/yes/x.jpg")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    found = pairs(converted(tmp_path, losses=(losses := Losses())))
    assert sorted(name for name, label in found if label == "yes") == [
        f"yes/{name}" for name in ("a.JFIF", "b.jpe", "bare", "c.apng", "d.dat")
    ]
    assert len(found) == 10
    assert not losses.kinds


def test_what_folders_cannot_carry(tmp_path: Path) -> None:
    image(tmp_path / "yes/1.jpg")
    image(tmp_path / "no/1.jpg")
    for name, kind in (("3.jpg", "JPEG"), ("yes/t.tif", "TIFF"), ("no/t", "TIFF")):
        image(tmp_path / name, kind)
    (tmp_path / "no/h.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (tmp_path / "no/1.txt").write_text("a caption")
    (tmp_path / "no/gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "no/pipe.jpg")
    (tmp_path / "yes/more").symlink_to(tmp_path / "no")
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "yes/notes.txt").write_text("about")
    (tmp_path / "maybe").mkdir()
    losses = Losses()
    assert pairs(converted(tmp_path, losses=losses)) == [("no/1.jpg", "no"), ("yes/1.jpg", "yes")]
    assert {kind.what: kind.count for kind in losses.kinds.values()} == {
        "an image is in no label's folder": 1,
        "an image or video is of a kind that palitune does not read": 3,
        "a file that belongs to an image has no place in a record": 1,
        "what has an image's name is not a file, or a link to nothing": 2,
        "a link to a folder is not followed": 1,
    }
    assert {kind.what: kind.count for kind in losses.remarks.values()} == {
        "files that are not images are left out": 2,
        "folders without an image are left out": 1,
    }


RECORD = '{"image":"a.jpg","suffix":"yes"}\n'


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (("train/yes/1.jpg", "train/no/1.jpg", "valid/yes/1.jpg"), "convert ROOT/train; palitune convert ROOT/valid"),
        (("Training/a/1.jpg", "Validation/a/1.jpg", "Test set/a/1.jpg"), "palitune convert 'ROOT/Test set'; "),
        (("train/1.jpg", "valid/1.jpg"), "Their images have no labels"),
        (("train/yes/1.jpg",), "Convert it: palitune convert ROOT/train"),
        (("_annotations.train.jsonl", "_annotations.valid.jsonl", "a.jpg"), "convert ROOT/_annotations.valid.jsonl"),
        (("train/annotations.jsonl", "train/a.jpg", "valid/annotations.jsonl"), "convert ROOT/valid/annotations.jsonl"),
        (("train/_annotations.coco.json", "train/a.jpg", "README.txt"), "convert ROOT/train/_annotations.coco.json"),
        (("photos/yes/1.jpg", "photos/no/1.jpg"), "palitune convert ROOT/photos, or name"),
        (("training data/a/1.jpg", "検証/a/1.jpg"), "palitune convert 'ROOT/検証'"),
        (("fold1/yes/1.jpg", "fold1/no/1.jpg", "fold2/yes/1.jpg", "fold2/no/1.jpg"), "Convert each: palitune convert"),
        (("a/OK/1.jpg", "a/NG/1.jpg", "b/ok/1.jpg"), "if the outer names are the labels, --from folders takes them"),
    ],
)
def test_parts_are_no_labels(tmp_path: Path, files: tuple[str, ...], hint: str) -> None:
    for name in files:
        if name.endswith(".jpg"):
            image(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(RECORD)
    with pytest.raises(BadDataError) as caught:
        converted(tmp_path)
    assert hint.replace("ROOT", str(tmp_path)) in str(caught.value)


def test_folders_that_are_what_they_seem(tmp_path: Path) -> None:
    image(tmp_path / "labels/test/1.jpg")
    image(tmp_path / "labels/live/1.jpg")
    (tmp_path / "labels/data.jsonl").touch()  # by the shell, before convert has read anything
    assert pairs(converted(tmp_path / "labels")) == [("live/1.jpg", "live"), ("test/1.jpg", "test")]
    for name in ("yes/2024/1.jpg", "no/2024/1.jpg", "no/1.jpg", "test yes/1.jpg"):
        image(tmp_path / "years" / name)
    found = [("no/1.jpg", "no"), ("no/2024/1.jpg", "no"), ("test yes/1.jpg", "test yes"), ("yes/2024/1.jpg", "yes")]
    assert pairs(converted(tmp_path / "years")) == found
    image(tmp_path / "own/images/a.jpg")
    (tmp_path / "own/data.jsonl").write_text(RECORD)
    assert pairs(converted(tmp_path / "own")) == [("a.jpg", "yes")]
    given = Options()
    image(tmp_path / "parts/train/a/1.jpg")
    found = reading.read(tmp_path / "parts", "folders", given)  # --from folders
    assert [fields["suffix"] for _, fields in found] == ["train"]


def test_names_that_are_no_unicode(tmp_path: Path, run: Run) -> None:
    image(tmp_path / "pics/yes/0.jpg")
    image(tmp_path / "pics/no/0.jpg")
    os.rename(
        os.fsencode(tmp_path / "pics/yes/0.jpg"), os.fsencode(tmp_path / "pics/yes") + "/広告.jpg".encode("cp932")
    )
    os.rename(tmp_path / "pics", os.fsencode(tmp_path) + b"/\x8d\x90")
    done = run("bash", "-c", "palitune convert $'\\x8d\\x90' -o out.jsonl", cwd=tmp_path)
    assert done.returncode == 65
    assert (
        r"\x8d\x90/yes/\x8dL\x8d\x90.jpg: a file's name is not UTF-8: in Shift-JIS it would be yes/広告.jpg"
        in done.stderr
    )
    assert not (tmp_path / "out.jsonl").exists()
    done = run("bash", "-c", "palitune convert $'\\x8d\\x90' --drop", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, '{"prefix":"","suffix":"no","image":"no/0.jpg"}\n')


# Label Studio and VQA where sources disagree.


def choice(label: object, control: str = "allowed", **more: object) -> dict[str, object]:
    result = {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": [label]}}
    return {"result": [result], **more}


def test_which_annotation_counts(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def labels(*annotations: object, **options: object) -> list[str]:
        task = {"id": 5, "data": {"image": "a.jpg"}, "annotations": annotations, "predictions": [choice("maybe")]}
        path.write_text(json.dumps([task]))
        return [label for _, label in pairs(converted(path, **options))]

    assert labels(choice("yes"), choice("yes")) == ["yes"]
    assert labels(choice("yes"), choice("no", ground_truth=True)) == ["no"]
    assert labels(choice("yes", was_cancelled=True), choice("no")) == ["no"]
    assert labels(choice("yes"), choice("no"), choice("no"), majority=True) == ["no"]
    assert labels(choice(True)) == ["true"]
    with pytest.raises(BadDataError, match=r"annotators disagree about a label: 2 no, 1 yes. Mark .*--majority"):
        labels(choice("yes"), choice("no"), choice("no"))
    with pytest.raises(BadDataError, match="no answer is the most frequent: 1 yes, 1 no"):
        labels(choice("yes"), choice("no"), majority=True)
    with pytest.raises(BadDataError, match="there is no record in it"):
        labels(choice("yes", was_cancelled=True))
    both = (choice("yes"), choice("good", "quality"))
    with pytest.raises(BadDataError, match=r"quality \(choices, 1 tasks\)") as caught:
        labels(*both)
    assert "allowed (choices, 1 tasks)" in str(caught.value)
    assert labels(*both, label="quality") == ["good"]
    losses = Losses()
    assert labels(*both, label="allowed", losses=losses) == ["yes"]
    assert list(losses.remarks) == ["other controls than allowed are left out"]


def test_json_min(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def minimal(*tasks: dict[str, object], **options: object) -> list[Fields]:
        path.write_text(json.dumps([{"image": "a.jpg", "annotator": 1} | task for task in tasks]))
        return converted(path, **options)

    same = {"id": 1, "allowed": "yes", "quality": "good"}
    (found,) = minimal(same, same | {"annotator": 2, "quality": "bad"}, label="allowed")
    assert found == {"prefix": "", "suffix": "yes", "image": "a.jpg", "id": 1}
    with pytest.raises(BadDataError, match=r"there are image, allowed, quality. Name it with --label-column"):
        minimal(same)
    with pytest.raises(BadDataError, match="the label may be one of label, choice"):
        minimal({"label": "yes", "choice": "good"})
    with pytest.raises(BadDataError, match="annotators disagree about a label: 1 yes, 1 no"):
        minimal({"id": 1, "choice": "yes"}, {"id": 1, "choice": "no"})
    with pytest.raises(BadDataError, match="a region or the like"):
        minimal({"id": 1, "choice": [{"x": 1, "rectanglelabels": ["no"]}]})


def test_answers_of_several_people(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def labels(annotation: dict[str, object], **options: object) -> list[str]:
        question = {"question_id": 1, "image_id": 3, "question": "ok?"}
        path.write_text(json.dumps({"questions": [question], "annotations": [{"question_id": 1} | annotation]}))
        return [label for _, label in pairs(converted(path, **options))]

    ten = [{"answer": "yes"}] * 7 + [{"answer": "no"}] * 3
    assert labels({"answers": ten, "multiple_choice_answer": "no"}) == ["no"]
    assert labels({"answers": ten[:7]}) == ["yes"]
    assert labels({"answers": ten}, majority=True) == ["yes"]
    for answers, options, message in (
        (ten, {}, "people answered a question differently: 7 yes, 3 no. --majority"),
        (ten[4:], {"majority": True}, "no answer is the most frequent: 3 yes, 3 no"),
        ([], {}, "a question has no answer"),
    ):
        with pytest.raises(PalituneError) as caught:
            labels({"answers": answers}, **options)
        assert message in str(caught.value)


# A megabyte of anything.

MEGABYTE = 1 << 20


def repeated(head: str, unit: str, tail: str = "") -> str:
    return head + unit * ((MEGABYTE - len(head) - len(tail)) // len(unit)) + tail


def counted(head: str, unit: str, tail: str) -> str:
    made, length, number = [head], len(head), 0
    while length < MEGABYTE:
        made.append(unit.replace("#", str(number)))
        length, number = length + len(made[-1]), number + 1
    return "".join(made).removesuffix(",") + tail


LARGE = {
    "keys": counted('{"image":"a","suffix":"b",', '"#":1,', "}\n"),
    "objects": repeated("[", "{},", "{}]"),
    "controls": counted(
        '[{"data":{"image":"a"},"annotations":[{"result":[', '{"value":{"choices":["#"]},"from_name":"#"},', "]}]}]"
    ),
    "answers": counted(
        '{"questions":[{"question_id":1,"image_id":1,"question":"a"}],"annotations":[{"question_id":1,"answers":[',
        '"#",',
        "]}]}",
    ),
    "columns": counted("image,label,", "#,", "\n"),
    "cells": repeated("image,label\n", ' a ,"b",'),
    "commas": repeated("image,label", ",", "\na,b\n"),
    "deep": repeated('{"image":', "["),
    "sparse": counted("", '{"image":"a","suffix":"b","k#":1}\n', ""),
    "parts": repeated('{"messages":[{"role":"user","content":[', '{"type":"text","text":""},', '{"type":"x"}]}]}\n'),
    "rows": repeated("image,label\n", "a,b\n"),
    "tasks": counted("[", '{"id":#,"image":"a","choice":"b"},', "]"),
    "images": counted('{"annotations":[],"images":[', '{"id":#,"file_name":"a"},', "]}"),
}
MEASURED = """
import argparse, importlib, pkgutil, resource, sys
from palitune.cli import convert
from palitune.data import formats
from palitune.errors import PalituneError
parser = argparse.ArgumentParser()
convert.add_arguments(parser)
parser.add_argument("--quiet", action="store_true")
for module in pkgutil.iter_modules(formats.__path__, "palitune.data.formats."):  # what any conversion loads
    importlib.import_module(module.name)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for kind in sys.argv[2:]:
    try:
        convert.run(parser.parse_args([sys.argv[1], "--to", kind]))
    except PalituneError as error:
        print(str(error)[:200], file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, file=sys.stderr)
"""


QUICK = ("controls", "cells", "deep", "commas", "answers")


def test_memory_of_a_megabyte(tmp_path: Path, run: Run, campaign: Callable[[int, int], int]) -> None:
    for name in (*QUICK, *(set(LARGE) - set(QUICK)))[: campaign(len(QUICK), len(LARGE))]:
        (tmp_path / "x").write_text(LARGE[name], "utf-8")
        kinds = ("csv", "labelstudio", "vqa", "jsonl")[: campaign(1, 4)]
        done = run(sys.executable, "-c", MEASURED, "x", *kinds, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-300:]
        assert int(done.stderr.split()[-1]) <= 300, name

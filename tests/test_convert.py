"""Other people's formats: what they mean, and that nothing is lost on the way there and back."""

import base64
import json
from pathlib import Path

import pytest
from conftest import Run
from PIL import Image

from palitune.data.formats import detection, label_folders, reading, writing
from palitune.data.formats.embedded_images import EmbeddedImages
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.options import Options
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, UsageError

FIELDS = [
    {"prefix": "", "suffix": "yes", "image": "images/a.jpg"},
    {"prefix": 'Is "this", one; allowed?\nReally?', "suffix": "no", "image": "images/b é.png"},
    {"prefix": "", "suffix": "ein Bär\tund mehr", "image": "c.gif"},
]


def read(path: Path, kind: str | None = None, **options: object) -> list[dict[str, object]]:
    given = Options(**options)  # type: ignore[arg-type]
    return [fields for _, fields in reading.read(path, kind or detection.detect(path, given), given)]


def lines(fields: list[dict[str, object]], kind: str, embed: ImageFolders | None = None, **options: object) -> str:
    found = ((f"record {number}", one) for number, one in enumerate(fields, 1))
    return "".join(writing.lines(found, kind, Options(**options), embed))  # type: ignore[arg-type]


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "labelstudio", "coco", "vqa", "messages"])
def test_there_and_back(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "x", lines(FIELDS, kind))
    assert detection.detect(path) == kind
    assert [{key: one[key] for key in FIELDS[0]} for one in read(path)] == FIELDS


def test_captions_are_asked_for(tmp_path: Path) -> None:
    captions = {"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 3, "caption": "x"}]}
    path = written(tmp_path / "x", captions)
    assert detection.detect(path) == "coco"
    assert read(path) == [{"prefix": "caption en", "suffix": "x", "image": "a.jpg"}]


def test_tables(tmp_path: Path) -> None:
    text = '\ufeffid;file;allowed;note\n1;a.jpg;yes;"a; b"\n2;b.jpg;no;\n'
    path = written(tmp_path / "x.csv", text)
    assert read(path, label="allowed") == [
        {"prefix": "", "suffix": "yes", "image": "a.jpg", "id": "1", "note": "a; b"},
        {"prefix": "", "suffix": "no", "image": "b.jpg", "id": "2", "note": ""},
    ]
    with pytest.raises(
        BadDataError, match="no column or key named suffix, label, answer or the like; there are id"
    ) as told:
        read(path)
    assert "--label-column" in str(told.value)
    for text, message in (
        ("image,label\na.jpg,yes,more\n", ":2: a row does not fit the header: 3 columns, the header has 2"),
        ("image,label\na.jpg,\n", ":2: the label is empty"),
        ('image,label\n"a.jpg,yes\n', "broken CSV"),
        ("image,label,label\na,b,c\n", "two columns have the same name"),
        ("image,label\na\0,b\n", ":2: NUL|:2: the file has a NUL"),
    ):
        with pytest.raises(BadDataError) as caught:
            read(written(tmp_path / "x.csv", text), "csv")
        assert any(part in str(caught.value) for part in message.split("|")), caught.value


def test_folders_of_pictures(tmp_path: Path) -> None:
    for name in ("yes/1.png", "yes/deep/2.png", "no/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    (tmp_path / "in/no/notes.txt").touch()
    found = read(tmp_path / "in")
    assert [(one["image"], one["suffix"]) for one in found] == [
        ("no/1.png", "no"),
        ("yes/1.png", "yes"),
        ("yes/deep/2.png", "yes"),
    ]
    target, images = tmp_path / "out", ImageFolders([tmp_path / "in"])

    def write(fields: list[dict[str, object]], target: Path) -> int:
        return label_folders.write((("x", one) for one in fields), target, images, Options())

    assert write(found, target) == 3
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*.png")) == [
        "no/1.png",
        "yes/1.png",
        "yes/2.png",
    ]
    with pytest.raises(OutputExistsError):
        write(found, target)
    for one, error in (
        ({"image": "yes/1.png", "suffix": "a/b"}, BadDataError),
        ({"image": "yes/1.png", "suffix": ".."}, BadDataError),
        ({"image": "gone.png", "suffix": "yes"}, MissingInputError),
        ({"image": "../x.png", "suffix": "yes"}, BadDataError),
    ):
        with pytest.raises(error):
            write([found[0], one], tmp_path / "other")
    with pytest.raises(BadDataError, match="two images have one name"):
        write([found[1], found[0] | {"suffix": "yes"}], tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_label_studio(tmp_path: Path) -> None:
    def task(image: str, *choices: object, **more: object) -> dict[str, object]:
        results = [{"from_name": "ok", "to_name": "image", "type": "choices", "value": {"choices": c}} for c in choices]
        return {"id": 1, "data": {"image": image}, "annotations": [{"result": results, **more}]}

    path = written(
        tmp_path / "x.json",
        [
            task("/data/upload/3/ab12-a%20b.jpg", ["yes"]),
            task("/data/local-files/?d=folder/c.png", ["no"]),
            task("d.png"),
            task("e.png", ["yes"], was_cancelled=True),
        ],
    )
    assert [(one["image"], one["suffix"]) for one in read(path)] == [
        ("upload/3/ab12-a b.jpg", "yes"),
        ("folder/c.png", "no"),
    ]
    minimal = written(tmp_path / "y.json", [{"image": "a.jpg", "choice": "yes", "id": 7}, {"image": "b.jpg", "id": 8}])
    assert read(minimal) == [{"prefix": "", "suffix": "yes", "image": "a.jpg", "id": 7}]
    with pytest.raises(BadDataError, match=r"task 1: a label is not one text .*: 2 choices where one is the label"):
        read(written(tmp_path / "x.json", [task("a.jpg", ["yes", "no"])]))
    with pytest.raises(BadDataError, match=r"task 1: .* no column or key named image.*--image-column"):
        read(written(tmp_path / "x.json", [task("", ["yes"]) | {"data": {"n": 1}}]))


def test_names_and_labels_that_are_no_addresses(tmp_path: Path) -> None:
    fields = [
        {"prefix": "", "suffix": "a\rb", "image": name} for name in ("50%20off.jpg", "a#b.jpg", "c:d.jpg", " e.jpg")
    ]
    for kind in ("labelstudio", "csv", "coco", "vqa", "messages"):
        path = written(tmp_path / kind, lines(fields, kind))
        path.write_bytes(lines(fields, kind).encode())
        assert [(one["image"], one["suffix"]) for one in read(path)] == [(one["image"], "a\rb") for one in fields]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    def renamed(*fields: dict[str, object]) -> list[dict[str, object]]:
        found = ((f"x: record {number}", one) for number, one in enumerate(fields, 1))
        return [one for _, one in reading.settled(found, Renaming([("OK", "yes")]), "x", Options())]

    good = {"image": "a.jpg", "suffix": " Yes"}
    assert renamed(good | {"prefix": None}) == [{"image": "a.jpg", "suffix": "yes", "prefix": ""}]
    assert renamed(good | {"suffix": "OK"})[0]["suffix"] == "yes"
    for bad in (
        {"suffix": " "},
        {"image": 3},
        {"prefix": 5},
        {"more": "\ud83d"},
        {"more": float("inf")},
        {"image": "\udcff"},
    ):
        with pytest.raises(BadDataError) as caught:
            renamed(good, good | bad)
        assert str(caught.value).startswith("x: record 2: ")
    with pytest.raises(BadDataError, match="no record in it"):
        renamed()


def test_questions_and_answers_in_two_files(tmp_path: Path) -> None:
    questions = {
        "data_subtype": "val2014",
        "questions": [{"question_id": 5, "image_id": 42, "question": "What is it?"}],
    }
    answers = {"annotations": [{"question_id": 5, "image_id": 42, "multiple_choice_answer": "a cat", "answers": []}]}
    path = written(tmp_path / "q.json", questions)
    with pytest.raises(BadDataError, match="the answers are in another file"):
        read(path)
    assert read(path, annotations=written(tmp_path / "a.json", answers)) == [
        {"prefix": "What is it?", "suffix": "a cat", "image": "COCO_val2014_000000000042.jpg"}
    ]


def test_chats(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    line = lines([{"prefix": "ok?", "suffix": "yes", "image": "a.png"}], "messages", ImageFolders([tmp_path]))
    url = json.loads(line)["messages"][0]["content"][1]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == (tmp_path / "a.png").read_bytes()
    path = written(tmp_path / "x.jsonl", line)

    def settled(embedded: EmbeddedImages | None) -> list[dict[str, object]]:
        options = Options(embedded=embedded)
        found = reading.settled(reading.read(path, "messages", options), Renaming(), "x", options)
        return [one for _, one in found]

    with pytest.raises(UsageError, match="--pictures FOLDER"):
        settled(None)
    embedded = EmbeddedImages(tmp_path / "new")
    settled(embedded)
    embedded.close()
    assert not (tmp_path / "new").exists()  # nothing is kept of a conversion that did not end well
    (found,) = settled(embedded)
    embedded.keep()
    embedded.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [found["image"]]
    assert (tmp_path / "new" / str(found["image"])).read_bytes() == (tmp_path / "a.png").read_bytes()

    def chat(*content: object, answer: object = "no") -> str:
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": list(content)}]
        return json.dumps({"messages": [*messages, {"role": "assistant", "content": answer}]})

    picture = {"type": "image_url", "image_url": {"url": "a.png"}}
    asked = {"type": "text", "text": "ok?"}
    kept = {"prefix": "ok?", "suffix": "no", "image": "a.png", "system": "be brief"}
    assert read(written(path, chat(asked, picture))) == [kept]
    assert read(written(path, lines([kept], "messages"))) == [kept]
    assert read(written(path, chat(asked))) == [json.loads(chat(asked))]
    for text, message in (
        ('{"messages": []}', "0 images and 0 answers"),
        (chat(asked, picture, picture), "2 images and 1 answers"),
        (chat(asked, picture, answer=" "), "an answer is empty"),
        (chat(asked, {"type": "image_url", "image_url": {"url": "https://x/a.png"}}), "on the network"),
        ('{"messages": 3}', 'no list "messages"'),
        ('{"messages": [3]}', "a message needs a role"),
    ):
        with pytest.raises(BadDataError, match=message):
            read(written(path, text + "\n"), "messages")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("labelstudio", "[3]"),
        ("labelstudio", '[{"data": {"image": "a"}, "annotations": 5}]'),
        ("labelstudio", '[{"data": {"image": "a"}, "annotations": [{"result": 5}]}]'),
        ("labelstudio", '[{"data": {"image": "a"}, "annotations": [{"result": [{"value": {"choices": {"a": 1}}}]}]}]'),
        ("labelstudio", '[{"image": "http://[bad/data/x", "choice": "a"}]'),
        ("labelstudio", '[{"image": "a", "choices": ["a", "b"]}]'),
        ("folders", "x"),
        ("labelstudio", "{}"),
        ("coco", '{"images": 3}'),
        ("coco", '{"images": [], "annotations": [{"image_id": [], "caption": "x"}]}'),
        ("coco", '{"images": [], "annotations": [{"image_id": 3, "caption": "x"}]}'),
        ("vqa", '{"questions": [{}], "annotations": []}'),
        ("coco", "{"),
        ("messages", "{\n"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, kind: str, content: str) -> None:
    with pytest.raises(BadDataError) as caught:
        read(written(tmp_path / "x", content), kind)
    assert str(tmp_path / "x") in str(caught.value)


def test_the_command(workspace: Path, run: Run) -> None:
    original = [json.loads(line) for line in (workspace / "dataset/data.jsonl").read_text().splitlines()]
    for kind in ("tsv", "csv", "labelstudio", "vqa", "messages"):
        done = run("palitune", "convert", "dataset/data.jsonl", "--to", kind, "-o", f"x.{kind}", cwd=workspace)
        assert done.returncode == 0, done.stderr
        back = run("palitune", "convert", f"x.{kind}", cwd=workspace)
        found = [json.loads(line) for line in back.stdout.splitlines()]
        assert [(one["image"], one["suffix"]) for one in found] == [(one["image"], one["suffix"]) for one in original]
    assert (
        run("palitune", "convert", "dataset/data.jsonl", "--to", "folders", "-o", "tree", cwd=workspace).returncode == 0
    )
    back = run("palitune", "convert", "tree", "--rename", "yes=OK", "no=NG", "--to", "tsv", cwd=workspace)
    assert sorted(line.split("\t")[1] for line in back.stdout.splitlines()) == sorted(
        {"yes": "OK", "no": "NG"}[one["suffix"]] for one in original
    )
    assert run("palitune", "convert", "x.tsv", "-o", "x.csv", cwd=workspace).returncode == 73
    (workspace / "half.csv").write_text("image,label\na.png,OK\nb.png,\n")
    done = run("palitune", "convert", "half.csv", "--rename", "NGG=no", cwd=workspace)
    assert (done.returncode, done.stdout) == (65, "")
    (workspace / "half.csv").write_text("image,label,prefix\na.png,OK,ok?\n")
    done = run("palitune", "convert", "half.csv", "--rename", "NGG=no", "--to", "tsv", cwd=workspace)
    assert (done.returncode, done.stdout) == (65, "")
    assert "half.csv:2: tsv has no room for questions: ok?. --drop leaves it out" in done.stderr
    done = run("palitune", "convert", "half.csv", "--rename", "NGG=no", "--to", "tsv", "--drop", cwd=workspace)
    assert done.stdout == "a.png\tOK\n"
    assert "no label is NGG" in done.stderr
    assert "left out: tsv has no room for questions" in done.stderr
    assert run("palitune", "convert", "none", cwd=workspace).returncode == 66
    assert run("palitune", "convert", "x.tsv", "--to", "folders", cwd=workspace).returncode == 2

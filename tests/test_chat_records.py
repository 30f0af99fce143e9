"""Chats read as examples: turns, weights, images of every form, and what is refused."""

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from palitune.config.model import FolderSettings
from palitune.data import dataset_files, example_files
from palitune.data.checks.lint import lint
from palitune.data.example import Example, Image, Message, Target
from palitune.data.formats import jsonl
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError

HI, HELLO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}
SYSTEM = {"role": "system", "content": "Be brief."}


def parse(messages: object, labelled: bool = True, **others: object) -> Example:
    return jsonl.parse(json.dumps({"messages": messages, **others}), "d:1", labelled)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def image(folder: Path, name: str = "a.png", colour: str = "red") -> Path:
    PILImage.new("RGB", (8, 8), colour).save(folder / name)
    return folder / name


def data_url(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_turns_and_weights() -> None:
    found = parse([SYSTEM, HI, HELLO | {"weight": 0}, {"role": "user", "content": "Bye"}, HELLO | {"weight": 1}])
    assert found.messages == (
        Message("system", ("Be brief.",)),
        Message("user", ("Hi",)),
        Message("assistant", ("Hello!",), 0.0),
        Message("user", ("Bye",)),
        Message("assistant", ("Hello!",), 1.0),
    )
    assert found.targets == (Target("", None, "Hello!"),)
    assert found.prompt == "Bye"
    assert found.where == "d:1"


def test_a_chat_without_an_answer_is_unlabelled() -> None:
    found = parse([HI, HELLO, {"role": "user", "content": "Bye"}], labelled=False)
    assert found.targets == (Target("", None, None),)
    assert len(found.messages) == 3
    with pytest.raises(BadDataError, match=r"ends with a message of the user.*Leave the last message out"):
        parse([HI, HELLO, {"role": "user", "content": "Bye"}])


TURNS = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.sampled_from([0, 1])))


@settings(max_examples=conftest.CASES, deadline=None)
@given(TURNS.filter(lambda turns: any(weight for _, _, weight in turns)), st.booleans())
def test_every_turn_is_there_once_and_in_order(turns: list[tuple[str, str, int]], as_parts: bool) -> None:
    def content(text: str) -> object:
        return [{"type": "text", "text": text}] if as_parts else text

    messages: list[dict[str, object]] = []
    for question, answer, weight in turns:
        messages.append({"role": "user", "content": content(question)})
        messages.append({"role": "assistant", "content": content(answer), "weight": weight})
    if any("\0" in text for question, answer, _ in turns for text in (question, answer)):
        with pytest.raises(BadDataError, match="NUL"):
            parse(messages)
        return
    found = parse(messages)
    pairs = zip(found.messages[::2], found.messages[1::2], strict=True)
    assert [(one.text, other.text, int(other.weight)) for one, other in pairs] == turns
    assert found.label == turns[-1][1]


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "a list of 1 to 1,000 messages"),
        ("Hi", "a list of"),
        ([HELLO], "no message of the user"),
        ([HI, {"role": "assistant", "content": ""}], "a message of the assistant is empty"),
        ([HI, {"role": "assistant", "content": None}], "needs a text or parts"),
        ([HI, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], "tool calls are not supported"),
        ([HI, {"role": "tool", "content": "1"}, HELLO], "tool calls are not supported"),
        ([HI, {"role": "assistant", "content": None, "function_call": {"name": "f"}}], "tool calls are not"),
        ([HI, {"role": "assistant", "content": "a", "audio": {"id": "1"}}], "audio is not supported"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, HELLO], "'input_audio' are not"),
        ([{"role": "robot", "content": "Hi"}, HELLO], "the role 'robot'"),
        (["Hi", HELLO], "the role None"),
        ([HI, HELLO | {"weight": 2}], "the weight of a message is 2; it is 0 or 1"),
        ([HI, HELLO | {"weight": 0}], "no answer of the chat is to be learned"),
        ([{"role": "user", "content": [{"type": "text", "text": 3}]}, HELLO], "is int and no text"),
        ([{"role": "user", "content": [{"type": "image"}]}, HELLO], 'more parts of the type "image"'),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, HELLO], "neither a url nor a path"),
        ([HI, {"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}], "assistant has an image"),
        ([{"role": "user", "content": "a" * 100_001}, HELLO], "100,000 are allowed"),
    ],
)
def test_what_is_no_chat(messages: object, what: str) -> None:
    with pytest.raises(BadDataError, match=what) as caught:
        parse(messages)
    assert str(caught.value).startswith("d:1: ")
    assert "\n" not in str(caught.value)


def test_tools_and_images_that_nothing_shows_are_refused() -> None:
    with pytest.raises(BadDataError, match="tools are not supported"):
        parse([HI, HELLO], tools=[{"type": "function"}])
    with pytest.raises(BadDataError, match='"images" has 2, and 0 parts'):
        parse([HI, HELLO], images=["a.png", "b.png"])
    assert parse([HI, HELLO], tools=[], images=[]).images == ()


def test_images_of_a_column_are_those_of_parts_in_order(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    asked = [{"type": "image"}, {"type": "text", "text": "Which is red?"}, {"type": "image"}]
    line = json.dumps({"messages": [{"role": "user", "content": asked}, HELLO], "images": ["a.png", {"path": "b.png"}]})
    path = tmp_path / "d.jsonl"
    path.write_text(f"{line}\n")
    (found,) = dataset_files.read(path)
    assert found.messages[0].parts == (
        Image("a.png", tmp_path / "a.png"),
        "Which is red?",
        Image("b.png", tmp_path / "b.png"),
    )
    assert found.subject == "a.png"


def test_tags_in_a_text_are_the_places_of_a_columns_images() -> None:
    def parts(text: object, **others: object) -> object:
        return parse([SYSTEM, {"role": "user", "content": text}, HELLO | {"content": "<image>"}], **others).messages[1][
            1
        ]

    assert parts("<image>Now\n<image>?", images=["a.png", "b.png"]) == (Image("a.png"), "Now\n", Image("b.png"), "?")
    assert parts("Is <image>", images="a.png") == ("Is ", Image("a.png"))
    assert parts("What is <image>?") == ("What is <image>?",)
    of_parts = [{"type": "image"}, {"type": "text", "text": "<image>"}]
    assert parts(of_parts, images=["a.png"]) == (Image("a.png"), "<image>")
    for text, images in (("<image>", ["a.png", "b.png"]), ("<image><image>", ["a.png"]), ("<image>", [])):
        count = text.count("<image>")
        with pytest.raises(BadDataError, match=rf'have {count} <image>, and "images" has {len(images)}\. Put one'):
            parts(text, images=images)


def test_lines_with_embedded_images_may_be_long(tmp_path: Path, home: Path) -> None:
    """A photo of millions of bytes is read; what else is in the line has the limit that lines have without."""
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    PILImage.fromarray(noise).save(tmp_path / "photo.png")
    for url in (data_url(tmp_path / "photo.png"), data_url(tmp_path / "photo.png").replace("/", "\\/")):
        assert len(url) > 2 << 20
        chat = [{"role": "user", "content": [{"type": "image", "image": "URL"}]}, HELLO]
        line = json.dumps({"messages": chat}).replace("URL", url)
        path = tmp_path / "d.jsonl"
        path.write_text(f"{line}\n{json.dumps({'messages': [HI, HELLO]})}\n")
        first, second = dataset_files.read(path)
        assert first.image.path.read_bytes() == (tmp_path / "photo.png").read_bytes()
        assert second.prompt == "Hi"
        path.write_text(line.replace("Hello!", "x" * (1 << 20)))
        with pytest.raises(BadDataError, match="longer than 1,048,576 bytes without its embedded images"):
            dataset_files.read(path)


def test_a_line_of_too_many_embedded_images_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    chat = json.dumps({"messages": [HI, HELLO]}).encode()
    path.write_bytes(b'{"images": "data:image/png;base64,' + b"A" * (40 << 20) + b'"}\n' + chat)
    reader = example_files.Reader(path)
    long, short = reader
    assert len(long[2]) <= (32 << 20) + 2
    with pytest.raises(BadDataError, match=r"longer than 33,554,432 bytes.*palitune convert"):
        reader.example(long)
    assert reader.example(short).prompt == "Hi"


@pytest.mark.parametrize("holder", ["image_url", "flat", "image", "column"])
def test_an_embedded_image_becomes_a_file(tmp_path: Path, home: Path, holder: str) -> None:
    url = data_url(image(tmp_path))
    part: dict[str, Any] = {
        "image_url": {"type": "image_url", "image_url": {"url": url}},
        "flat": {"type": "input_image", "image_url": url},
        "image": {"type": "image", "image": url},
        "column": {"type": "image"},
    }[holder]
    more = {"images": [url]} if holder == "column" else {}
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": [part]}, HELLO], **more}) + "\n")
    (found,) = dataset_files.read(path)
    assert found.image.path.read_bytes() == (tmp_path / "a.png").read_bytes()
    assert found.image.path.parent == home / "cache/images"
    assert "base64" not in json.dumps(dict(found.fields))
    # What is written again, as with an answer, still finds it.
    path.write_text(json.dumps(dict(found.fields)) + "\n")
    assert dataset_files.read(path)[0].images == found.images
    assert not [one for one in lint([path], ImageFolders.beside).findings if one.level == "error"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("data:image/png,abc", "not base64"),
        ("data:image/png;base64,####", "not base64"),
        ("data:image/png;base64,AAAA", "of a kind that palitune does not read"),
    ],
)
def test_what_is_embedded_and_no_image(home: Path, url: str, what: str) -> None:
    with pytest.raises(BadDataError, match=what):
        parse([{"role": "user", "content": [{"type": "image", "image": url}]}, HELLO])
    assert not home.exists()


@contextlib.contextmanager
def site(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of a folder's files, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_images_on_the_network_are_downloaded_once_and_where_that_is_allowed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "served").mkdir()
    image(tmp_path / "served")
    (tmp_path / "served/page.png").write_text("<html>")
    path = tmp_path / "d.jsonl"

    def read(url: str, **records: Any) -> Example:
        part = {"type": "image_url", "image_url": {"url": url}}
        path.write_text(json.dumps({"messages": [{"role": "user", "content": [part, {"text": "?"}]}, HELLO]}) + "\n")
        return dataset_files.read(path, records=FolderSettings(**records))[0]

    with site(tmp_path / "served") as (address, asked):
        url = f"{address}/a.png?key=secret"
        with pytest.raises(BadDataError, match=r"on the network: .*--allow-download") as caught:
            read(url)
        assert "secret" not in str(caught.value)
        assert asked == []
        for _ in range(2):
            found = read(url, allow_download=True)
        assert asked == ["/a.png?key=secret"]
        assert found.image.path.read_bytes() == (tmp_path / "served/a.png").read_bytes()
        assert found.image.path.is_relative_to(home)
        assert read(url).images == found.images  # it is there by now
        with pytest.raises(MissingInputError, match="404"):
            read(f"{address}/gone.png", allow_download=True)
        with pytest.raises(BadDataError, match="it is no image"):
            read(f"{address}/page.png", allow_download=True)


def test_a_chat_in_two_files_leaks_and_an_answer_may_differ(tmp_path: Path) -> None:
    train, valid = tmp_path / "train.jsonl", tmp_path / "valid.jsonl"
    other = {"role": "user", "content": "And then?"}
    rows = [[HI, HELLO, other, HELLO], [{"role": "user", "content": "Ho"}, HELLO, other, HELLO]]
    train.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    valid.write_text(json.dumps({"messages": rows[0]}) + "\n")
    report = lint([train, valid], ImageFolders.beside)
    assert [(one.check, one.where) for one in report.findings if one.level == "error"] == [("leak", f"{valid}:1")]


def test_chats_and_records_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"messages": [HI, HELLO]}, {"text": "Good", "label": "yes"}, {"image": "a.png", "suffix": "no"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(example_files.stream(path))
    assert [one.label for one in found] == ["Hello!", "yes", "no"]

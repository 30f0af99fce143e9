"""Data of every format, made up at random: all of it comes back, or what is lost is named and nothing is written.

Every text that is put into a file is a word of its own, so that what is missing in the result can be told.
"""

import argparse
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from palitune.cli import convert
from palitune.data.formats.json_lines import to_json
from palitune.errors import PalituneError

Campaign = Callable[[int, int], int]


class Ended(NamedTuple):
    """How a conversion ended: exit code, records (where they are records), stderr, and what was written."""

    code: int
    text: str
    said: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


Converter = Callable[..., Ended]


@pytest.fixture
def converted(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Converter:
    """The command in this process, with what it wrote."""
    source = tmp_path / "source"
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    parser.add_argument("--quiet", action="store_true")

    def converted(content: object, *options: str) -> Ended:
        source.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), "utf-8")
        written = io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdout", written)
        code, said = 0, ""
        try:
            convert.run(parser.parse_args([str(source), *options]))
        except PalituneError as error:
            code, said = error.exit_code, str(error)
        monkeypatch.undo()
        text = written.buffer.getvalue().decode()  # type: ignore[attr-defined]
        assert bool(text) == (code == 0)
        return Ended(code, text, capsys.readouterr().err + said)

    return converted


class Words:
    """Words that are there once, some with what formats stumble over."""

    ODD = ("", " ", "\n", '"', ",", ";", "=", "'", "é", "犬", "\\", "<image>", "#", "%20", "\t", "\u200f", "😀", "\r")

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.count = rng, 0
        self.planted: set[str] = set()

    def __call__(self, odd: bool = True, planted: bool = True) -> str:
        self.count += 1
        word = f"w{self.count}w"
        if planted:
            self.planted.add(word)
        return f"{word}{self.rng.choice(self.ODD)}z" if odd and self.rng.random() < 0.3 else word


def check(ended: Ended, planted: set[str], plain: bool) -> None:
    """Nothing is lost, or it is said; and what is plain is never refused."""
    assert ended.code == 0 or (ended.code == 65 and ended.said and not plain), ended.said
    if ended.code == 0:
        missing = {word for word in planted if word not in ended.text}
        assert not missing, (missing, ended)


# Chats.


def chat(rng: random.Random, word: Words) -> tuple[dict[str, Any], bool]:
    """A chat, and whether it is one question about one image and its answer."""
    plain = True
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.3:
        messages.append({"role": rng.choice(["system", "developer"]), "content": word()})
    turns = rng.choice([1] * 8 + [2, 3])
    images = rng.choice([1] * 10 + [0, 2])
    for turn in range(turns):
        parts: list[dict[str, Any]] = [{"type": "text", "text": word()} for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        if turn == 0:
            parts += [{"type": "image_url", "image_url": {"url": f"{word(False)}.jpg"}} for _ in range(images)]
        rng.shuffle(parts)
        messages.append({"role": "user", "content": parts or word()})
        answer: dict[str, Any] = {"role": "assistant", "content": word()}
        odd = rng.random()
        if odd < 0.05:
            answer |= {"content": None, "tool_calls": [{"id": word(), "function": {"name": word()}}]}
            plain = False
        elif odd < 0.1:
            answer["content"] = [{"type": "text", "text": word()}, {"type": "refusal", "refusal": word()}]
            plain = False
        elif odd < 0.15:
            answer["reasoning_content"] = word()
            plain = False
        elif odd < 0.2:
            answer["weight"] = 0
            plain = False
        messages.append(answer)
    if rng.random() < 0.1:
        messages.append({"role": rng.choice(["user", "assistant", "tool"]), "content": word()})
        plain = False
    found: dict[str, Any] = {"messages": messages}
    if rng.random() < 0.1:
        found["tools"] = [{"name": word()}]
        plain = False
    if rng.random() < 0.3:
        found[word(False)] = rng.choice([word, lambda: 5, lambda: [word()]])()
    return found, plain and turns == 1 and images == 1


def test_chats(converted: Converter, campaign: Campaign) -> None:
    ends = set()
    for seed in range(campaign(200, 5000)):
        rng = random.Random(seed)
        word = Words(rng)
        chats = [chat(rng, word) for _ in range(rng.randint(1, 3))]
        content = "".join(json.dumps(one) + "\n" for one, _ in chats)
        ended = converted(content)
        check(ended, word.planted, all(plain for _, plain in chats))
        ends.add(ended.code)
        dropped = converted(content, "--drop")
        assert ("left out" in dropped.said) == (ended.code == 65) or dropped.code == 65
        if ended.code == 0:
            back = converted(ended.text, "--to", "messages", "--drop")
            again = converted(back.text)
            keys = ("image", "prefix", "suffix", "system", "messages")
            kept = [{key: one[key] for key in keys if key in one} for one in ended.records]
            assert again.records == kept
    assert ends == {0, 65}


def test_turns_of_a_chat(converted: Converter) -> None:
    image = {"type": "image_url", "image_url": {"url": "a.jpg"}}
    turns = [
        {"role": "user", "content": ["What?", image]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": "Allowed?"},
        {"role": "assistant", "content": "no"},
    ]
    turns[0]["content"] = [{"type": "text", "text": "What?"}, image]
    content = json.dumps({"messages": turns, "n": 3})
    ended = converted(content)
    assert (ended.code, ended.text) == (65, "")
    assert "source:1: a chat is more than one question and its answer: 2 questions and answers. --turns" in ended.said
    assert converted(content, "--turns").records == [
        {"prefix": "What?", "suffix": "a cat", "image": "a.jpg", "n": 3},
        {"prefix": "Allowed?", "suffix": "no", "image": "a.jpg", "n": 3},
    ]
    later = converted(
        json.dumps({"messages": [{"role": "user", "content": "Hi"}, turns[1], turns[0], turns[3]]}), "--turns"
    )
    assert (later.code, "a question comes before the image: Hi" in later.said) == (65, True)


# Label Studio.


def result(rng: random.Random, control: str, kind: str, label: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "choices": {"choices": [label]},
        "taxonomy": {"taxonomy": [[label]]},
        "textarea": {"text": [label]},
        "rating": {"rating": 3},
        "rectanglelabels": {"x": 1, "y": 1, "width": 2, "height": 2, "rectanglelabels": [label]},
        "ranker": {"ranker": {"a": [label]}},
        "pairwise": {"selected": label},
        "brushlabels": {"format": "rle", "rle": [1], "brushlabels": [label]},
    }[kind]
    return {"from_name": control, "to_name": "image", "type": kind, "value": value}


KINDS = ["choices"] * 12 + ["taxonomy", "textarea", "rectanglelabels", "ranker", "pairwise", "brushlabels"]


class Task(NamedTuple):
    """A task of Label Studio's, the labels that count in it by control, and everything that has to come through."""

    task: dict[str, Any]
    labels: dict[str, set[str]]
    words: set[str]


def task(rng: random.Random, word: Words, number: int, controls: dict[str, str]) -> Task:
    extra = {word(False, False): word(planted=False) for _ in range(rng.choice([0, 0, 1, 2]))}
    data = {"image": f"{word(False, False)}.jpg", **extra}
    options = [word(False, False), word(False, False)]
    annotations = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        chosen = {control: rng.choice([options[0]] * 6 + [options[1]]) for control in controls if rng.random() < 0.95}
        annotations.append(
            {
                "was_cancelled": rng.random() < 0.1,
                "ground_truth": rng.random() < 0.15,
                "chosen": chosen,
                "result": [result(rng, control, controls[control], label) for control, label in chosen.items()],
            }
        )
    valid = [one for one in annotations if not one["was_cancelled"]]
    counting = [one for one in valid if one["ground_truth"]] or valid
    labels: dict[str, set[str]] = {}
    for one in counting:
        for control, label in one["chosen"].items():
            labels.setdefault(control, set()).add(label)
    for one in annotations:
        del one["chosen"]
    made = {"id": number, "data": data, "annotations": annotations, "predictions": [{"result": [], "model": "m"}]}
    words = {*labels_of(labels), *data.values(), *extra} if labels else set()
    return Task(made, labels, words)


def labels_of(labels: dict[str, set[str]]) -> set[str]:
    return set().union(*labels.values()) if labels else set()


def test_label_studio(converted: Converter, campaign: Campaign) -> None:
    ends = set()
    for seed in range(campaign(200, 5000)):
        rng = random.Random(seed)
        word = Words(rng)
        controls = {f"c{number}": rng.choice(KINDS) for number in range(rng.choice([1] * 9 + [2]))}
        tasks = [task(rng, word, number, controls) for number in range(1, rng.randint(2, 5))]
        content = [one.task for one in tasks]
        ended = converted(content)
        ends.add(ended.code)
        used = {control for one in tasks for control in one.labels}
        readable = all(controls[control] in ("choices", "taxonomy", "textarea") for control in used)
        agreed = all(len(labels) == 1 for one in tasks for labels in one.labels.values())
        some = any(one.labels for one in tasks)
        sound = readable and agreed and some and len(used) == 1
        assert (ended.code == 0) == sound, (ended, content)
        if sound:
            labels = {one.task["id"]: labels_of(one.labels) for one in tasks if one.labels}
            assert {one["id"]: {one["suffix"]} for one in ended.records} == labels
            assert all(json.dumps(text, ensure_ascii=False)[1:-1] in ended.text for one in tasks for text in one.words)
            back = converted(ended.text, "--to", "labelstudio")
            assert [unordered(one) for one in converted(back.text).records] == [unordered(one) for one in ended.records]
        else:
            assert ended.said
        for control in controls if len(controls) > 1 else ():
            if any(control in one.labels for one in tasks) and controls[control] == "choices":
                chosen = converted(content, "--control", control, "--drop")
                once = [one.task["id"] for one in tasks if len(one.labels.get(control, ())) == 1]
                assert [one["id"] for one in chosen.records] == once if once else chosen.code == 65
    assert ends == {0, 65}


def unordered(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True)


# COCO and VQA.


def coco(rng: random.Random, word: Words) -> tuple[dict[str, Any], bool]:
    sound = True
    images = [{"id": number, "file_name": f"{word(False)}.jpg"} for number in range(1, rng.randint(2, 5))]
    annotations: list[dict[str, Any]] = []
    for image in images:
        for _ in range(rng.randint(1, 3)):
            one = {"id": len(annotations), "image_id": image["id"], "caption": word()}
            if rng.random() < 0.2:
                one[word(False)] = rng.choice([word, lambda: [word()], lambda: {"a": word()}])()
            annotations.append(one)
        if rng.random() < 0.2:
            image[word(False)] = word()
    odd = rng.random()
    if odd < 0.1:
        annotations.append({"id": 99, "image_id": images[0]["id"], "category_id": 3, "bbox": [1, 2, 3, 4]})
        sound = False
    elif odd < 0.2:
        annotations.append({"id": 99, "image_id": 77, "caption": word()})
        sound = False
    elif odd < 0.25:
        annotations[0]["caption"] = None
        sound = False
    elif odd < 0.3:
        images.append({"id": 1, "file_name": f"{word(False)}.jpg"})
        sound = False
    return {"images": images, "annotations": annotations, "info": {}, "licenses": []}, sound


def vqa(rng: random.Random, word: Words) -> tuple[dict[str, Any], bool]:
    sound = True
    images = [{"id": number, "file_name": f"{word(False)}.jpg"} for number in range(1, rng.randint(2, 4))]
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(rng.randint(len(images), 6)):
        image = images[number % len(images)]["id"]
        questions.append({"question_id": number, "image_id": image, "question": word()})
        answer: dict[str, Any] = {"question_id": number, "image_id": image}
        how = rng.random()
        if how < 0.6:
            answer["multiple_choice_answer"] = word()
        elif how < 0.7:
            answer["answer"] = word()
        elif how < 0.85:
            answer["answers"] = [{"answer": word(), "answer_id": 1}] * 3
        elif how < 0.92:
            answer["answers"] = [{"answer": word()}, {"answer": word()}]
            sound = False
        else:
            answer = {}
            sound = False
        if rng.random() < 0.2 and answer:
            answer[word(False)] = word()
        annotations += [answer] if answer else []
    if rng.random() < 0.1:
        annotations.append({"question_id": 99, "image_id": 1, "multiple_choice_answer": word()})
        sound = False
    return {"images": images, "questions": questions, "annotations": annotations}, sound


@pytest.mark.parametrize(("kind", "make"), [("coco", coco), ("vqa", vqa)])
def test_coco_and_vqa(
    converted: Converter, campaign: Campaign, kind: str, make: Callable[..., tuple[dict[str, Any], bool]]
) -> None:
    ends = set()
    for seed in range(campaign(200, 5000)):
        rng = random.Random(seed)
        word = Words(rng)
        content, sound = make(rng, word)
        ended = converted(content)
        ends.add(ended.code)
        assert (ended.code == 0) == sound, (ended, content)
        check(ended, word.planted, sound)
        if sound:
            back = converted(ended.text, "--to", kind)
            assert [unordered(one) for one in converted(back.text).records] == [unordered(one) for one in ended.records]
    assert ends == {0, 65}


# Records, into every format and back.


def value(rng: random.Random, word: Words, deep: int = 2) -> Any:
    kind = rng.randrange(8 if deep else 5)
    if kind < 3:
        return word()
    if kind == 3:
        return rng.choice([0, -5, 2.5, 1e300, 12345678901234567890])
    if kind == 4:
        return rng.choice([True, False, None, "", "=1+1", "'=x", "-3", "\t", "@a", " x ", "1.0", "＝1", "null"])  # noqa: RUF001
    if kind < 7:
        return [value(rng, word, deep - 1) for _ in range(rng.randrange(3))]
    return {word(): value(rng, word, deep - 1) for _ in range(rng.randrange(3))}


NAMES = ("/data/{}.jpg", "a b/{}.png", "=cmd|{}", "{}", "../{}.jpg", "-{}.gif", "C:\\x\\{}.bmp", "50%20{}.jpg", " {} ")
LABELS = (
    "yes",
    "no",
    "{}",
    "-1",
    "=1+1",
    " {} ",
    "{}\n{}",
    '"{}"',
    "'{}",
    "'=x",
    "true",
    "1.0",
    "a\t{}",
    "はい{}",
    "None",
)


def record(rng: random.Random, word: Words) -> dict[str, Any]:
    fields = {
        "image": rng.choice(NAMES).format(word(False)),
        "prefix": rng.choice(["", "", word(), f" {word()} ", f"=1+{word()}"]),
        "suffix": rng.choice(LABELS).replace("{}", word(False)),
    }
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        fields[rng.choice([word(), "label", "id", "text", "caption", "=k", " k ", "question", "record", ""])] = value(
            rng, word
        )
    if rng.random() < 0.1:
        fields |= {"p_yes": rng.choice([0.5, 0.123456, 0.1234567, 1.0, 2]), "answer": rng.choice(["yes", "no", "a b"])}
    return fields


def as_table(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What a table makes of records: text in every cell, and a cell for every key."""
    keys = dict.fromkeys(key for one in records for key in one)
    for one in records:
        yield {
            key: one[key]
            if isinstance(one.get(key, ""), str) and key in one
            else to_json(one[key])
            if key in one
            else ""
            for key in keys
        }


@pytest.mark.parametrize("kind", ["jsonl", "tsv", "csv", "labelstudio", "coco", "vqa", "messages"])
def test_there_and_back(converted: Converter, campaign: Campaign, kind: str) -> None:
    ends = set()
    for seed in range(campaign(60, 5000)):
        rng = random.Random(f"{kind}{seed}")
        word = Words(rng)
        records = [record(rng, word) for _ in range(rng.randint(1, 3))]
        ended = converted("".join(json.dumps(one) + "\n" for one in records), "--to", kind)
        ends.add(ended.code)
        if ended.code:
            assert ended.code == 65
            assert ended.said
            continue
        back = converted(ended.text, "--from", kind)
        assert back.code == 0, (back, ended)
        found = back.records
        if kind == "labelstudio":  # which numbers its tasks
            found = [
                one if "id" in record else {k: v for k, v in one.items() if k != "id"}
                for one, record in zip(found, records, strict=True)
            ]
        wanted = list(as_table(records)) if kind == "csv" else records
        if kind == "tsv":
            wanted = [
                {key: one[key] for key in ("image", "prefix", "suffix", "p_yes", "answer") if key in one}
                for one in records
            ]
        assert [unordered(one) for one in found] == [unordered(one) for one in wanted], ended
    assert 0 in ends
    assert kind in ("jsonl", "labelstudio", "coco", "vqa") or 65 in ends


# Damage.

ODD_VALUES = (
    None,
    True,
    0,
    -1,
    1e9,
    "",
    "\0",
    "x" * 3000,
    "data:image/png;base64,!",
    "http://[x/data/",
    [],
    [[]],
    {},
    {"a": 1},
)


def damaged(rng: random.Random, node: Any) -> Any:
    """A value in which something has another value, is missing or is there twice."""
    if isinstance(node, (dict, list)) and node and rng.random() < 0.9:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        changed: Any = dict(node) if isinstance(node, dict) else list(node)
        if rng.random() < 0.1:
            del changed[key]
        elif rng.random() < 0.1 and isinstance(changed, list):
            changed.append(changed[key])
        else:
            changed[key] = damaged(rng, node[key])
        return changed
    return rng.choice(ODD_VALUES)


def made(kind: str, rng: random.Random, word: Words) -> Any:
    if kind == "labelstudio":
        return [task(rng, word, number, {"c": "choices"}).task for number in (1, 2)]
    if kind == "minimal":
        return [{"id": number, "image": word(), "choice": word(), "annotator": 1} for number in (1, 2)]
    if kind == "coco":
        return coco(rng, word)[0]
    if kind == "vqa":
        return vqa(rng, word)[0]
    return chat(rng, word)[0] if kind == "messages" else record(rng, word)


@pytest.mark.parametrize("kind", ["labelstudio", "minimal", "coco", "vqa", "messages", "jsonl"])
def test_damage_is_named(converted: Converter, campaign: Campaign, kind: str) -> None:
    for seed in range(campaign(60, 5000)):
        rng = random.Random(f"{kind}{seed}")
        content = made(kind, rng, Words(rng))
        for _ in range(rng.randint(1, 3)):
            content = damaged(rng, content)
        text = json.dumps(content)
        if rng.random() < 0.1:
            cut = rng.randrange(len(text))
            text = text[:cut] + rng.choice(["", "\\", '"', "{", "NaN", "\ufeff"]) + text[cut + 1 :]
        source = {"minimal": "labelstudio"}.get(kind, kind)
        for options in ((), ("--drop",), ("--from", source), ("--majority", "--from", "labelstudio")):
            ended = converted(text, *options, "--to", rng.choice(convert.FORMATS[:3] + convert.FORMATS[4:]))
            assert ended.code in (0, 2, 65), ended
            assert ended.code == 0 or ended.said
            assert "\0" not in ended.said


def test_renaming_on_the_command_line(converted: Converter) -> None:
    content = (
        '[{"image":"a","label":-1},{"image":"b","label":true},{"image":"c","label":"x=y"},{"image":"d","label":"-q"}]'
    )
    names = ("--rename", "-1=negative", "TRUE=yes", "--rename", "x=y=z", "--rename=-q=w")
    assert [one["suffix"] for one in converted(content, *names).records] == ["negative", "yes", "z", "w"]
    twice = converted(content, "--rename", "-1=a", "--rename", "-1=b")
    assert (twice.code, twice.said) == (2, "--rename: '-1' is to become 'a' and 'b'")
    with pytest.raises(SystemExit):
        converted(content, "--rename", "OLD")

"""Commands on records about texts, as people type them: other formats and back, counts, prompts, baselines, a run."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Run

pytestmark = pytest.mark.quick_programs

NAMES = "obscene,violent,insult,personal"
MAP = ("--map", "1=positive", "0=normal", "-1=negative")


class Task(NamedTuple):
    """A job of the demo's: its file, and the options with which other commands and `convert` read it."""

    data: str
    reading: tuple[str, ...] = ()
    converting: tuple[str, ...] = ()


TASKS = {
    "sentiment": Task("data.jsonl", MAP, ("--rename", *MAP[1:])),
    "emoji": Task("data.tsv"),
    "toxicity": Task("data.csv", ("--label-columns", NAMES), ("--label-columns", NAMES)),
    "chat": Task("data.jsonl"),
}
SEVERAL = """\
{"text": "a", "labels": {"x": "yes", "y": "no"}}
{"text": "b", "labels": {"x": "no", "y": "no"}}
{"text": "c", "labels": {"x": "yes", "y": null}}
"""
FORMATS = ("jsonl", "tsv", "csv", "messages")


class Shell:
    """Commands in a folder that has 40 records of each job."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.run = folder, run

    def __call__(self, *command: str, code: int = 0) -> str:
        """What a command prints on stdout, or where it has to end otherwise on stderr."""
        done = self.run("palitune", *command, cwd=self.folder)
        assert done.returncode == code, f"palitune {' '.join(command)}\n{done.stderr}"
        return done.stderr if code else done.stdout

    def written(self, name: str, text: str) -> str:
        """The name of a file in the folder, with a text in it."""
        (self.folder / name).write_text(text)
        return name

    def converted(self, source: str, to: str, *options: str) -> str:
        """The name of a file in another format."""
        return self.written(
            f"{Path(source).stem}.{Path(source).suffix[1:]}.{to}", self("convert", source, "--to", to, *options)
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("texts"), run)
    for name, task in TASKS.items():
        shell("demo-data", "--task", name, "-o", name, "--count", "60" if name == "emoji" else "40")
        (shell.folder / name / task.data).rename(shell.folder / f"{name}{Path(task.data).suffix}")
    shell.written("prompts.txt", "Is it good?\nWhat is it?\n")
    return shell


def file_of(name: str) -> str:
    return f"{name}{Path(TASKS[name].data).suffix}"


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["sentiment", "emoji"])
@pytest.mark.parametrize("to", FORMATS)
def test_texts_go_to_other_formats_and_back(shell: Shell, name: str, to: str) -> None:
    source = shell("convert", file_of(name), *TASKS[name].converting)
    back = shell("convert", shell.converted(file_of(name), to, *TASKS[name].converting))
    if to == "messages":  # in which a text is what the user says
        back = back.replace('"prefix"', '"text"')
    assert records(back) == records(source)
    assert all(set(one) == {"text", "suffix"} for one in records(source))
    labels = {one["suffix"] for one in records(source)}
    assert labels == {"positive", "normal", "negative"} if name == "sentiment" else len(labels) > 10


def test_what_convert_writes_is_read(shell: Shell) -> None:
    for to in ("jsonl", "tsv", "csv"):
        counted = json.loads(shell("stats", shell.converted(file_of("sentiment"), to), *MAP, "--json"))
        assert sum(counted["labels"].values()) == 40
        assert set(counted["labels"]) == {"positive", "normal", "negative"}
    shell.converted(file_of("toxicity"), "jsonl", *TASKS["toxicity"].converting)
    assert shell("stats", "toxicity.csv.jsonl") == shell("stats", file_of("toxicity"), "--label-columns", NAMES)


def test_several_labels(shell: Shell) -> None:
    table = (shell.folder / file_of("toxicity")).read_text().splitlines()
    lines = shell("convert", file_of("toxicity"), "--label-columns", "obscene,violent,insult,personal")
    found = records(lines)
    assert len(found) == len(table) - 1
    meant = {"1": "yes", "0": "no", "": None}
    assert [list(one["labels"].values()) for one in found if isinstance(one["labels"], dict)] == [
        [meant[cell] for cell in line.rsplit(",", 4)[1:]] for line in table[1:]
    ]
    back = shell.converted(shell.written("several.jsonl", lines), "csv")
    assert shell("convert", back, "--label-columns", NAMES) == lines
    for to in ("tsv", "messages", "labelstudio", "coco", "vqa"):
        said = shell("convert", "several.jsonl", "--to", to, code=65)
        assert "no room for" in said
    assert "both name the label" in shell("convert", back, "--label-columns", "a", "--label-column", "b", code=2)


def test_chats(shell: Shell) -> None:
    whole = records((shell.folder / file_of("chat")).read_text())
    assert records(shell("convert", file_of("chat"))) == whole
    assert records(shell("convert", file_of("chat"), "--to", "messages")) == whole
    said = shell("convert", file_of("chat"), "--to", "tsv", code=65)
    assert "tsv has no room for chats" in said
    one = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho!"}]}
    two = {"messages": [*one["messages"], *one["messages"]]}
    rests = {"messages": [*one["messages"], one["messages"][0], one["messages"][1] | {"weight": 0}]}
    shell.written("chats.jsonl", "".join(f"{json.dumps(each)}\n" for each in (one, two, rests)))
    assert records(shell("convert", "chats.jsonl")) == [{"prefix": "Hi?", "suffix": "Ho!"}, two, rests]
    assert "an answer is not to be learned" in shell("convert", "chats.jsonl", "--turns", code=65)
    shell.written("two.jsonl", f"{json.dumps(two)}\n")
    assert shell("convert", "two.jsonl", "--turns", "--to", "tsv") == "Hi?\tHo!\nHi?\tHo!\n"
    assert shell("convert", shell.converted("two.jsonl", "csv", "--turns")) == '{"prefix":"Hi?","suffix":"Ho!"}\n' * 2


def test_texts_and_images_are_told_apart(shell: Shell) -> None:
    shell.written("both.tsv", "new/a.jpg\tyes\nA text\tno\n\u732b\t\U0001f408\n")
    found = records(shell("convert", "both.tsv"))
    assert [next(key for key in ("image", "text") if key in one) for one in found] == ["image", "text", "text"]
    assert records(shell("convert", shell.converted("both.tsv", "tsv"))) == found
    table = shell.converted("both.tsv", "csv")
    assert [one | {"text": ""} if "image" in one else one for one in found] == records(shell("convert", table))
    assert shell("stats", table) == shell("stats", "both.tsv")
    assert "image" not in shell("convert", "both.tsv", "--text-column", "1")
    assert '"text"' not in shell("convert", "both.tsv", "--image-column", "1")
    said = shell("convert", "both.tsv", "--to", "folders", "-o", "sorted", code=65)
    assert "folders has no room for texts without an image" in said


def test_what_a_table_of_texts_cannot_hold_is_said(shell: Shell) -> None:
    shell.written("odd.jsonl", '{"text":"a\\tb","label":"x"}\n{"text":"a.jpg","label":"x"}\n')
    said = shell("convert", "odd.jsonl", "--to", "tsv", code=65)
    assert "the text has a tab or a line break" in said
    assert "tsv would take a text for an image" in said
    kept = shell("convert", shell.converted("odd.jsonl", "csv"))
    assert [one["text"] for one in records(kept)] == ["a\tb", "a.jpg"]
    shell.written("named.csv", "id,tweet,mood\n1,Good,joy\n")
    assert "--label-columns" in shell("convert", "named.csv", code=65)
    assert records(shell("convert", "named.csv", "--label-column", "mood")) == [
        {"text": "Good", "suffix": "joy", "id": "1"}
    ]
    assert records(shell("convert", "named.csv", "--label-column", "id", "--text-column", "mood")) == [
        {"text": "joy", "suffix": "1", "tweet": "Good"}
    ]


def test_labels_are_counted(shell: Shell) -> None:
    assert "positive" in shell("stats", file_of("sentiment"), *MAP)
    assert shell("stats", file_of("emoji")).splitlines()[-1] == "60 records"
    assert "40 chats: " in shell("stats", file_of("chat"))
    found = json.loads(shell("stats", file_of("toxicity"), "--label-columns", NAMES, "--json"))
    assert list(found["columns"]) == NAMES.split(",")
    piped = shell.run("palitune", "stats", "-", cwd=shell.folder, stdin=(shell.folder / file_of("emoji")).read_text())
    assert piped.stdout == shell("stats", file_of("emoji"))
    assert "say in two ways" in shell("stats", file_of("emoji"), "--columns", "label", "--label-column", "2", code=2)
    alone = shell("aggregate", shell.written("several.jsonl", SEVERAL))
    assert 'several.jsonl, x (labels alone)\n  yes=2 no=1\n  always "yes": accuracy 0.66666' in alone
    assert 'several.jsonl, y (labels alone)\n  no=2\n  always "no": accuracy 1.0\n  without a label: 1' in alone
    one = shell.written("one.jsonl", SEVERAL + '{"text": "d", "label": "yes"}\n')
    assert "one.jsonl:4: one label here, and several above" in shell("aggregate", one, code=65)
    said = {"answer": {"x": "yes", "y": "no"}, "p_yes": {"x": 0.9, "y": 0.1}}
    answers = json.dumps(json.loads(SEVERAL.splitlines()[0]) | said)
    mixed = shell.written("mixed.jsonl", SEVERAL + answers + "\n")
    assert "mixed.jsonl:4: an answer here, and there is none above" in shell("aggregate", mixed, code=65)
    assert "no column says yes or no" in shell("stats", shell.written("none.jsonl", '{"a":"b"}\n'), code=65)


def test_fewer_lines(shell: Shell) -> None:
    thinned = shell("thin", file_of("sentiment"), "--positive", "1", "--target", "0.6")
    assert 0 < len(thinned.splitlines()) < 40
    assert 0 < len(shell("thin", file_of("toxicity"), "--target", "insult=0.4").splitlines()) < 41


ANSWERS = """\
Good\tTrue\t0.900000\tpositive\tpositive
Bad\tFalse\t0.400000\tnegative\tpositive
So so\tTrue\t0.500000\tnormal\tnormal
I like it\tFalse\t0.800000\tpositive\tnormal
"""


def test_answers_in_three_classes(shell: Shell) -> None:
    shell.written("answers.tsv", ANSWERS)
    assert shell("uncertain", "answers.tsv", "-n", "1").startswith("Bad\t")
    wrong = shell("filter", "answers.tsv", "--keep", "fp,fn")
    assert [line.split("\t")[0] for line in wrong.splitlines()] == ["Bad", "I like it"]
    kept = shell.written("kept.tsv", shell("filter", "answers.tsv", "--keep", "fp,fn,tp,tn"))
    assert len((shell.folder / kept).read_text().splitlines()) == 4
    shell("train", kept, "-m", "tinytext", "-s", "kept", "-t", "1", "-b", "4")
    assert list((shell.folder / "checkpoints").glob("kept*"))


def test_a_split_and_its_baselines(shell: Shell) -> None:
    shell("split", file_of("sentiment"), "-n", "one", "-v", "10", "--stratify", *MAP)
    valid = records((shell.folder / "one" / "valid.jsonl").read_text())
    assert {one["label"] for one in valid} == {"1", "0", "-1"}
    table = shell("baseline", "-d", "one", "-m", "tinytext", *MAP)
    assert {"majority", "zero-shot"} <= {line.split("  ")[0] for line in table.splitlines()}
    said = shell("suspect", file_of("sentiment"), "-m", "tinytext", *MAP, code=65)
    assert "--learn fine-tunes a model for every fold" in said


def test_prompts(shell: Shell) -> None:
    model = ("-m", "tinytext")
    table = shell("prompts", "prompts.txt", "-d", file_of("sentiment"), *model, *MAP)
    assert "macro F" in table.splitlines()[0]
    assert "2 prompts, 40 records" in table
    shell.written("words.txt", "Is it good?\ta/b\n")
    assert "'a/b' are not 3 different words" in shell(
        "prompts", "words.txt", "-d", file_of("sentiment"), *model, code=65
    )
    positive = ("--positive", "positive", "--metric", "roc_auc", "--json")
    found = json.loads(shell("prompts", "prompts.txt", "-d", file_of("sentiment"), *model, *MAP, *positive))
    assert {one["figures"]["roc_auc"] is None for one in found} == {False}
    said = shell("prompts", "prompts.txt", "-d", file_of("sentiment"), *model, "--metric", "roc_auc", code=2)
    assert "--positive LABEL takes one" in said
    labels = ("--label-columns", NAMES)
    said = shell("prompts", "prompts.txt", "-d", file_of("toxicity"), *model, *labels, code=2)
    assert "write {label} in each prompt" in said
    shell.written("of_labels.txt", "Is it {label}?\n{label}\n")
    assert "known labels" in shell("prompts", "of_labels.txt", "-d", file_of("toxicity"), *model, *labels)
    assert "free text" in shell("prompts", "prompts.txt", "-d", file_of("chat"), *model, code=2)

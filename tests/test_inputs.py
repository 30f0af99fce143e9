"""One habit in every command: what is read is named by its place, and where a stage has had -d, by -d too."""

import argparse
import importlib
from pathlib import Path

import pytest
from conftest import Run

from palitune.cli import inputs
from palitune.cli.main import COMMANDS

# plan asks about a published size first of all, and chat reads questions from standard input alone
READS_NOTHING = ("chat", "demo-data", "doctor", "plan", "pretrain-tiny")


def parser_of(command: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"palitune.cli.{COMMANDS[command][0]}")
    parser = argparse.ArgumentParser(prog=command)
    module.add_arguments(parser)
    if read := getattr(module, "INPUT", None):
        inputs.accept_by_place(parser, read)
    return parser


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in READS_NOTHING])
def test_what_is_read_is_named_by_its_place(command: str) -> None:
    parser = parser_of(command)
    usage = parser.format_usage()
    places = [part for part in usage.replace("[", " ").replace("]", " ").split() if part.isupper()]
    assert any(place in ("FILE", "DATA", "SOURCE", "NAME", "CHECKPOINT") for place in places[-2:]), usage


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    assert (parser_of(command).epilog or "").startswith("examples:\n"), command


def test_options_mean_the_same_everywhere() -> None:
    meanings: dict[str, set[str]] = {}
    for command in COMMANDS:
        for line in parser_of(command).format_help().splitlines():
            for short, name in zip(line.split(), line.replace(",", " ").split()[1:], strict=False):
                if short.rstrip(",") in ("-i", "-o", "-m", "-w", "-d") and name.startswith("--"):
                    meanings.setdefault(short.rstrip(","), set()).add(name)
    for short, names in meanings.items():
        assert len(names) == 1, f"{short}: {names}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suspect"], "the input is required: FILE, or -d FILE"),
        (["inference", "--resume", "out.tsv"], "the input is required: FILE, or -d FILE"),
        (["split", "a.jsonl", "-d", "b.jsonl"], "FILE and -d name the same input"),
        (["learn", "set1", "-d", "set1"], "DATA and -d name the same input"),
        (["merge", "-w", "whole"], "the input is required: CHECKPOINT, or -m CHECKPOINT"),
        (["split", "a.jsonl", "b.jsonl"], "unrecognized arguments: b.jsonl"),
    ],
)
def test_named_twice_or_not_at_all(arguments: list[str], message: str, tmp_path: Path, run: Run) -> None:
    done = run("palitune", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_by_place_and_by_option_are_the_same(tmp_path: Path, run: Run) -> None:
    home = {"PALITUNE_HOME": str(tmp_path)}
    for command in (
        ["demo-data", "--count", "16", "--quiet"],
        ["split", "dataset/data.jsonl", "-v", "6", "-n", "one"],
        ["split", "-d", "dataset/data.jsonl", "-v", "6", "-n", "two"],
    ):
        done = run("palitune", *command, cwd=tmp_path, env=home)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "dataset").iterdir()} >= {"one", "two"}
    file = "dataset/one/valid.jsonl"
    answers = [
        run("palitune", "inference", "-m", "tiny", "--quiet", *way, cwd=tmp_path, env=home).stdout
        for way in ([file], ["-d", file])
    ]
    assert answers[0] == answers[1] != ""

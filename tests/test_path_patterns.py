"""Expressions over paths mean what Python's mean, and none of a stranger's takes long."""

import json
import random
import re
from pathlib import Path

import pytest
from conftest import Run

from palitune.config.run_config import training
from palitune.path_patterns import Pattern

PATHS = [
    "llm/layers/attn/q_einsum/w",
    "llm/layers/mlp/linear",
    "img/head/kernel",
    "img/pos_embedding",
    "",
    "a",
    "aab",
    "a\nb",
]
USUAL = [
    training().lora_targets,
    r"llm/.*",
    r"(llm|img)/.*",
    r"img/.*kernel",
    r".*/(w|kernel)",
    r"[^/]+/head/\w+",
    r"a?a{1,2}b*",
    r"(?:a|ab)+",
    r"^llm.*w$",
    r"\Aa",
    r"(?i)LLM/.*",
    r"(?i:A)ab",
    r"a{1000}",
    r"(a){101,}",
    r".*\bkernel",
    r".+",
    r"",
    r"[a-c\d]*",
    r"(a*)*b?",
    r"(a|b|){3}",
    r"\S*",
    r"a.b",
    r".*?/head/.*?",
    r"(?P<name>img)/.*",
]


@pytest.mark.parametrize("text", USUAL)
def test_as_pythons(text: str) -> None:
    for path in PATHS:
        assert Pattern(text).matches(path) == (re.fullmatch(text, path) is not None), path


def test_as_pythons_for_a_thousand_others() -> None:
    rng = random.Random(0)

    def made(depth: int) -> str:
        kind = rng.randrange(8 if depth else 3)
        if kind < 3:
            return rng.choice(["a", "b", ".", "[ab]", "[^a]"])
        if kind < 5:
            return made(depth - 1) + made(depth - 1)
        if kind == 5:
            return f"({made(depth - 1)}|{made(depth - 1)})"
        return f"({made(depth - 1)}){rng.choice(['*', '+', '?', '{2}', '{1,3}', '*?', '+?'])}"

    matched = 0
    for _ in range(1000):
        text, path = made(3), "".join(rng.choices("ab", k=rng.randrange(9)))
        found = Pattern(text).matches(path)
        assert found == (re.fullmatch(text, path) is not None), (text, path)
        matched += found
    assert 100 < matched < 900


@pytest.mark.parametrize(
    "text",
    ["(a+)+b", "(a|a)*b", "(a|aa)+b", "(.*)*b", ".*" * 200 + "b", "(.|..)" * 80 + "b", "a?" * 200 + "b", "((a+)+)+b"],
)
def test_ways_are_not_tried_one_after_the_other(text: str) -> None:
    assert not Pattern(text).matches("a" * 150)
    assert Pattern(text).matches("a" * 150 + "b") == (text != "(.|..)" * 80 + "b" or 80 <= 150 <= 160)


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "x" * 501,
        "(?=a)",
        r"(a)\1",
        "(?<!a)b",
        "((" * 200,
        "((a{1000}){1000}){1000}",
        r"a\Z",
        "a{99999999999999}",
    ],
)
def test_what_cannot_be_matched_so_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pattern(text)


def test_a_strangers_configuration_cannot_make_one_wait(run: Run, tmp_path: Path) -> None:
    content = {
        "options": {"lora_targets": "(l?l?m?.*)*" * 40 + "!", "method": "lora"},
        "config": {},
        "data": {},
        "base": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    run("palitune", "download", cwd=tmp_path)
    run("palitune", "demo-data", "--count", "8", cwd=tmp_path)
    done = run("palitune", "train", "--from", "config.json", "dataset/data.jsonl", cwd=tmp_path)
    assert done.returncode in (2, 65, 78), done.stderr

"""docs/design.md walks through the code: the functions that it names exist, and no hop goes back up."""

import ast
import re

import pytest
from conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "design.md").read_text("utf-8")
HOP = re.compile(r"`([\w/]+\.py)`: `(\w+)`")
LISTED = re.findall(r"^\| `([\w/]+\.py)` \|", PAGE.partition("## The package")[2], re.MULTILINE)


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("file", "name"), sorted(set(HOP.findall(PAGE))))
def test_named_functions_exist(file: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / "src" / "palitune" / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_both_walks_are_there() -> None:
    assert len(HOP.findall(section("From a line of JSONL to the report"))) >= 15
    assert len(HOP.findall(section("From an option to its use"))) >= 8


def test_an_option_goes_down() -> None:
    """Every hop stands above its caller in the list, which is the order of imports."""
    rows = re.findall(r"\| `([\w/]+\.py)`: `\w+` \| `([\w/]+\.py)` \|", section("From an option to its use"))
    assert len(rows) >= 8
    for called, caller in rows:
        assert LISTED.index(called) < LISTED.index(caller), f"{caller} calls {called}"

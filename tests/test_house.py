"""The house rules that can be counted: short files and functions, and a command line that only reads arguments."""

import ast
from pathlib import Path

import pytest
from conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "palitune"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION, COMMAND_LINE = 350, 60, 3_000  # lines
METHODS = {"attention", "full", "lora", "qlora"}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def is_command_line(path: Path) -> bool:
    return name_of(path).startswith("cli/")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", [path for path in FILES if not is_command_line(path)], ids=name_of)
def test_only_the_command_line_knows_arguments(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name != "argparse" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module != "argparse"
            assert path.name == "__main__.py" or not f"{node.module}.".startswith("palitune.cli.")
        elif isinstance(node, ast.Attribute | ast.Name):
            assert getattr(node, "attr", getattr(node, "id", "")) != "Namespace"


def test_the_command_line_is_small() -> None:
    total = sum(len(path.read_text("utf-8").splitlines()) for path in FILES if is_command_line(path))
    assert total <= COMMAND_LINE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_methods_name_is_compared(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                compared = isinstance(side, ast.Constant) and side.value in METHODS
                assert not compared, f"line {node.lineno} compares a method's name"

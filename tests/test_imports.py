"""The house rule: imports go down the list only, and what must start quickly imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "palitune"
# Each row may import itself and the rows above.
LAYERS = (
    ("__init__", "errors", "patterns", "trees", "config", "private", "files", "locks", "appended"),
    ("models",),
    ("checkpoint", "data"),
    ("train", "infer"),
    ("judge", "reference"),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = ("jax", "flax", "optax", "numpy", "PIL", "sklearn", "matplotlib", "kagglehub", "sentencepiece")


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    own = LEVEL[part(path)]
    for name in imported(path):
        if name.startswith("palitune."):
            target = name.split(".")[1]
            assert LEVEL.get(target, 0) <= own, f"{path} imports {name}"
        if part(path) in ("data", "judge"):
            assert name.split(".")[0] not in ("jax", "flax", "optax"), f"{path} imports {name}"


def test_the_playground_imports_the_command_line_only() -> None:
    for path in (REPOSITORY / "playground").glob("*.py"):
        assert imported(path) == {"sys", "palitune.cli.main"}
        assert len(path.read_text().splitlines()) < 20


@pytest.mark.parametrize("arguments", [["--help"], ["learn", "--help"], ["validate", "--help"], ["download", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from palitune.cli import main
try:
    main(arguments={arguments!r})
except SystemExit as end:
    assert end.code == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "usage:" in done.stdout


def test_every_module_says_what_it_is() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.name != "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path

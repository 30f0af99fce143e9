"""The house rule: imports go down the list only, and what must start quickly imports nothing heavy."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "palitune"
DESIGN = (REPOSITORY / "docs" / "design.md").read_text("utf-8").partition("## The package")[2]
# Files in the order of the design's table: each may import those above it.
ORDER = {name: place for place, name in enumerate(re.findall(r"^\| `([\w/.]+)` \|", DESIGN, re.MULTILINE))}
NO_JAX = ("data", "evaluate")
HEAVY = (
    *("jax", "flax", "optax", "numpy", "PIL", "sklearn", "matplotlib"),
    *("kagglehub", "huggingface_hub", "httpx2", "sentencepiece", "tokenizers"),
)


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


def file_of(module: str) -> str | None:
    """The file that `palitune.a.b.name` is in, beneath the package's folder."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        name = "/".join(parts[:length])
        if (SOURCE / f"{name}.py").is_file():
            return f"{name}.py"
        if (SOURCE / name).is_dir() and length < len(parts):
            return None  # something of a package itself
    return None


FILES = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name: str) -> None:
    for module in imported(SOURCE / name):
        if module.startswith("palitune.") and (target := file_of(module)) not in (None, name):
            assert ORDER[str(target)] < ORDER[name], f"{name} imports {module}, which the design has below it"
        if name.split("/")[0] in NO_JAX:
            assert module.split(".")[0] not in ("jax", "flax", "optax"), f"{name} imports {module}"


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


TYPED = re.compile(r"^(?:from (palitune[\w.]*) import ([\w, ]+)|import (palitune[\w.]*))", re.MULTILINE)


@pytest.mark.parametrize("folder", ["tests", "bench"])
def test_code_in_strings_imports_what_there_is(folder: str) -> None:
    """Of processes that tests start: nothing else reads it before they do."""
    found = set()
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for module, names, alone in TYPED.findall(node.value):
                    wanted = [name.partition(" as ")[0].strip() for name in names.split(",")] if module else [""]
                    found |= {(path.name, module or alone, name) for name in wanted}
    assert found
    for file, module, name in sorted(found):
        there = importlib.import_module(module)
        if name and not hasattr(there, name):
            assert importlib.util.find_spec(f"{module}.{name}"), f"{file}: no {name} in {module}"


def test_every_module_says_what_it_is() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.name != "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path

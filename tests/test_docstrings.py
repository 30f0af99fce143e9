"""Public functions, classes and methods say what they are for."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src/palitune"
NEEDED = 0.95  # share of what is public that has a docstring
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
    """Public classes and functions of a module, and public methods of public classes; not what is inside functions."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{prefix}{node.name}.")


def inherited(body: list[ast.stmt]) -> set[str]:
    """Methods `Class.name` that have their docstring from a base class in the same module, as `help` shows it."""
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}

    def told(name: str) -> set[str]:
        own = {one.name for one in classes[name].body if isinstance(one, ast.FunctionDef) and ast.get_docstring(one)}
        return own | from_bases(name)

    def from_bases(name: str) -> set[str]:
        names = {one.id for base in classes[name].bases for one in ast.walk(base) if isinstance(one, ast.Name)}
        return set().union(*(told(base) for base in names if base in classes))

    return {f"{name}.{method}" for name in classes for method in from_bases(name)}


def test_what_is_public_has_a_docstring() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        body = ast.parse(path.read_text()).body
        known = inherited(body)
        for name, node in public(body, ""):
            found.append((f"{path.relative_to(SOURCE)}: {name}", name in known or ast.get_docstring(node) is not None))
    without = [name for name, has_docstring in found if not has_docstring]
    share = 1 - len(without) / len(found)
    assert share >= NEEDED, f"{share:.3f}; without a docstring: {without}"


def test_every_module_says_what_it_is_for() -> None:
    modules = [path for path in SOURCE.rglob("*.py") if path.read_text().strip()]
    assert [path.name for path in modules if not ast.get_docstring(ast.parse(path.read_text()))] == []

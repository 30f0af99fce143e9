"""The messages that docs/troubleshooting.md names are those that the program prints."""

import ast
import re

import pytest
from conftest import REPOSITORY

ROW = re.compile(r"^\| (.+?) \| .* \|$", re.MULTILINE)
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8")
MESSAGES = [message for cell in ROW.findall(PAGE) for message in re.findall(r"`([^`]+)`", cell)]
# What is typed or named in a first column, and is no message.
NAMES = {"file:line:", "cache/"}


def text_of(node: ast.AST) -> str:
    """A string as it is printed, with `…` for what is filled in; nothing for any other node."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def printed() -> list[str]:
    """Every string of the package, and the scripts of a host shell line by line."""
    package = [ast.parse(path.read_text("utf-8")) for path in (REPOSITORY / "src").rglob("*.py")]
    scripts = [path for folder in ("bin", "playground") for path in (REPOSITORY / folder).glob("*.[ps][yh]")]
    lines = [line for path in scripts for line in path.read_text("utf-8").splitlines()]
    return [text_of(node) for tree in package for node in ast.walk(tree)] + lines


PRINTED = [text for text in printed() if text]


@pytest.mark.parametrize("message", sorted(set(MESSAGES) - NAMES))
def test_the_message_is_printed(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")))
    assert any(pattern.search(text) for text in PRINTED), f"nothing prints {message!r}"


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 60

"""A Japanese page says what the English one says: the same commands, tables, lists and links."""

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

JAPANESE = sorted([*REPOSITORY.glob("*.ja.md"), *REPOSITORY.glob("docs/*.ja.md")])
BLOCK = re.compile(r"^```.*?^```$|^(?: {4}[^\n]*\n)+", re.DOTALL | re.MULTILINE)
COUNTED = (r"^## ", r"^### ", r"^\| ", r"^\* ", r"^!\[", r"^\d\. ")
LINK = re.compile(r"\]\(([^)]+)\)")
# Commands, options and messages in running text, wherever a sentence puts them.
TYPED = re.compile(r"`([^`\n]+)`")
KANA = re.compile(r"[ぁ-んァ-ヶ一-龠]")


def english(page: Path) -> Path:
    return page.with_name(page.name.replace(".ja.md", ".md"))


def same_in_both(link: str) -> str:
    """A link without the language of the page it leads to, nor the headings of a Japanese one."""
    return link.replace(".ja.md", ".md").partition("#")[0] if not link.startswith("https:") else link


def links(page: Path) -> set[str]:
    return {same_in_both(link) for link in LINK.findall(page.read_text("utf-8"))}


def test_there_are_pages() -> None:
    assert {"README.ja.md", "troubleshooting.ja.md"} <= {page.name for page in JAPANESE}


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_commands_and_output_are_the_same(page: Path) -> None:
    assert BLOCK.findall(page.read_text("utf-8")) == BLOCK.findall(english(page).read_text("utf-8"))


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_the_parts_are_the_same(page: Path) -> None:
    japanese, other = page.read_text("utf-8"), english(page).read_text("utf-8")
    for pattern in COUNTED:
        assert len(re.findall(pattern, japanese, re.MULTILINE)) == len(re.findall(pattern, other, re.MULTILINE)), (
            pattern
        )


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_what_is_typed_is_the_same(page: Path) -> None:
    japanese, other = (set(TYPED.findall(BLOCK.sub("", path.read_text("utf-8")))) for path in (page, english(page)))
    assert japanese == other, f"{page.name} alone: {japanese - other}; {english(page).name} alone: {other - japanese}"


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_links_are_the_same_and_lead_to_each_other(page: Path) -> None:
    assert links(page) == links(english(page))
    assert f"({english(page).name})" in page.read_text("utf-8")
    assert f"({page.name})" in english(page).read_text("utf-8")


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_links_prefer_japanese_pages(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        target = page.parent / link.partition("#")[0]
        if link.partition("#")[0] != english(page).name and target.suffix == ".md" and ".ja" not in target.name:
            assert not target.with_name(f"{target.stem}.ja.md").exists(), link


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_every_paragraph_is_japanese(page: Path) -> None:
    for paragraph in BLOCK.sub("", page.read_text("utf-8")).split("\n\n"):
        text = TYPED.sub("", re.sub(r"\[[^]]*\]\([^)]*\)|^#.*$|[|:-]", "", paragraph, flags=re.MULTILINE))
        if len(text.split()) > 3:
            assert KANA.search(text), paragraph

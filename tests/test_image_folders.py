"""Names of pictures that are written in another way than the file's name and mean it."""

import unicodedata
from pathlib import Path

import pytest

from palitune.data.image_folders import ImageFolders

NAME = "\u30ac\u30e0/caf\u00e9 \u5e83\u544a.jpg"


def form(name: str, kind: str) -> str:
    return unicodedata.normalize(kind, name)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("folder", ["NFC", "NFD"])
@pytest.mark.parametrize("file", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one(tmp_path: Path, asked: str, folder: str, file: str) -> None:
    parent, name = NAME.split("/")
    path = write(tmp_path / "images" / form(parent, folder) / form(name, file))
    for wanted in (f"{form(parent, asked)}/{form(name, asked)}", f"{form(parent, asked)}\\{form(name, asked)}"):
        assert ImageFolders([tmp_path, tmp_path / "images"]).locate(wanted, "d:1") == path


def test_the_exact_name_comes_first(tmp_path: Path) -> None:
    paths = {kind: write(tmp_path / form(NAME, kind)) for kind in ("NFC", "NFD")}
    other = write(tmp_path / "other" / form(NAME, "NFC"))
    for kind, path in paths.items():
        assert ImageFolders([tmp_path / "other", tmp_path]).locate(form(NAME, kind), "d:1") == (
            other if kind == "NFC" else path
        )
        assert ImageFolders([tmp_path]).locate(form(NAME, kind), "d:1") == path
    # Of two folders the one that has the file.
    paths["NFD"].unlink()
    assert ImageFolders([tmp_path]).locate(form(NAME, "NFD"), "d:1") == paths["NFC"]


def test_other_names_are_others(tmp_path: Path) -> None:
    write(tmp_path / "caf\u00e9.jpg")
    for name in ("cafe.jpg", "Caf\u00e9.jpg", "caf\u00e8.jpg", "\uff43af\u00e9.jpg", "\u00e9" * 300):
        assert not ImageFolders([tmp_path]).locate(name, "d:1").name.startswith("caf\u00e9")

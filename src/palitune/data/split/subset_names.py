"""Which part of a split a file is, as its name and its folders' names say: Roboflow's, maestro's and people's own."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

TRAIN, VALID, TEST = PARTS = ("train", "valid", "test")
WORDS = {
    TRAIN: re.compile(r"train(s|ing|ed|set|sets|data)?|trn|learn(ing)?|学習|訓練"),
    VALID: re.compile(
        r"val(s|set|data)?|valid(s|set|data)?|validat(e|ion|ing)(set|data)?|dev|eval|evaluation|検証|評価"
    ),
    TEST: re.compile(r"test(s|ing|set|sets|data)?|holdout|テスト|試験"),
}
# Words of a name: `trainSet2`, `my-val`, `_annotations.train` and `学習データ` have some.
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|学習|訓練|検証|評価|テスト|試験")
DEPTH = 3  # folders above a file that may say it


def said_by(name: str) -> str | None:
    """The part that a name says; None where it says none, or several."""
    words = [word.lower() for word in WORD.findall(name)]
    found = {part for part in PARTS for word in words if WORDS[part].fullmatch(word)}
    return found.pop() if len(found) == 1 else None


def of(paths: Sequence[Path]) -> dict[Path, str | None]:
    """The part that each of some files is, of one data set; None where that cannot be told.

    A file's own name counts, then its folders' from the inside out, as far as the files do not share them: that all
    are in `~/test` says nothing. Of a single file it is its own folder.
    """
    full = {path: Path(os.path.abspath(path)) for path in paths}
    shared = Path(os.path.commonpath(list(full.values()))) if len(paths) > 1 else None
    found = {}
    for path in paths:
        folders = [folder for folder in full[path].parents if shared is None or folder.is_relative_to(shared)]
        names = [full[path].stem, *(folder.name for folder in folders if folder != shared)]
        said = (said_by(name) for name in names[: 2 if shared is None else 1 + DEPTH])
        found[path] = next((part for part in said if part is not None), None)
    return found


def within(folder: Path, part: str, kinds: Sequence[str]) -> list[Path]:
    """The files of a part of a data set in a folder: of the folder itself, or else of the folders in it."""
    here = [path for path in _files(folder, kinds) if said_by(path.stem) == part]
    if here:
        return here
    inner = [path for one in _folders(folder) for path in _files(one, kinds)]
    return [path for path in inner if (said_by(path.stem) or said_by(path.parent.name)) == part]


def _files(folder: Path, kinds: Sequence[str]) -> list[Path]:
    endings = tuple(f".{kind}" for kind in kinds)
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.name.lower().endswith(endings) and one.is_file())
    return [folder / name for name in names if not name.startswith(".")]


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(one.name for one in entries if one.is_dir() and said_by(one.name))]


def assumed(parts: Mapping[Path, str | None]) -> str | None:
    """A sentence about files of which the part is not known, and what is made of them; None where all are."""
    unknown = [str(path) for path, part in parts.items() if part is None]
    if len(parts) < 2 or not unknown:
        return None
    known = {part for part in parts.values() if part is not None}
    listed = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    if known == {TRAIN}:
        made = "it is used for evaluation, because another file is for training"
    elif known:
        made = "an image that is also in a file for evaluation stays there"
    else:
        made = "of an image in several files the first one named keeps it"
    return f"{listed}: neither train nor valid in the name; {made}"


def keeps_first(part: str | None) -> int:
    """The order in which files keep a shared image: files for evaluation, unknown files, files for training."""
    return {TRAIN: 2, None: 1}.get(part, 0)

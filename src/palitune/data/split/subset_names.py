"""Which subset of a split a file is (training, validation or test), by its name and the names of its folders.

The names are those of Roboflow and maestro, and what people call their own files.
"""

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
# The words of a name such as `trainSet2`, `my-val`, `_annotations.train` or `学習データ`.
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|学習|訓練|検証|評価|テスト|試験")
DEPTH = 3  # folders above a file whose names count


def said_by(name: str) -> str | None:
    """Returns the subset that a name says; None if it says none, or several."""
    words = [word.lower() for word in WORD.findall(name)]
    found = {part for part in PARTS for word in words if WORDS[part].fullmatch(word)}
    return found.pop() if len(found) == 1 else None


def of(paths: Sequence[Path]) -> dict[Path, str | None]:
    """Returns the subset that each file of a data set is; None for a file of which the names do not say it.

    A file's own name comes first, then those of its folders from the inside out. Folders that all files share do not
    count: that all are in `~/test` says nothing. For a single file, its own folder counts.
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
    """Returns the files of a subset in a folder, or if it has none itself, in the folders in it."""
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
    """Returns a sentence on how files of an unknown subset are treated; None if there are none."""
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
    """Returns a sort key: the file that keeps an image of several files is one for validation or test, if possible."""
    return {TRAIN: 2, None: 1}.get(part, 0)

"""The files of a data set by what was typed: a split, by its name or folder, or one file of records."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from palitune.config.model import FolderSettings
from palitune.console import command
from palitune.data import example_files
from palitune.data.example import Example
from palitune.data.formats import error_hints
from palitune.data.formats.lines import KINDS
from palitune.data.image_folders import ImageFolders
from palitune.data.split import subset_names
from palitune.errors import BadDataError, MissingInputError, UsageError, listed
from palitune.labels import LABELS
from palitune.storage import files

PARTS = ("train", "valid")


def require_data(name: str) -> None:
    """Raises MissingInputError if there is no such file of records, with the files of a split of that name."""
    path = Path(name)
    if name != "-" and not path.exists():
        split = [file for kind in KINDS if (file := Path("dataset") / name / f"valid.{kind}").is_file()]
        hint = f"Did you mean {split[0]}?" if split else error_hints.of_missing(path)
        raise MissingInputError("no such file", where=name, hint=hint)


def load(path: Path, folders: FolderSettings | None = None, *, labels: Sequence[str] | None = LABELS) -> list[Example]:
    """A file's labelled examples, each with its image's file and one of the labels; None is any label.

    Args:
      folders: where images are; None is the data file's folder or the one above.

    Raises:
      MissingInputError, BadDataError: naming the line.
    """
    require_data(str(path))
    found = example_files.read(path, ImageFolders.of(path, folders or FolderSettings()))
    if labels is not None:
        example_files.require_labels(found, labels)
    return found


def read(
    path: str | Path,
    *,
    images: str | None = None,
    allow_outside: bool = False,
    labelled: bool = False,
    records: FolderSettings | None = None,
) -> list[Example]:
    """All examples of a file of JSONL, TSV or CSV, each with its image's file; labels may be anything.

    Args:
      images: the folder that image names are relative to; None is the file's folder or the one above.
      allow_outside: images may be anywhere.
      labelled: every example needs a label.
      records: which columns or keys are the image, the text and the label, and what else is said of records.

    Raises:
      MissingInputError, BadDataError: naming the line.
    """
    settings = dataclasses.replace(records or FolderSettings(), images=images, allow_outside=allow_outside)
    folders = ImageFolders.of(Path(path), settings)
    found = example_files.stream(Path(path), labelled, folders)
    return [folders.placed(one) for one in found]


def learning_file(name: str) -> str:
    """A file of records, or what a split's name (or folder) has to learn from. Raises as `data_files`."""
    if name == "-" or Path(name).is_file():
        return name
    if Path(name).is_dir() or (Path("dataset") / name).is_dir():
        return str(data_files(name)[0])
    require_data(name)
    return name


def data_files(name: str, validation: str | None = None) -> tuple[Path, Path | None]:
    """What to train on and to evaluate on: a split (a name in `dataset/`, or its folder), or a file of records.

    Args:
      validation: a file; without it a split's own, and of a single file none.

    Raises:
      MissingInputError: a part is not there.
    """
    if "-" in (name, validation):
        raise UsageError("a run reads its data more than once", hint="Write standard input into a file first")
    if not Path(name).name:
        raise UsageError(f"-d {name!r} names no data")
    for one in filter(None, (name, validation)):
        files.require_text(one)
    folder, validation_file = Path(name), Path(validation) if validation else None
    if folder.is_file():
        return folder, validation_file
    if folder.suffix.lower() in (".tsv", ".jsonl", ".csv", ".json"):
        raise MissingInputError("no such file", where=name, hint=error_hints.of_missing(folder))
    inside = Path("dataset") / folder
    if not folder.is_absolute() and (not folder.is_dir() or (folder.name == name and inside.is_dir())):
        folder = inside
    found = []
    for part in PARTS:
        named = [folder / f"{part}.{kind}" for kind in KINDS]
        path = next((path for path in named if path.is_file()), None) or _part_within(folder, part)
        if path is None:
            if (folder / "fold1").is_dir():
                raise MissingInputError("these are folds", where=str(folder), hint=f"Name one of them: {name}/fold1")
            make = f"Make it with {command('split')} -n {name}"
            other = "A split elsewhere is named by its folder, and a file of records by its path"
            if Path(name).is_dir():  # it is there, and has no such part
                what = f"A split, as {command('split')} makes it, has {' and '.join(PARTS)}"
                hint = f"{what}. {error_hints.of_folder(Path(name))}"
            else:
                hint = f"{make}. {other}" if Path(name).name == name else other
                hint = error_hints.of_missing(folder) or hint
            raise MissingInputError("no such file", where=str(named[0]), hint=hint)
        found.append(path)
    return found[0], validation_file or found[1]


def folds_of(name: str) -> list[Path]:
    """The held-out part of each fold of a split into folds, by its name or folder, or NAME/fold*; else nothing.

    Raises:
      BadDataError: a fold is not there, and one behind it is.
    """
    folder = Path(name).parent if Path(name).name == "fold*" else Path(name)
    folder = folder if folder.is_dir() else Path("dataset") / folder
    found: list[Path] = []
    for number in itertools.count(1):
        parts = [folder / f"fold{number}" / f"valid.{kind}" for kind in KINDS]
        if (path := next((path for path in parts if path.is_file()), None)) is None:
            break
        found.append(path)
    behind = [
        int(part.parent.name[4:])
        for kind in KINDS
        for part in folder.glob(f"fold[0-9]*/valid.{kind}")
        if part.parent.name[4:].isdecimal()
    ]
    if behind and max(behind) > len(found):
        what = f"fold{max(behind)} is here, and fold{len(found) + 1} is not"
        raise BadDataError(what, where=str(folder), hint="palitune split --folds makes all of them")
    return found


def every_file(names: Sequence[str]) -> list[Path]:
    """Files of records, and those of splits by their names or folders. `shuffle` is left out beside the parts it holds.

    Raises:
      UsageError: standard input, which can be read only once.
      MissingInputError: a split has no such part.
    """
    found: list[Path] = []
    for name in names:
        folder = Path(name) if Path(name).exists() else Path("dataset") / name
        if folder.is_dir():
            found += [path for path in data_files(name) if path is not None]
            found += subset_names.within(folder, subset_names.TEST, KINDS)[:1]
        else:
            found.append(Path(name))
    parents = [path.parent for path in found]
    found = [path for path in found if path.stem != "shuffle" or parents.count(path.parent) == 1]
    if "-" in map(str, found):
        raise UsageError("lint reads files more than once", hint="Write standard input into one first")
    return list(dict.fromkeys(found))


def _part_within(folder: Path, part: str) -> Path | None:
    """A part by another name, as Roboflow and others write it. Raises UsageError: it may be one of several files."""
    found = subset_names.within(folder, part, KINDS) if folder.is_dir() else []
    if len(found) > 1:
        hint = "Name the file with -d, and with --valid-data the one for evaluation"
        raise UsageError(f"{folder}: several files say {part}: {listed(list(map(str, found)))}", hint=hint)
    return found[0] if found else None

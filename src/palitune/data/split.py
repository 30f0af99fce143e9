"""Shuffling records and parting them into training and validation."""

import filecmp
import shutil
import tempfile
from pathlib import Path

from palitune import config, files
from palitune.data import records
from palitune.errors import OutputExistsError, StorageError, UsageError


def split(source: Path, folder: Path, validation: int, seed: int, overwrite: bool = False) -> tuple[int, int]:
    """Writes `shuffle.jsonl`, `valid.jsonl` (its first `validation` lines) and `train.jsonl` (the rest) into `folder`.

    Lines are copied byte for byte. The order depends on the seed and on the folder's name, so that set1 and set2 differ
    under one seed. The folder appears whole or not at all.

    Returns:
      The numbers of training and validation records.

    Raises:
      BadDataError: a line is no record.
      UsageError: `validation` is not between 1 and one less than the number of records.
      OutputExistsError: the folder holds another split already, and `overwrite` is false.
      StorageError: the folder cannot be written.
    """
    lines = records.read_lines(source)
    for where, text in lines:
        records.parse(text, where, [source.parent])
    if not 0 < validation < len(lines):
        raise UsageError(
            f"-v {validation} leaves no training data: {source} has {len(lines)} records"
            if validation > 0
            else f"-v {validation}: validation needs at least one record",
            hint=f"Use -v 1 to -v {len(lines) - 1}" if len(lines) > 1 else "Add records",
        )
    order = config.generator(seed, "split", folder.name).permutation(len(lines))
    shuffled = [lines[index][1] + "\n" for index in order]
    parts = {"shuffle": shuffled, "valid": shuffled[:validation], "train": shuffled[validation:]}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(folder)) from None
    try:
        for name, part in parts.items():
            files.write(fresh / f"{name}.jsonl", "".join(part).encode())
        _install(fresh, folder, [f"{name}.jsonl" for name in parts], overwrite)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(parts["train"]), len(parts["valid"])


def _install(fresh: Path, folder: Path, names: list[str], overwrite: bool) -> None:
    """Puts a finished folder in place; the same split again changes nothing."""
    if folder.is_dir():
        same, _, _ = filecmp.cmpfiles(fresh, folder, names, shallow=False)
        if len(same) == len(names):
            return
        present = [name for name in names if (folder / name).exists()]
        if present and not overwrite:
            hint = "Use another name with -n, or --overwrite"
            raise OutputExistsError("another split is there already", where=str(folder), hint=hint)
        for name in names:
            (fresh / name).replace(folder / name)
        files.sync_folder(folder)
        return
    if folder.exists():
        raise OutputExistsError("a file has this name", where=str(folder), hint="Use another name with -n")
    fresh.chmod(0o755)
    fresh.rename(folder)
    files.sync_folder(folder.parent)

"""All runs of some folders, as their own folders tell. There is no other record of them. Imports nothing heavy."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import console, home
from palitune.errors import NAMED, MissingInputError, PalituneError, printable
from palitune.evaluate.past_run import PastRun
from palitune.run import run_reading

ENDING = ".run"


class Ledger(NamedTuple):
    """Runs, and what is wrong with folders that are left out."""

    runs: list[PastRun]
    left_out: list[PalituneError]


def read(folders: Sequence[str] = ()) -> Ledger:
    """The runs of folders, the oldest first.

    Args:
      folders: each has folders of runs in it, or is one; none are checkpoints/.

    Raises:
      MissingInputError: there is no such folder.
    """
    runs, left_out = [], []
    checkpoints = home.checkpoints()
    for folder in _run_folders(folders, checkpoints):
        try:
            runs.append(run_reading.read(folder, name_of(folder, checkpoints)))
        except PalituneError as error:
            left_out.append(error)
    return Ledger(sorted(runs, key=lambda one: (one.began, one.name)), left_out)


def tell(left_out: Iterable[PalituneError]) -> None:
    """Says on stderr which folders are left out and why, `NAMED` of a kind, and how many more there are."""
    told: Counter[str] = Counter()
    for one in left_out:
        told[one.kind] += 1
        if told[one.kind] <= NAMED:
            console.note(f"left out: {one.where}: {one.what}")
    for kind, count in told.items():
        if count > NAMED:
            console.note(f"left out: {printable(kind)}: {count - NAMED} more")


def tell_of_table(folders: Sequence[str], shown: int, found: int, left_out: Sequence[str]) -> None:
    """Says on stderr what a table of the runs of some folders does not show."""
    if not found:
        place = f"no runs in {', '.join(folders) or home.checkpoints()}"
        console.note(f"{place}: {console.command('learn')} -w NAME makes one")
    elif shown < found:
        console.note(f"{shown} of {found} runs")
    if left_out:
        what = f"no room for {', '.join(left_out)}"
        console.note(f"{what}: a wider terminal or COLUMNS=250 shows more, --json all")


def of_name(name: str) -> PastRun:
    """The run of a name, as `-m` takes it, or of its folder.

    Raises:
      MissingInputError: there is none.
      BadDataError: its folder is damaged.
    """
    folder = folder_of(name)
    return run_reading.read(folder, name_of(folder))


def folder_of(name: str) -> Path:
    """The folder of the run of a name. Raises MissingInputError."""
    typed = name.rstrip("/")
    if typed.endswith(ENDING) and Path(typed).is_dir():
        return Path(typed)
    places = places_of(typed)
    for place in places:
        if place.is_dir():
            return place
    looked = f" (looked for {places[0]})" if places else ""
    raise MissingInputError(f"no run {name!r}{looked}", hint="palitune runs lists those there are")


def places_of(name: str) -> list[Path]:
    """Where the folder of the run of a name may be, the likeliest first; none of what is no name, as "." and ".."."""
    typed = name.rstrip("/").removesuffix(ENDING)
    is_name = Path(typed).name not in ("", "..")  # of "." it is empty
    return [one.with_suffix(ENDING) for one in home.candidates(typed)] if is_name else []


def name_of(folder: Path, checkpoints: Path | None = None) -> str:
    """What `-m` calls the checkpoint of a run: its name in checkpoints/, else its path.

    Args:
      checkpoints: where that folder is, if it has been looked for.
    """
    name = folder.name.removesuffix(ENDING)
    is_ours = os.path.abspath(folder.parent) == os.path.abspath(checkpoints or home.checkpoints())
    return name if is_ours else str(folder.with_name(name))


def _run_folders(folders: Sequence[str], checkpoints: Path) -> list[Path]:
    """The folders of runs in some folders, each once."""
    found = []
    for name in folders:
        if not Path(name).is_dir():
            raise MissingInputError("no such folder", where=name, hint="Name a folder that has NAME.run folders in it")
        whole = Path(name)
        found += [whole] if whole.name.endswith(ENDING) else sorted(whole.glob(f"*{ENDING}"))
    if not folders:
        found = sorted(checkpoints.glob(f"*{ENDING}"))
    return list(dict.fromkeys(found))

"""The folder of a loop, `NAME.iterate/`: what it was asked for, and every step that it has taken.

Its file of steps is all that decides: what stands in it is not done again, so that a loop which was killed comes to the
same end as one that was not.
"""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune import home, workspace
from palitune.checkpoint import beside
from palitune.config.iterate_config import IterateConfig
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, StorageError
from palitune.sentence import recalled
from palitune.storage import atomic_files, files, locks

MOST = 64 << 20  # bytes of the steps
MOST_CANDIDATES = 100_000
TRY = "try-"
LEARNED = re.compile(rf"{TRY}\d{{1,6}}-\d{{1,3}}|last|recipe-again|round-\d{{1,3}}")  # keys of steps that learn
STEP, PLAN, CUT, END = "step", "plan", "cut", "finished"  # events


class Step(NamedTuple):
    """A step that was taken.

    Attributes:
      key: its name among the steps.
      title: what it is, for a person.
      command: what a person can type to take it.
      seconds: that it took.
      code: its exit code; not 0 where it failed and the loop went on without it.
      facts: what the loop has learned of it.
    """

    key: str
    title: str
    command: str
    seconds: float
    code: int
    facts: Mapping[str, Any]

    def as_row(self) -> dict[str, object]:
        """The step as a line of the file of steps."""
        made = {"sentence": self.title.as_json()} if hasattr(self.title, "as_json") else {}
        return {"event": STEP, **self._asdict(), **made}


class LoopFolder:
    """The folder of a loop, and the steps in it.

    Attributes:
      steps: those that were taken, by their keys.
      events: what else was decided, by its name.
    """

    def __init__(self, target: Path) -> None:
        """`target` is the checkpoint that the loop makes."""
        self.target = target
        self.path = beside.loop_of(target)
        self.file = self.path / "steps.jsonl"
        self.config = self.path / "config.json"
        self.page = self.path / "report.html"
        self.lock = self.path / "lock"
        self.steps: dict[str, Step] = {}
        self.events: dict[str, Mapping[str, Any]] = {}

    @property
    def shown(self) -> str:
        """The folder as it is typed."""
        return typed(self.path)

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Makes the folder and keeps other processes out of it. Raises as `locks.held_folder`."""
        if self.path.is_symlink():
            raise StorageError("a link is where the loop's folder would be", where=self.shown, hint="Remove the link")
        return locks.held_folder(self.lock, "loop")

    def begin(self, config: IterateConfig, facts: Mapping[str, object]) -> None:
        """Empties the folder, and writes down what is asked for."""
        for path in self.path.iterdir():
            if path.name != self.lock.name:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        options = {name: value for name, value in config.options().items() if name not in ("resume", "overwrite")}
        atomic_files.write(self.config, (json.dumps({"options": options, **facts}, indent=2) + "\n").encode())

    def read(self, *, is_held: bool = True) -> dict[str, Any]:
        """What was asked for, with the steps that were taken. What a killed process left half-written is removed.

        Args:
          is_held: nobody else can be writing; otherwise the folder is left as it is.

        Raises:
          MissingInputError: no loop was begun here.
          BadDataError: its files are damaged.
        """
        try:
            content = dict(json.loads(files.read(self.config, MOST)))
            lines = files.read(self.file, MOST).split(b"\n") if self.file.exists() else []
            whole = lines[:-1]  # behind the last end of a line is what was half-written
            for row in map(json.loads, whole):
                self._take(row)
        except FileNotFoundError:
            hint = "palitune iterate -d DATA begins one"
            raise MissingInputError("no loop of this name was begun", where=self.shown, hint=hint) from None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            hint = "--overwrite begins it again"
            raise BadDataError(f"damaged: {str(error)[:100]}", where=self.shown, hint=hint) from None
        if is_held and self.file.exists() and lines[-1]:
            os.truncate(self.file, sum(len(line) + 1 for line in whole))
        return content

    def write(self, row: Mapping[str, object]) -> None:
        """Adds a line to the steps, and has it on disk."""
        with files.open_to_append(self.file) as file:
            file.write(json.dumps(row).encode() + b"\n")
            os.fsync(file.fileno())
        self._take(json.loads(json.dumps(row)))

    def _take(self, row: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for what no loop writes."""
        event = str(row["event"])
        if event != STEP:
            if event == PLAN and not 1 <= int(row["first"]) <= MOST_CANDIDATES:
                raise ValueError("no count of candidates")
            self.events[event] = row
            return
        key, title = str(row["key"]), recalled(str(row["title"]), row.get("sentence"))
        seconds, code, facts = float(row["seconds"]), int(row["code"]), dict(row["facts"])
        if code:
            facts = {"error": str(facts["error"])}
        elif LEARNED.fullmatch(key):
            numbers = {name: float(facts[name]) for name in ("loss", "right", "total")}
            if not all(map(math.isfinite, numbers.values())) or not 0 <= numbers["right"] <= numbers["total"] != 0:
                raise ValueError("no figures of a run")
        elif key.startswith(TRY):
            raise ValueError("no try")
        self.steps[key] = Step(key, title, str(row["command"]), seconds, code, facts)

    @property
    def seconds(self) -> float:
        """That all steps took together."""
        return sum(step.seconds for step in self.steps.values())

    @property
    def is_over(self) -> bool:
        """Whether the loop has come to its end."""
        return END in self.events


def of_name(name: str) -> LoopFolder:
    """The folder of a loop by the name of its result, as `-w` has it."""
    return LoopFolder(workspace.checkpoint_to_write(name))


def require_free(folder: LoopFolder, overwrite: bool) -> None:
    """Raises OutputExistsError if a loop, a run or a checkpoint would be replaced unasked."""
    if overwrite:
        return
    if folder.config.exists():
        hint = f"Continue it: palitune iterate --resume -w {workspace.name_of(folder.target)}. Or --overwrite"
        raise OutputExistsError("a loop of this name was begun", where=folder.shown, hint=hint)
    workspace.check_free(folder.target, overwrite)
    if beside.run_of(folder.target).exists():
        hint = "Use another name with -w, or --overwrite"
        raise OutputExistsError("a run of this name is there", where=str(beside.run_of(folder.target)), hint=hint)


def typed(path: Path) -> str:
    """A path as a person types it here: relative where it is within the current folder."""
    here = Path.cwd()
    found = path.resolve()
    return str(found.relative_to(here)) if found.is_relative_to(here) else str(path)


def name_of(target: Path) -> str:
    """What `-w` calls a checkpoint: its name in checkpoints/, else its path without an ending."""
    is_ours = os.path.abspath(target.parent) == os.path.abspath(home.checkpoints())
    return target.stem if is_ours else typed(target.with_suffix(""))

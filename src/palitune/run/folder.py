"""What a run leaves beside its checkpoint: `NAME.run/` with its configuration, metrics and, until it ends, its state.

One process at a time may hold it.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from palitune.checkpoint import beside
from palitune.data import answer_source
from palitune.errors import BadDataError, MissingInputError
from palitune.storage import atomic_files, files, locks

MOST = 64 << 20  # bytes of a run's configuration, which names every record's source
LONGEST_LINE = 1 << 20  # bytes of a line of the metrics
TRIAL = re.compile(r"trial-\d+\.npz")
HALF_A_TRIAL = re.compile(r"\.trial-\d+\.npz\.[a-z0-9_]{8}")  # as `atomic_files.leftovers` has it
UNTRAINED = "zero trained"  # what result blocks from before learning are called
EVALUATED = "evaluated"  # an event of a run's metrics: the figures of a set
COMBINED = "combined"  # an event of a run: what several trials together are worth
OUT_OF_FOLD = "out_of_fold"  # an event of a run in folds: the figures of all its records


class RunFolder:
    """The folder of the run that makes a checkpoint."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = beside.run_of(target)
        self.config = self.path / "config.json"
        self.state = self.path / "state.npz"
        self.best = self.path / "best.npz"
        self.metrics = self.path / "metrics.jsonl"
        self.table = self.path / "metrics.csv"
        self.losses = self.path / "loss.png"
        self.blocks = self.path / "results.txt"
        self.report = self.path / "report.html"
        self.cost = self.path / "cost.json"
        self.answers = [self.path / "valid.tsv", self.path / "valid.jsonl"]  # one of both, and a hidden file beside it
        self.evaluations = self.path / "evaluations.jsonl"
        self.tracking = self.path / "tracking.json"
        self.lock = self.path / "lock"
        self.begun = False  # whether what is there is the run at hand, and not an earlier one of its name

    def trial(self, number: int) -> Path:
        """Where what a trial has learned waits for the others; numbers are from 0."""
        return self.path / f"trial-{number + 1}.npz"

    def outputs(self) -> list[Path]:
        """Everything that a run writes, the lock aside."""
        inside = [self.config, self.state, self.best, self.metrics, self.table, self.losses, self.blocks, self.report]
        inside += [self.cost, self.evaluations, self.tracking, *self.answers, *map(answer_source.beside, self.answers)]
        return [self.target, beside.manifest_of(self.target), *inside]

    @property
    def answers_there(self) -> Path | None:
        """The answers to the set that the run was evaluated on; None where it has written none."""
        return next((path for path in self.answers if path.is_file() and not path.is_symlink()), None)

    def held(self) -> AbstractContextManager[None]:
        """Makes the folder and keeps other processes out of it. Raises as `locks.held_folder`."""
        return locks.held_folder(self.lock, "run")

    def clean(self) -> None:
        """Removes what a killed process left half-written."""
        for path in self.outputs():
            for temporary in atomic_files.leftovers(path):
                temporary.unlink(missing_ok=True)
        for path in self._inside(HALF_A_TRIAL):
            path.unlink(missing_ok=True)

    def clean_state(self) -> None:
        """Removes what only going on would need."""
        for path in (self.state, self.best, *self._inside(TRIAL)):
            path.unlink(missing_ok=True)
        if self.path.is_dir():
            atomic_files.sync_folder(self.path)

    def clear(self) -> None:
        """Removes an earlier run's files; its checkpoint stays until there is a new one."""
        for path in [*self.outputs()[2:], *self._inside(TRIAL)]:
            path.unlink(missing_ok=True)
        atomic_files.sync_folder(self.path)

    def _inside(self, names: re.Pattern[str]) -> list[Path]:
        """What is in the folder under such names."""
        return [path for path in self.path.iterdir() if names.fullmatch(path.name)] if self.path.is_dir() else []

    def check_space(self, size: int) -> None:
        """Raises StorageError unless so many bytes are free where the run is written."""
        atomic_files.check_space(self.path, size, "this run")

    def write_config(self, content: Mapping[str, object]) -> None:
        """Writes the configuration of the run as config.json."""
        self.begun = True
        atomic_files.write(self.config, (json.dumps(content, indent=2) + "\n").encode())


def end_of(folder: RunFolder) -> str | None:
    """How the run ended, "finished" or "failed"; None for one that can go on, or was never begun."""
    try:
        with files.open_to_read(folder.metrics) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LINE))
            event = json.loads(file.read().decode("utf-8", "replace").splitlines()[-1]).get("event")
    except (OSError, ValueError, IndexError, AttributeError, RecursionError):
        return None
    return event if event in ("finished", "failed") else None


def read_config(path: Path) -> dict[str, Any]:
    """The configuration that a run stored.

    Raises:
      MissingInputError: there is none.
      BadDataError: it is something else.
    """
    try:
        content = json.loads(files.read(path, MOST))
        for key in ("options", "config", "data", "base"):
            if not isinstance(content[key], dict):
                raise ValueError(f"its {key} is no object")
        if not all(isinstance(part, dict) for part in content["data"].values()):
            raise ValueError("its data are no objects")
    except FileNotFoundError:
        hint = "Every run has one: checkpoints/NAME.run/config.json"
        raise MissingInputError("no such configuration of a run", where=str(path), hint=hint) from None
    except PermissionError as error:
        raise files.unreadable(error, path, "configuration") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadDataError(f"not the configuration of a run ({error})", where=str(path)) from None
    return dict(content)

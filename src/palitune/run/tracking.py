"""The metrics of a run sent to an experiment tracker, Weights & Biases or MLflow, by the tracker's own package.

What is sent are the settings of learning, the data's names and hashes, and the figures of each step: no command, no
path, no variable of the environment and no image. Where it goes to, and with which key, the package finds by itself. A
tracker that fails ends no run: it is told once, and learning goes on without it.
"""

import contextlib
import importlib
import json
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from palitune.console import note
from palitune.errors import ConfigurationError, PalituneError
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files, files

PROJECT = "palitune"  # of Weights & Biases, or MLflow's experiment, unless a variable names another
WAIT = 30  # seconds for a server to answer, at the start and at the end
MOST_WAITING = 100  # steps that are sent together
LONGEST = 250  # characters of a setting that MLflow takes
MOST = 1 << 10  # bytes of the file that says what the run is called there
# What keeps MLflow from trying for minutes, unless somebody has set it.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}

CREDENTIALS = re.compile(r"//[^/@\s]+@")  # in an address

Steps = list[tuple[int, dict[str, float]]]


class Tracked(NamedTuple):
    """A run as a tracker gets it.

    Attributes:
      known: what an earlier session of it was called there; empty where there was none.
    """

    name: str
    folder: Path
    settings: Mapping[str, object]
    known: str


class Tracker(Protocol):
    """An experiment tracker while a run is sent to it.

    Attributes:
      key: what the run is called there.
    """

    key: str

    def send(self, steps: Steps) -> None:
        """Sends the figures of some steps."""

    def close(self, is_over: bool) -> None:
        """Ends the run there, or its session where it can go on."""


class WeightsAndBiases:
    """Weights & Biases, through wandb. Offline (WANDB_MODE) its files are in the run's folder, for `wandb sync`."""

    def __init__(self, package: Any, run: Tracked) -> None:
        """Raises whatever the package does."""
        self.key = run.known or secrets.token_hex(6)
        settings = package.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
            init_timeout=WAIT,
        )
        with _nobody_to_ask():
            self.run = package.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=run.name,
                id=self.key,
                resume="allow",
                dir=str(run.folder),
                config=dict(run.settings),
                settings=settings,
            )

    def send(self, steps: Steps) -> None:
        """As of any tracker."""
        for step, figures in steps:
            self.run.log(figures, step=step)

    def close(self, is_over: bool) -> None:
        """As of any tracker."""
        self.run.finish(exit_code=0 if is_over else 1)


class MLflow:
    """MLflow, through mlflow or mlflow-skinny: a server (MLFLOW_TRACKING_URI) or what the package has by default."""

    def __init__(self, package: Any, run: Tracked) -> None:
        """Raises whatever the package does."""
        for name in ("mlflow", "alembic"):  # which tell of every table that they make
            logging.getLogger(name).setLevel(logging.WARNING)
        self.entities = importlib.import_module("mlflow.entities")
        self.client = package.MlflowClient()
        self.key = run.known
        if self.key:
            self.client.update_run(self.key, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self.client.create_experiment(name)
        self.key = self.client.create_run(experiment, run_name=run.name).info.run_id
        given = [self.entities.Param(name, str(value)[:LONGEST]) for name, value in run.settings.items()]
        self.client.log_batch(self.key, params=given)

    def send(self, steps: Steps) -> None:
        """As of any tracker."""
        now = int(1000 * time.time())
        metrics = [
            self.entities.Metric(name, value, now, step) for step, figures in steps for name, value in figures.items()
        ]
        for start in range(0, len(metrics), 1000):  # the most that MLflow takes at once
            self.client.log_batch(self.key, metrics=metrics[start : start + 1000])

    def close(self, is_over: bool) -> None:
        """As of any tracker."""
        self.client.set_terminated(self.key, "FINISHED" if is_over else "KILLED")


TRACKERS: dict[str, Callable[[Any, Tracked], Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}


class Tracking:
    """A run that is sent to a tracker as long as that works."""

    def __init__(self, kind: str, folder: RunFolder, facts: Mapping[str, Any]) -> None:
        """Begins the run there, or continues it.

        Args:
          kind: one of `TRACKERS`.
          facts: the content of the run's config.json.

        Raises:
          ConfigurationError: the package is not installed.
        """
        self.kind, self.waiting = kind, Steps()
        self.tracker: Tracker | None = None
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            package = importlib.import_module(kind)
        except ImportError:
            hint = f"Install it: pip install 'palitune[{kind}]'"
            raise ConfigurationError(f"--track {kind} needs {kind}, which is not installed", hint=hint) from None
        except Exception as error:  # another version of what it needs
            self._give_up(error)
            return
        known = _known(folder.tracking)
        with self._tolerated():
            run = Tracked(folder.target.stem, folder.path, _settings(facts), known.get(kind, ""))
            tracker = TRACKERS[kind](package, run)
            atomic_files.write(folder.tracking, (json.dumps(known | {kind: tracker.key}) + "\n").encode())
            self.tracker = tracker

    def log(self, figures: Mapping[str, float], step: int, at_once: bool) -> None:
        """Figures of a step, which wait for others unless they go out at once."""
        if self.tracker is None:
            return
        self.waiting.append((step, dict(figures)))
        if at_once or len(self.waiting) >= MOST_WAITING:
            waiting, self.waiting = self.waiting, []
            with self._tolerated():
                self.tracker.send(waiting)

    def close(self, is_over: bool) -> None:
        """Sends what still waits, and ends the run there; waits no longer than `WAIT` for that."""
        tracker, waiting = self.tracker, self.waiting
        self.tracker = None
        if tracker is None:
            return

        def end() -> None:
            with self._tolerated():
                if waiting:
                    tracker.send(waiting)
                tracker.close(is_over)

        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        thread.join(WAIT)
        if thread.is_alive():
            note(f"warning: {self.kind} has not taken everything within {WAIT} seconds; the run is complete without it")

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        """Whatever goes wrong inside is one line, and the end of sending."""
        try:
            yield
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Says what went wrong; nothing is sent from here on."""
        self.tracker = None
        what = str(error.what if isinstance(error, PalituneError) else error) or type(error).__name__
        shown = CREDENTIALS.sub("//", " ".join(what.split()))[:200]
        note(f"warning: {self.kind} does not work ({shown}); learning goes on without it")


@contextlib.contextmanager
def _nobody_to_ask() -> Iterator[None]:
    """Within it nothing can be asked on the terminal: a package without its key would wait for somebody to type one."""
    before = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before


def _known(path: Path) -> dict[str, str]:
    """What the run is called by trackers, by their names."""
    try:
        content = json.loads(files.read(path, MOST))
        return {name: key for name, key in content.items() if name in TRACKERS and isinstance(key, str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _settings(facts: Mapping[str, Any]) -> dict[str, object]:
    """What is sent of a run's configuration: settings of learning, and data and base by their names and hashes."""
    data = {f"data {Path(name).name}": str(part["sha256"])[:12] for name, part in facts["data"].items()}
    return {**facts["config"], **data, "base": facts["base"]["name"], "base hash": str(facts["base"]["hash"])[:12]}

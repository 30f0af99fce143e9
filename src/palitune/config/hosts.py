"""Settings of several hosts: which of some processes this one is."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import COUNT, POSITIVE, Text
from palitune.errors import UsageError

# The address of the first process, how many there are, and the number of this one: as Kubeflow sets them.
VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
ADDRESS = re.compile(r"(?:\[[\w:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})")  # a host's name or number, and a port
LAST_PORT = 65_535


class Address(Text):
    """Where a process listens."""

    def describe(self) -> str:
        return "`HOST:PORT`"

    def parse(self, text: str) -> str:
        found = ADDRESS.fullmatch(text)
        if not found or not 0 < int(found[1]) <= LAST_PORT:
            raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to {LAST_PORT}, such as 10.0.0.1:55527")
        return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostSettings(Settings):
    """Which of several processes this one is. Slurm says it itself, and so do variables named JAX_...."""

    TITLE: ClassVar[str | None] = "several hosts"

    coordinator: str | None = setting(
        None,
        Address(),
        "where the first of several processes listens, the same for all of them",
        metavar="HOST:PORT",
        shown="as Slurm or the environment says",
        recorded=False,
    )
    num_processes: int | None = setting(
        None, POSITIVE, "how many processes there are", metavar="N", shown="likewise", recorded=False
    )
    process_id: int | None = setting(
        None, COUNT, "the number of this one, from 0", metavar="I", shown="likewise", recorded=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [self.coordinator, self.num_processes, self.process_id]
        if any(one is not None for one in given) and None in given:
            raise UsageError("--coordinator, --num-processes and --process-id go together")
        if self.process_id is not None and self.num_processes is not None and self.process_id >= self.num_processes:
            last = self.num_processes - 1
            raise UsageError(f"--process-id {self.process_id}: {self.num_processes} processes are numbered 0 to {last}")


class Joining(NamedTuple):
    """Which of several processes this one is, as `jax.distributed.initialize` takes it; None is what that finds out.

    Attributes:
      devices: the numbers of those GPUs that are this process's own; None is all that it sees.
    """

    coordinator: str | None = None
    processes: int | None = None
    number: int | None = None
    devices: tuple[int, ...] | None = None


def joining(settings: HostSettings) -> Joining | None:
    """What settings say, or the environment, or Slurm; None where there is one process alone.

    Raises:
      UsageError: the environment says what cannot be.
    """
    if settings.coordinator is not None:
        return Joining(settings.coordinator, settings.num_processes, settings.process_id)
    environment = os.environ
    if all(environment.get(name) for name in VARIABLES):
        found = _of_variables(*(environment[name] for name in VARIABLES))
        return found if found.processes != 1 else None
    if int(environment.get("SLURM_NTASKS") or 1) > 1 and "SLURM_STEP_NODELIST" in environment:  # inside of srun
        return Joining(devices=_of_task(environment))
    return None


def _of_variables(coordinator: str, processes: str, number: str) -> Joining:
    """What the variables say. Raises UsageError for what cannot be."""
    try:
        found = Joining(coordinator, POSITIVE.parse(processes), COUNT.parse(number))
        HostSettings(coordinator=coordinator, num_processes=found.processes, process_id=found.number)
    except (ValueError, UsageError) as error:
        raise UsageError(f"{', '.join(VARIABLES)}: {error}") from None
    return found


def _of_task(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """The numbers of a Slurm task's GPUs, among those that it sees; None where there are none.

    JAX would take one for each task, by the task's number on its host: one of eight for a task that has a host alone,
    and one that is not there for a task that sees its own only.
    """
    seen = environment.get("CUDA_VISIBLE_DEVICES")
    count = len(seen.split(",")) if seen else len(list(Path("/dev").glob("nvidia[0-9]*")))
    beside = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE") or "1")
    tasks, number = int(beside.group()) if beside else 1, int(environment.get("SLURM_LOCALID") or 0)
    on_node = int(environment.get("SLURM_GPUS_ON_NODE") or 0)
    sees_all = count >= max(tasks, on_node) and "SLURM_GPUS_PER_TASK" not in environment
    each = count // tasks if sees_all else count
    first = number * each if sees_all else 0
    return tuple(range(first, first + each)) or None

"""Settings of several hosts: which of some processes this one is."""

import dataclasses
import os
from typing import ClassVar, NamedTuple

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import COUNT, POSITIVE, Text
from palitune.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostSettings(Settings):
    """Which of several processes this one is. Slurm and Kubernetes' JobSet say it themselves."""

    TITLE: ClassVar[str | None] = "several hosts"

    coordinator: str | None = setting(
        None,
        Text(),
        "where the first of several processes listens, the same for all of them",
        metavar="HOST:PORT",
        shown="as Slurm or Kubernetes say",
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
    """Which of several processes this one is, as `jax.distributed.initialize` takes it; None is what it finds out."""

    coordinator: str | None = None
    processes: int | None = None
    number: int | None = None


def joining(settings: HostSettings) -> Joining | None:
    """What settings say, or a scheduler; None where there is one process alone."""
    if settings.coordinator is not None:
        return Joining(settings.coordinator, settings.num_processes, settings.process_id)
    if int(os.environ.get("SLURM_NTASKS") or 1) > 1 and "SLURM_STEP_NODELIST" in os.environ:  # inside of srun
        return Joining()
    if "JOBSET_NAME" in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
        return Joining()
    return None

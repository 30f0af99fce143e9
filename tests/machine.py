"""A machine with several devices, and runs on it that are to be the same as on one."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from conftest import QUICK as FLAGS
from conftest import XLA, knows

LEARN = ("-d", "set1", "--examples", "48", "-b", "8", "--seed", "3", "--save-every", "2", "--evaluate-every", "2")
TOLERANCE = 1e-5
# A run that is killed right after its state has been saved for the second time, behind step 2 and step 4.
KILLED = """
import os, sys
import palitune.checkpoint.run_state as state
from palitune.cli import main
save, left = state.save, [int(sys.argv[1])]
def saved(*arguments):
    save(*arguments)
    left[0] -= 1
    left[0] or os._exit(9)
state.save = saved
main(sys.argv[2], sys.argv[3:])
"""


class Machine:
    """Commands on a machine with as many devices as a test says."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        flags = " ".join(f"--{name}={value}" for name, value in FLAGS.items() if knows(XLA, name))
        self.folder, self.environment = folder, {**environment, "XLA_FLAGS": flags}

    def run(self, devices: int, *command: str, code: int = 0, given: str = "") -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, "JAX_NUM_CPU_DEVICES": str(devices)}
        how = {"cwd": self.folder, "env": environment, "input": given, "text": True, "timeout": 300}
        done = subprocess.run(command, capture_output=True, check=False, **how)
        assert done.returncode == code, done.stderr
        return done

    def palitune(
        self, devices: int, *arguments: str, code: int = 0, given: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(devices, "palitune", *arguments, code=code, given=given)

    def killed(self, devices: int, saves: int, *arguments: str) -> None:
        self.run(devices, "python", "-c", KILLED, str(saves), *arguments, code=9)

    def losses(self, name: str) -> list[list[float]]:
        """The losses of each step of a run: of training, and of evaluations where there are some."""
        lines = (self.folder / "checkpoints" / f"{name}.run" / "metrics.jsonl").read_text().splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        wanted = [row for row in rows if "event" not in row]
        return [[row[key] for key in ("train_loss", "valid_loss") if row.get(key) is not None] for row in wanted]

    def content(self, name: str) -> bytes:
        return (self.folder / "checkpoints" / f"{name}.npz").read_bytes()


def assert_same(found: list[list[float]], wanted: list[list[float]]) -> None:
    assert [len(row) for row in found] == [len(row) for row in wanted]
    for number, (row, expected) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(row, expected, rtol=0, atol=TOLERANCE, err_msg=f"step {number}")

"""Processes that learn together, one of which is killed: all end, say how to go on, and come to the same end."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import QUICK, XLA, knows

BENCH = Path(__file__).parents[2] / "bench" / "hosts.py"
FLAGS = " ".join(f"--{name}={value}" for name, value in QUICK.items() if knows(XLA, name))
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("processes", "devices", "few", "many"), [(2, 2, ("6", "1"), ("20", "50")), (4, 1, ("4", "0"), ("20", "10"))]
)
def test_the_same_losses_and_the_same_end(
    processes: int,
    devices: int,
    few: tuple[str, str],
    many: tuple[str, str],
    environment: dict[str, str],
    campaign: Callable[[int, int], int],
) -> None:
    steps, kills = (few, many)[campaign(0, 1)]
    how = ("--processes", str(processes), "--devices", str(devices), "--steps", steps, "--kills", kills)
    command = [sys.executable, str(BENCH), *how]
    done = subprocess.run(command, env={**environment, "XLA_FLAGS": FLAGS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert f"{processes} processes x {devices} devices" in done.stdout
    assert (f"{kills} kills, " in done.stdout) == (kills != "0")

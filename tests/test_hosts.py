"""Several processes, each of which stands for a host: they learn what one does, and end together."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run
from machine import LEARN, Machine, assert_same

from palitune.config import hosts
from palitune.errors import ResumableError, UsageError

PROCESSES, DEVICES = 2, 2
MOST_SECONDS = 60  # until all have ended, once one was killed
IMPATIENT = """
import sys
from palitune import hosts
from palitune.cli import main
hosts.JOINING_SECONDS, hosts.NOTE_SECONDS = 4, 1
main("learn", sys.argv[1:])
"""


def free_address() -> str:
    """One at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


class Hosts:
    """Processes that run the same command, and are told by the environment which of them they are."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def start(self, *command: str) -> list["subprocess.Popen[str]"]:
        where = free_address()
        started = []
        for number in range(PROCESSES):
            told = dict(zip(hosts.VARIABLES, (where, str(PROCESSES), str(number)), strict=True))
            started.append(
                subprocess.Popen(
                    ["palitune", *command],
                    cwd=self.folder,
                    env={**self.environment, "JAX_NUM_CPU_DEVICES": str(DEVICES), **told},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            )
        return started

    def run(self, *command: str) -> list[str]:
        """What each of them has printed."""
        started = self.start(*command)
        printed = [process.communicate(timeout=300)[0] for process in started]
        assert [process.returncode for process in started] == [0] * PROCESSES, printed
        return printed


@pytest.fixture(scope="module")
def machine(workspace: Path, environment: dict[str, str]) -> Machine:
    return Machine(workspace, environment)


@pytest.fixture(scope="module")
def several(workspace: Path, machine: Machine) -> Hosts:
    return Hosts(workspace, machine.environment)


def test_they_learn_what_one_does_and_end_with_one_of_them(machine: Machine, several: Hosts) -> None:
    """One is killed at a random moment: the other ends, and says how to go on; the end is that without the kill."""
    machine.palitune(1, "learn", *LEARN, "-w", "on-one")
    first, second = several.run("learn", *LEARN, "-w", "on-two")
    assert f"{PROCESSES} processes have joined, with {PROCESSES * DEVICES} devices" in first
    assert "saved" in first
    assert "accuracy" not in second
    assert_same(machine.losses("on-two"), machine.losses("on-one"))

    seed = random.randrange(2**32)
    rng = random.Random(seed)
    started = several.start("learn", *LEARN, "-w", "killed")
    saved = machine.folder / "checkpoints" / "killed.run" / "state.npz"
    wait_for(saved, started[0])
    time.sleep(rng.random())
    lost = rng.randrange(PROCESSES)
    os.killpg(started[lost].pid, signal.SIGKILL)
    printed = [process.communicate(timeout=MOST_SECONDS)[0] for process in started]
    if started[1 - lost].returncode:  # it was not through before
        assert started[1 - lost].returncode == ResumableError.exit_code, (seed, printed)
        assert "palitune learn --resume -w killed, in all processes" in printed[1 - lost], (seed, printed)
        several.run("learn", "--resume", "-w", "killed")
    assert machine.content("killed") == machine.content("on-two"), seed


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [0, 1])
def test_those_that_do_not_come_are_waited_for_and_then_not(
    workspace: Path, environment: dict[str, str], number: int
) -> None:
    where = free_address()
    joining = ["--coordinator", where, "--num-processes", "2", "--process-id", str(number)]
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, "-d", "set1", *joining],
        cwd=workspace, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == ResumableError.exit_code, done.stderr
    assert f"waiting for the other processes at {where}" in done.stderr
    assert "have not come" in done.stderr
    assert "--resume" not in done.stderr
    assert "@ " not in done.stderr  # a stack of native frames


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waiting_ends_with_a_signal(workspace: Path, environment: dict[str, str], number: signal.Signals) -> None:
    where = free_address()
    command = ["palitune", "learn", "-d", "set1", "--coordinator", where, "--num-processes", "2", "--process-id", "0"]
    process = subprocess.Popen(
        command, cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    assert "waiting" in process.stderr.readline()
    os.killpg(process.pid, number)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "interrupted" in printed


@pytest.mark.parametrize("where", ["localhost", "a:0", "a:99999", "a b:5", "http://a:5", "[::1:5", ":5"])
def test_an_address_that_cannot_be(run: Run, workspace: Path, where: str) -> None:
    options = ("--coordinator", where, "--num-processes", "2", "--process-id", "0")
    done = run("palitune", "learn", "-d", "set1", *options, cwd=workspace)
    assert done.returncode == UsageError.exit_code
    assert "HOST:PORT" in done.stderr


@pytest.mark.parametrize("where", ["a:1", "10.0.0.1:65535", "[::1]:5", "[fe80::1%eth0]:5", "host-0.set:5", "名前:5"])
def test_an_address_that_can_be(where: str) -> None:
    assert hosts.HostSettings(coordinator=where, num_processes=1, process_id=0).coordinator == where

"""A process that waits for those of other hosts, until they come, or do not, or a signal does.

What they learn together, and what becomes of the others when one is killed, faults/test_host_kills.py tests.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

from palitune.config import hosts
from palitune.errors import ResumableError, UsageError

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

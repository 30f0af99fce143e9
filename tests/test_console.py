"""A person at a terminal is told at once what is about to happen; scripts are not."""

import os
import pty
import subprocess
from pathlib import Path

from conftest import Run

COMMAND = ["palitune", "validate", "-m", "tiny", "dataset/set1/valid.jsonl"]


def test_at_a_terminal(workspace: Path, environment: dict[str, str], run: Run) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(COMMAND, cwd=workspace, env=environment, stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    said = b""
    try:
        while part := os.read(leader, 4096):
            said += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(leader)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    lines = said.decode().replace("\r", "\n").split("\n")
    assert lines[0] == "loading JAX …"
    assert any(line.startswith("opening ") for line in lines)
    script = run(*COMMAND, cwd=workspace)
    assert script.stdout == output.decode()
    assert "…" not in script.stderr


def test_waiting_for_the_keyboard_is_said(tmp_path: Path, environment: dict[str, str]) -> None:
    leader, follower = pty.openpty()
    os.write(leader, b"a.png\tFalse\t0.4\tyes\tno\n\x04")  # Ctrl-D ends it
    done = subprocess.run(
        ["palitune", "filter"],
        cwd=tmp_path,
        env=environment,
        stdin=follower,
        capture_output=True,
        timeout=60,
        check=True,
    )
    os.close(leader)
    os.close(follower)
    assert done.stdout == b"a.png\tFalse\t0.4\tyes\tno\n"
    first, last = done.stderr.decode().splitlines()
    assert first == "answers are read from the keyboard, since no FILE was named: Ctrl-D ends them"
    assert last == "1 of 1 lines: 0 fp, 1 fn"

"""Answers from the workers of a Ray cluster on this machine, one of which is killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Run

pytest.importorskip("ray.data", reason="ray is not installed: pip install 'palitune[ray]'")

RECORDS = 10_000
ASKED = ("-m", "tinytext", "-d", "in.jsonl", "--prompt", "Is it good?", "-b", "64", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    done = run("palitune", "download", "--model", "tinytext", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = (json.dumps({"text": f"day {number}", "label": "yes"}) + "\n" for number in range(RECORDS))
    (folder / "in.jsonl").write_text("".join(lines))
    return folder


def workers(driver: int) -> set[int]:
    """The processes that answer shards, of those that the driver has started."""
    parents, named = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if "ShardAnswerer" in (path / "cmdline").read_text():
                named.add(int(path.name))
        except OSError:
            continue

    def is_below(process: int) -> bool:
        while process > 1:
            if process == driver:
                return True
            process = parents.get(process, 0)
        return False

    return {one for one in named if is_below(one)}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="workers are found in /proc")
def test_a_killed_worker_is_replaced(folder: Path, environment: dict[str, str]) -> None:
    whole = subprocess.run(
        ["palitune", "inference", *ASKED], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert len(whole.splitlines()) == RECORDS
    command = ["palitune", "inference", *ASKED, "--resume", "out.tsv", "--ray-workers", "2"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None and not list(folder.glob("out.*-of-16.tsv")):
            time.sleep(0.05)
        found = workers(driver.pid)
        assert len(found) == 2, found
        os.kill(min(found), signal.SIGKILL)
        errors = driver.communicate(timeout=600)[1]
    assert driver.returncode == 0, errors
    assert (folder / "out.tsv").read_text() == whole
    assert len(list(folder.glob("out.*-of-16.tsv"))) == 16


@pytest.mark.slow
def test_what_a_worker_raises_is_said_in_a_line(folder: Path, environment: dict[str, str]) -> None:
    (folder / "bad.jsonl").write_text('{"text": "day", "label": "yes"}\n{"text": 7}\n')
    command = [
        "palitune",
        "inference",
        "-m",
        "tinytext",
        "-d",
        "bad.jsonl",
        "--resume",
        "bad.tsv",
        "--ray-workers",
        "1",
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 65, done.stderr
    assert "bad.jsonl:2: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "bad.tsv").exists()

"""Runs that are killed, stopped and started twice, as processes: nothing is lost, and the end is always the same."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Run

from palitune.checkpoint import npz, run_state
from palitune.errors import MissingInputError
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files

pytestmark = pytest.mark.slow

Campaign = Callable[[int, int], int]
LEARN = ["palitune", "learn", "-d", "set1", "--examples", "120", "--evaluate-every", "8", "--quiet"]
KINDS = {
    "passes": ["-2", "--optimizer", "adamw", "-r", "0.001"],  # two passes, and a rule with a state of its own
    "trials": ["--repeat", "2", "--examples", "60", "--ema", "0.9"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The tiny model, a small split, and a run of each kind that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("faults")
    for command in (
        ["palitune", "download", "--model", "tiny"],
        ["palitune", "demo-data", "--count", "24"],
        ["palitune", "split", "-v", "6"],
        *([*LEARN, *options, "-w", kind] for kind, options in KINDS.items()),
        [*LEARN, "--examples", "4", "-w", "earlier"],
    ):
        done = run(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


ADVISED = re.compile(rb', "command": "[^\n]*(?=})')  # which names the run


class Case:
    """One run that is disturbed until it ends, over an earlier checkpoint of its name."""

    def __init__(self, workspace: Path, name: str, kind: str, environment: dict[str, str]) -> None:
        self.workspace, self.name, self.kind, self.environment = workspace, name, kind, environment
        self.folder = RunFolder(workspace / "checkpoints" / f"{name}.npz")
        for suffix in (".npz", ".json"):
            shutil.copy(workspace / "checkpoints" / f"earlier{suffix}", workspace / "checkpoints" / f"{name}{suffix}")
        self.begun = False
        self.left: set[Path] = set()  # what was half-written when the last process ended

    def start(self) -> "subprocess.Popen[bytes]":
        # Begun is what has a configuration; before it there is nothing to go on with.
        self.begun = self.begun or self.folder.config.exists()
        options = ["--resume"] if self.begun else [*LEARN[2:], *KINDS[self.kind], "--save-every", "1", "--overwrite"]
        return subprocess.Popen(
            ["palitune", "learn", *options, "-w", self.name, "--quiet"],
            cwd=self.workspace,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def temporaries(self) -> list[Path]:
        return [left for path in self.folder.outputs() for left in atomic_files.leftovers(path)]

    def check(self) -> int:
        """What anybody may read at this moment is whole; the number of half-written files of the last kill."""
        assert npz.damaged(self.folder.target) is None
        assert len(npz.Checkpoint(self.folder.target)) > 0
        if self.folder.state.exists():
            run_state.load(self.folder.state)
        now = set(self.temporaries())
        # A process that got as far as writing had removed what the one before it left.
        new = now - self.left
        assert len(now) <= 1 or not new
        self.left = now
        return len(new)

    def check_end(self) -> None:
        checkpoints = self.workspace / "checkpoints"
        assert self.folder.target.read_bytes() == (checkpoints / f"{self.kind}.npz").read_bytes()
        assert self.temporaries() == []
        assert not self.folder.state.exists()
        # What it measured is the same too, line by line.
        for name in ("metrics.jsonl", "metrics.csv", "results.txt"):
            wanted = (checkpoints / f"{self.kind}.run" / name).read_bytes()
            assert ADVISED.sub(b"", (self.folder.path / name).read_bytes()) == ADVISED.sub(b"", wanted), name
        shutil.rmtree(self.folder.path)


def cases(workspace: Path, environment: dict[str, str]) -> Iterator[Case]:
    number = 0
    while True:
        number += 1
        yield Case(workspace, f"disturbed{number}", list(KINDS)[number % len(KINDS)], environment)


def caught_saving(case: Case, process: "subprocess.Popen[bytes]", rng: random.Random) -> bool:
    """Waits for one of the next saves, and stops the process in it if it is quick enough."""
    saves = rng.randrange(1, 8)
    seen: set[Path] = set()
    while process.poll() is None:
        now = set(case.temporaries()) - case.left
        if now - seen:
            seen |= now
            saves -= 1
        if now and saves <= 0:
            time.sleep(rng.random() * 0.002)
            process.send_signal(signal.SIGSTOP)  # to look at it in peace
            if set(case.temporaries()) - case.left:
                return True
            process.send_signal(signal.SIGCONT)
        time.sleep(0.0002)
    return False


def test_killed_at_any_moment(workspace: Path, environment: dict[str, str], campaign: Campaign) -> None:
    rng = random.Random(0)
    wanted = campaign(6, 200)
    kills = inside = ends = 0
    for case in cases(workspace, environment):
        while True:
            with case.start() as process:
                if kills >= wanted:
                    process.wait(120)
                elif inside * 2 <= kills:
                    caught_saving(case, process, rng)
                else:
                    time.sleep(rng.random() * 5)
                if process.poll() is None:
                    process.kill()
                errors = process.communicate()[1].decode()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, errors
            kills += 1
            inside += bool(case.check())
        case.check_end()
        ends += 1
        if kills >= wanted:
            break
    print(f"{kills} kills, {inside} of them inside a save; {ends} runs came to the same end; nothing was lost")
    assert inside * 2 >= kills - 1


def test_stopped_at_any_moment(workspace: Path, environment: dict[str, str], campaign: Campaign) -> None:
    rng = random.Random(1)
    wanted = campaign(3, 50)
    stops, ends = list[int](), 0
    for case in cases(workspace, environment):
        while True:
            with case.start() as process:
                time.sleep(rng.random() * 6 if len(stops) < wanted else 0)
                if len(stops) < wanted and process.poll() is None:
                    process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT]))
                errors = process.communicate(timeout=120)[1].decode()
            if process.returncode == 0:
                break
            stops.append(process.returncode)
            # As long as Python or a library is being loaded a signal ends the process in its own way.
            early = {-signal.SIGTERM, -signal.SIGINT, 130, 143}
            assert process.returncode == 75 or process.returncode in early, errors
            if process.returncode == 75:
                assert "Traceback" not in errors
                assert "--resume" in errors
                assert case.folder.config.exists()
            case.check()
        case.check_end()
        ends += 1
        if len(stops) >= wanted:
            break
    counts = {code: stops.count(code) for code in sorted(set(stops))}
    print(f"{len(stops)} signals, exit codes {counts}; {ends} runs came to the same end")


def test_a_second_signal_leaves_at_once(workspace: Path, environment: dict[str, str]) -> None:
    command = [*LEARN, "--examples", "100000", "-w", "impatient", "--save-every", "1"]
    with subprocess.Popen(command, cwd=workspace, env=environment, stdout=subprocess.DEVNULL) as process:
        state = RunFolder(workspace / "checkpoints/impatient.npz").state
        while not state.exists():
            time.sleep(0.01)
        start = time.monotonic()
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert time.monotonic() - start < 20
    assert process.returncode in (75, 143)


def test_two_runs_of_one_name(workspace: Path, environment: dict[str, str], campaign: Campaign) -> None:
    wanted = campaign(2, 50)
    for number in range(wanted):
        command = [*LEARN, "--examples", "8", "-w", f"wanted{number}"]
        pair = [
            subprocess.Popen(command, cwd=workspace, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=120)[1].decode() for process in pair]
        codes = [process.returncode for process in pair]
        assert sorted(codes) == [0, 73], errors
        loser = errors[codes.index(73)]
        assert "is at work: process" in loser or "exists" in loser or "was begun" in loser
        target = workspace / "checkpoints" / f"wanted{number}.npz"
        assert target.read_bytes() == (workspace / "checkpoints/wanted0.npz").read_bytes()
    print(f"{wanted} races, one winner each")


def test_a_lock_that_nobody_holds_is_taken(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "mine.npz")
    folder.path.mkdir()
    folder.lock.write_text("process 1 on nowhere since yesterday\n")
    with folder.held():
        assert f"process {os.getpid()} " in folder.lock.read_text()
        with pytest.raises(Exception, match=f"this run is at work: process {os.getpid()} on"), folder.held():
            pass
        folder.config.write_text("{}")
    with folder.held():
        pass
    folder.config.unlink()
    with folder.held():
        pass
    assert not folder.path.exists()  # nothing came of it


def test_there_has_to_be_a_run_to_go_on_with(workspace: Path, run: Run) -> None:
    done = run("palitune", "learn", "--resume", "-w", "never", cwd=workspace)
    assert done.returncode == MissingInputError.exit_code
    assert "there is no run never to resume. Start it without --resume" in done.stderr
    done = run("palitune", "learn", "--resume", "-w", "passes", cwd=workspace)
    assert (done.returncode, done.stdout) == (0, "")
    assert "this run has come to its end" in done.stderr
    assert not (workspace / "checkpoints/never.run").exists()
    shutil.copytree(workspace / "checkpoints/passes.run", workspace / "checkpoints/gone.run")
    done = run("palitune", "learn", "--resume", "-w", "gone", cwd=workspace)
    assert done.returncode == MissingInputError.exit_code
    assert "gone.npz: this run has come to its end, and its checkpoint is no longer there" in done.stderr


def test_a_file_that_may_not_grow(workspace: Path, run: Run) -> None:
    """A real limit of the system in place of a full disk: the earlier checkpoint stays."""
    for suffix in (".npz", ".json"):
        shutil.copy(workspace / f"checkpoints/earlier{suffix}", workspace / f"checkpoints/limited{suffix}")
    before = (workspace / "checkpoints/limited.npz").read_bytes()
    limit = len(before) // 1024 // 2
    command = " ".join([*LEARN, "-w", "limited", "--overwrite", "--examples", "8", "--save-every", "0"])
    done = run("bash", "-c", f"ulimit -f {limit}; {command}", cwd=workspace)
    assert done.returncode == 74, done.stderr
    assert "limited.npz: cannot write: File too large" in done.stderr
    assert (workspace / "checkpoints/limited.npz").read_bytes() == before
    again = run("palitune", "learn", "--resume", "-w", "limited", "--quiet", cwd=workspace)
    assert again.returncode == 0, again.stderr
    assert (workspace / "checkpoints/limited.npz").read_bytes() != before

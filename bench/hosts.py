"""Learning on several processes: the losses of one device, and the same end when processes are killed.

    python bench/hosts.py --processes 2 --devices 2 --kills 50
    python bench/hosts.py --processes 4 --devices 1 --kills 0

Each process stands for a host; they speak through gloo on this machine. First a run on one device, then one on all of
them: every loss of training and evaluation has to be the same to 1e-5. Then runs that save their state after each step,
of which SIGKILL ends one process at a random moment once all have joined; all of the others have to end within a minute
with exit code 75 and the command that resumes the run, which is then run. What a run has learned in the end has to be
the same byte for byte as without kills.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from stages import palitune

from palitune.config.hosts import VARIABLES

MOST_SECONDS = 60  # until all have ended, once one was killed
TOLERANCE = 1e-5
RESUMABLE = 75
JOINED = "processes have joined"


class Killed(RuntimeError):
    """What should not have come of a kill."""


class Hosts:
    """Processes on this machine, each of which stands for a host."""

    def __init__(self, folder: Path, processes: int, devices: int, steps: int) -> None:
        self.folder, self.processes, self.devices = folder, processes, devices
        size = 8
        self.settings = ["-d", "data/set", "-m", "tiny", "-b", str(size), "--examples", str(size * steps)]
        self.settings += ["--seed", "3", "--evaluate-every", "5"]

    def learn(self, name: str, *options: str) -> list[str]:
        """The arguments that begin a run, or continue it."""
        begun = (self.folder / "checkpoints" / f"{name}.run" / "config.json").exists()
        return ["learn", "-w", name, *(["--resume"] if begun else self.settings), *options]

    def start(self, arguments: Sequence[str]) -> list["subprocess.Popen[str]"]:
        """Starts all of them, each in a group of its own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "PALITUNE_HOME": str(self.folder), "JAX_NUM_CPU_DEVICES": str(self.devices)}
        where = f"127.0.0.1:{port}"
        started = []
        for number in range(self.processes):
            # One is told by options, the others by the environment.
            command = [sys.executable, "-m", "palitune", *arguments]
            told = (where, str(self.processes), str(number))
            if number == 0:
                command += ["--coordinator", told[0], "--num-processes", told[1], "--process-id", told[2]]
            else:
                environment |= dict(zip(VARIABLES, told, strict=True))
            with (self.folder / f"errors{number}").open("w") as errors:
                started.append(
                    subprocess.Popen(
                        command,
                        cwd=self.folder,
                        env=environment,
                        text=True,
                        stdout=subprocess.DEVNULL,
                        stderr=errors,
                        start_new_session=True,
                    )
                )
        return started

    def errors(self, number: int) -> str:
        """What a process has written on stderr."""
        return (self.folder / f"errors{number}").read_text()

    def run(self, arguments: Sequence[str]) -> None:
        """Raises Killed: a process has failed."""
        started = self.start(arguments)
        for number, process in enumerate(started):
            if process.wait():
                raise Killed(f"process {number}: {process.returncode} {self.errors(number)}")

    def losses(self, name: str) -> list[list[float]]:
        """The losses of each step: of training, and of evaluations where there are some."""
        lines = (self.folder / "checkpoints" / f"{name}.run" / "metrics.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if "event" not in row]
        return [[row[key] for key in ("train_loss", "valid_loss") if row.get(key) is not None] for row in rows]

    def learned(self, name: str) -> bytes:
        """The checkpoint."""
        return (self.folder / "checkpoints" / f"{name}.npz").read_bytes()

    def killed(self, arguments: Sequence[str], rng: random.Random, longest: float) -> float | None:
        """Kills one of them; returns the seconds until all had ended, or None if they were through before.

        Raises:
          Killed: one has not ended in time, or not as it should.
        """
        started = self.start(arguments)
        while JOINED not in self.errors(0):
            if started[0].poll() is not None:
                raise Killed(f"not joined: {self.errors(0)}")
            time.sleep(0.01)
        time.sleep(rng.random() * longest)
        chosen = rng.randrange(self.processes)
        if all(process.poll() is not None for process in started):
            if codes := [process.returncode for process in started if process.returncode]:
                raise Killed(f"ended with {codes} before one was killed: {self.errors(0)}")
            return None
        # The process that learns, or with it the one that watches over it, as when a whole machine is lost.
        if rng.random() < 0.5:
            os.killpg(started[chosen].pid, signal.SIGKILL)
        else:
            subprocess.run(["pkill", "-KILL", "-P", str(started[chosen].pid)], check=False)
        begun = time.perf_counter()
        for process in started:
            try:
                process.wait(MOST_SECONDS - (time.perf_counter() - begun))
            except subprocess.TimeoutExpired:
                for one in started:
                    os.killpg(one.pid, signal.SIGKILL)
                raise Killed(f"not all had ended {MOST_SECONDS} s after process {chosen} was killed") from None
        seconds = time.perf_counter() - begun
        codes = [process.returncode for process in started]
        if not any(codes):
            return None
        for number, code in enumerate(codes):
            wanted = (RESUMABLE, -signal.SIGKILL, 0) if number == chosen else (RESUMABLE, 0)
            if code not in wanted:
                raise Killed(f"process {number} ended with {code}, not {RESUMABLE}: {self.errors(number)}")
            if code == RESUMABLE and "--resume -w" not in self.errors(number):
                raise Killed(f"process {number} does not say how to go on: {self.errors(number)}")
        return seconds

    def is_over(self, name: str) -> bool:
        """Whether a run has come to its end."""
        folder = self.folder / "checkpoints" / f"{name}.run"
        return (self.folder / "checkpoints" / f"{name}.npz").exists() and not (folder / "state.npz").exists()


def largest_difference(found: list[list[float]], wanted: list[list[float]]) -> float:
    """Of losses of the same steps. Raises Killed: they are not of the same steps."""
    if [len(row) for row in found] != [len(row) for row in wanted]:
        raise Killed(f"{len(found)} rows of metrics, not {len(wanted)} as on one device")
    rows = zip(found, wanted, strict=True)
    return max(abs(one - other) for row, expected in rows for one, other in zip(row, expected, strict=True))


def measure(folder: Path, args: argparse.Namespace) -> None:
    rng = random.Random(args.seed)
    palitune(folder, "download", "--model", "tiny")
    palitune(folder, "demo-data", "-o", "data", "--seed", "1")
    palitune(folder, "split", "-d", "data/data.jsonl", "-v", "10", "-n", "set")
    hosts = Hosts(folder, args.processes, args.devices, args.steps)
    palitune(folder, *hosts.learn("one", "--save-every", "0"))
    begun = time.perf_counter()
    hosts.run(hosts.learn("whole", "--save-every", "0"))
    longest = time.perf_counter() - begun
    difference = largest_difference(hosts.losses("whole"), hosts.losses("one"))
    rows = len(hosts.losses("one"))
    print(f"{args.processes} processes x {args.devices} devices, {rows} rows of losses: within {difference:.1e} of one")
    if difference > TOLERANCE:
        raise Killed(f"the losses differ by more than {TOLERANCE}")
    seconds: list[float] = []
    ends = 0
    while len(seconds) < args.kills:
        found = hosts.killed(hosts.learn("killed", "--save-every", "1"), rng, longest)
        seconds += [] if found is None else [found]
        if hosts.is_over("killed"):
            if hosts.learned("killed") != hosts.learned("whole"):
                raise Killed("what was learned is not the same as without kills")
            ends += 1
            for suffix in (".npz", ".json"):
                (folder / "checkpoints" / "killed").with_suffix(suffix).unlink()
            shutil.rmtree(folder / "checkpoints" / "killed.run")
        print(f"{len(seconds)} kills, {ends} runs at their end", end="\r", file=sys.stderr, flush=True)
    if args.kills:
        if not hosts.is_over("killed"):
            hosts.run(hosts.learn("killed"))
            if hosts.learned("killed") != hosts.learned("whole"):
                raise Killed("what was learned is not the same as without kills")
        median, most = statistics.median(seconds), max(seconds)
        print(f"{len(seconds)} kills, {ends + 1} runs with the same end byte for byte")
        print(f"all had ended after {median:.1f} s (median), {most:.1f} s at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=2, help="of each process")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), args)


if __name__ == "__main__":
    main()

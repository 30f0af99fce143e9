"""Shards that are killed at random moments, again and again: is what is gathered the same as without shards?

    python bench/shards.py --records 1000000 --shards 64 --kills 200 --without-model
    python bench/shards.py --records 20000 --shards 64 --kills 200

The records are short texts. Every shard is a process of its own, which SIGKILL ends at a random moment, half of the
times while it writes answers, and which is then started again, until the kills are used up; then all shards are
finished and gathered. The file has to be that of one process byte for byte. With --without-model the probabilities are
made from a hash of each text, so that records are read, dealt, resumed, checked and gathered as always, in a fraction
of the time; without it, `palitune inference` is run with the tiny text model.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from palitune.config.predictor_config import PredictorConfig
from palitune.config.sharding import Shard
from palitune.data import answer_shards
from palitune.data.image_folders import ImageFolders
from palitune.data.prediction import MadeWith, Prediction
from palitune.labels import LABELS
from palitune.run.answer_lines import LineWriter, answer_line, continued_file
from palitune.run.inference import Asked
from palitune.run.wanted_answers import Wanted

WORDS = ("rain", "sun", "fog", "a good day", "snow", "wind", "late", "cold")


def draw(path: Path, records: int, seed: int) -> None:
    """Writes records of a few words each; many of them are there twice."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(records):
            text = f"{rng.choice(WORDS)} {rng.randrange(max(1, records // 2))}"
            file.write(json.dumps({"text": text, "suffix": LABELS[number % 3 == 0]}) + "\n")


def answer_without_model(data: str, out: str, batch_size: int, shard: Shard | None) -> None:
    """Answers as `run.inference.answer` does, with probabilities that are made from the texts."""
    resume = str(answer_shards.path_of(Path(out), shard)) if shard else out
    wanted = Wanted(data, resume=resume, batch_size=batch_size, quiet=True, shard=shard)
    made, folders = MadeWith(LABELS, model="none"), ImageFolders.beside(Path(data))
    with continued_file(resume, data) as file, Asked(wanted, file, folders) as asked:
        asked.begin(made, PredictorConfig())
        shares = ((one, hashlib.sha256(one.subject.encode()).digest()[0] / 255) for one in asked)
        predictions = (Prediction(one, one.target, LABELS[p < 0.5], p, made=made) for one, p in shares)
        with LineWriter(file) as write:
            for one in asked.new(predictions):
                write(answer_line(one, LABELS, jsonl=False))
        asked.finish()


class Process:
    """What answers all records or one shard of them, as a command that is started."""

    def __init__(self, folder: Path, batch_size: int, has_model: bool) -> None:
        self.folder, self.batch_size, self.has_model = folder, batch_size, has_model

    def start(self, out: str, shard: Shard | None) -> "subprocess.Popen[bytes]":
        which = ["--shard", str(shard)] if shard else []
        command = [sys.executable, __file__, "--answer", out, *which, "-b", str(self.batch_size)]
        if self.has_model:
            command = [
                "palitune",
                "inference",
                "-m",
                "tinytext",
                "-d",
                "in.jsonl",
                "--prompt",
                "Is it good?",
                "--quiet",
            ]
            command += ["-b", str(self.batch_size), "--resume", out, *which]
        return subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE)

    def run(self, out: str, shard: Shard | None = None) -> float:
        """The seconds it took. Raises RuntimeError: it has failed."""
        start = time.perf_counter()
        with self.start(out, shard) as process:
            errors = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(f"{out} {shard}: {process.returncode} {errors.decode()}")
        return time.perf_counter() - start

    def kill(self, out: str, shard: Shard, rng: random.Random, longest: float, is_patient: bool) -> str:
        """Starts a shard and kills it, if patient while it writes answers; returns what it was at."""
        path = answer_shards.path_of(self.folder / out, shard)
        before = path.stat().st_size if path.exists() else 0
        begun = time.perf_counter()
        limit = rng.random() * longest
        with self.start(out, shard) as process:
            while process.poll() is None:
                has_grown = path.exists() and path.stat().st_size > before
                if (is_patient and has_grown) or (not is_patient and time.perf_counter() - begun > limit):
                    break
                time.sleep(0.001)
            if is_patient:
                time.sleep(rng.random() * 0.02)
            process.kill()
            errors = process.communicate()[1].decode()
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{shard}: {process.returncode} {errors}")
        has_grown = path.exists() and path.stat().st_size > before
        return "over" if process.returncode == 0 else "writing" if has_grown else "before its first line"


def disturb(
    process: Process, out: str, shards: Sequence[Shard], kills: int, rng: random.Random, longest: float
) -> None:
    """Kills shards, each time another one, until so many were killed, and says what they were at.

    Where all of them are over before that, one starts over.
    """
    at: dict[str, int] = {}
    while sum(count for what, count in at.items() if what != "over") < kills:
        unfinished = [one for one in shards if not is_finished(answer_shards.path_of(process.folder / out, one))]
        if not unfinished:
            path = answer_shards.path_of(process.folder / out, rng.choice(shards))
            for file in (path, answer_shards.beside(path)):
                file.unlink(missing_ok=True)
            continue
        is_patient = sum(at.values()) % 2 == 0
        what = process.kill(out, rng.choice(unfinished), rng, longest, is_patient)
        at[what] = at.get(what, 0) + 1
    print(f"killed: {', '.join(f'{count} {what}' for what, count in sorted(at.items()))}", flush=True)


def is_finished(path: Path) -> bool:
    """Whether a shard's answers are all there."""
    found = answer_shards.read(path)
    return found is not None and found.records is not None


def measure(folder: Path, args: argparse.Namespace) -> None:
    rng = random.Random(args.seed)
    draw(folder / "in.jsonl", args.records, args.seed)
    process = Process(folder, args.batch_size, not args.without_model)
    if process.has_model:
        subprocess.run(["palitune", "download", "--model", "tinytext", "--quiet"], cwd=folder, check=True)
    seconds = process.run("whole.tsv")
    print(f"one process: {seconds:.1f} s, {args.records / seconds:.0f} records/s", flush=True)
    shards = [Shard(number, args.shards) for number in range(1, args.shards + 1)]
    start = time.perf_counter()
    disturb(process, "out.tsv", shards, args.kills, rng, args.longest)
    print(f"{args.kills} kills: {time.perf_counter() - start:.1f} s", flush=True)
    seconds = sum(process.run("out.tsv", shard) for shard in shards)
    print(f"{args.shards} shards finished, one after the other: {seconds:.1f} s", flush=True)
    start = time.perf_counter()
    command = ["palitune", "gather", "out.tsv", "-d", "in.jsonl"]
    done = subprocess.run(command, cwd=folder, check=True, stderr=subprocess.PIPE, text=True)
    print(f"{done.stderr.strip()}: {time.perf_counter() - start:.1f} s")
    if (folder / "out.tsv").read_bytes() != (folder / "whole.tsv").read_bytes():
        raise SystemExit("what was gathered is not what one process has written")
    print("what was gathered is what one process has written, byte for byte")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument(
        "--longest", type=float, default=6, help="seconds after which a process is killed at the latest"
    )
    parser.add_argument("--without-model", action="store_true", help="probabilities from a hash of each text")
    parser.add_argument("-b", "--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answer", help=argparse.SUPPRESS)  # what it starts itself with
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.answer:
        shard = Shard(*map(int, args.shard.split("/"))) if args.shard else None
        answer_without_model("in.jsonl", args.answer, args.batch_size, shard)
        return
    os.nice(10)
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), args)


if __name__ == "__main__":
    main()

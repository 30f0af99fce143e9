"""The results of the main job, held to recorded ones: what a rebuilding of the code must not change.

    python tests/results.py record     on a machine, before
    python tests/results.py            on the same machine, after; prints differences, and exits with 1 if there are any

Parameters are compared array by array, answers and reports byte by byte. Sums of floats depend on the processor, so a
record holds for machines with the one that it names; `names of options` and `plan` hold anywhere.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

RECORD = Path(__file__).parent / "golden" / "results.json"
METHODS = {
    "attention": ["--method", "attention", "-2"],
    "full": ["--method", "full", "--learning-rate-scale", "img/.*=0.1"],
    "lora": ["--method", "lora", "-b", "8"],
    "weights": ["--balance", "weights", "--schedule", "linear", "--clip-tensor", "1", "--ema", "0.9"],
    "sample": ["--balance", "sample", "--augment", "flip,crop", "--label-smoothing", "0.1", "--optimizer", "adamw",
               "--learning-rate", "0.003"],
}  # fmt: skip
PLANS = ("paligemma-3b-224", "paligemma2-3b-448", "paligemma2-10b-224")


def palitune(folder: Path, *arguments: str) -> str:
    """What a command prints on stdout. Raises CalledProcessError where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PALITUNE", "JAX", "XLA"))}
    home = {"PALITUNE_HOME": str(folder), "JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    command = [sys.executable, "-m", "palitune", *arguments]
    done = subprocess.run(command, cwd=folder, env=kept | home, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def sha256(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def arrays(path: Path) -> str:
    """SHA-256 of a checkpoint's parameters: names, dtypes, shapes, bytes."""
    total = hashlib.sha256()
    with np.load(path) as file:
        for name in sorted(file.files):
            if isinstance(value := file[name], np.ndarray):  # and not the manifest, which names the versions
                total.update(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes())
    return total.hexdigest()


def options(folder: Path) -> dict[str, list[str]]:
    """The names of every command's options, by command."""
    commands = re.findall(r"^  ([a-z][a-z-]+)  ", palitune(folder, "--help"), re.MULTILINE)
    found = {}
    for command in commands:
        usage = palitune(folder, command, "--help").partition("\noptions:")[2]
        found[command] = sorted(set(re.findall(r"(?<![\w-])--?[a-z0-9][\w-]*", "\n".join(
            line.partition("   ")[0] for line in re.findall(r"^  (-.*)$", usage, re.MULTILINE)
        ))))  # fmt: skip
    return found


def results(folder: Path) -> dict[str, Any]:
    """Everything that is recorded, from a new folder."""
    found: dict[str, Any] = {"options": options(folder)}
    found["plan"] = {name: palitune(folder, "plan", "--estimate", "--variant", name) for name in PLANS}
    palitune(folder, "download", "--model", "tiny")
    palitune(folder, "demo-data")
    palitune(folder, "split", "-v", "10", "-n", "set1")
    for name, typed in METHODS.items():
        print(f"learning: {name}", file=sys.stderr)
        said = palitune(folder, "learn", "-d", "set1", "-m", "tiny", "-w", name, "--seed", "3", *typed)
        metrics = (folder / "checkpoints" / f"{name}.run" / "metrics.csv").read_bytes()
        answers = palitune(folder, "inference", "-m", name, "-d", "dataset/data.jsonl")
        (folder / f"{name}.tsv").write_text("".join(f"{line}\n" for line in answers.splitlines() if line[0] != "#"))
        report = json.loads(palitune(folder, "report", f"{name}.tsv", "--json"))
        found[name] = {
            "printed": sha256(said),
            "checkpoint": arrays(folder / "checkpoints" / f"{name}.npz"),
            "metrics.csv": sha256(metrics),
            "13": sha256((folder / f"{name}.tsv").read_bytes()),
            "report": sha256(json.dumps(report, sort_keys=True)),
        }
    return found


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [one for key in keys for one in differences(before.get(key), now.get(key), f"{where}/{key}")]
    return [] if before == now else [f"{where}: {before!r:.300} became {now!r:.300}"]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = results(Path(folder))
    made = json.loads(json.dumps({"processor": processor(), **made}))
    if sys.argv[1:] == ["record"]:
        RECORD.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
        return 0
    recorded = json.loads(RECORD.read_text())
    if recorded["processor"] != made["processor"]:
        print(f"recorded on {recorded['processor']}, this is {made['processor']}: figures may differ", file=sys.stderr)
    found = differences(recorded, made)
    print("\n".join(found) or "everything is as recorded")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

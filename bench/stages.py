"""The stages as processes, for benchmarks that measure what a person would."""

import os
import re
import subprocess
import sys
from pathlib import Path


def palitune(folder: Path, *arguments: str) -> str:
    """Runs a command in a folder that is its home too; returns its stdout."""
    environment = {**os.environ, "PALITUNE_HOME": str(folder), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "palitune", *arguments, "--quiet"]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def counts(block: str) -> tuple[int, ...]:
    """Tp, Tn, Fp and Fn of the first result block."""
    found = re.search(r"Tp=(\d+) Tn=(\d+) Fp=(\d+) Fn=(\d+)", block)
    if found is None:
        raise ValueError(f"there is no result block in {block[:200]!r}")
    return tuple(int(number) for number in found.groups())


def accuracy(block: str) -> float:
    tp, tn, fp, fn = counts(block)
    return (tp + tn) / (tp + tn + fp + fn)

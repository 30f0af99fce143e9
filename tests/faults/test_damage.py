"""Damaged pictures and damaged lines: each is read or named, quickly, in little memory.

In a process of its own for each kind, so that its memory is its own. `pytest --faults` tries all 20,000 of each.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HANGS = 5  # seconds
MEMORY = 1_000_000_000  # bytes
# What a process of this test does: damage, read, measure.
WORKER = """
import sys, warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, {tests!r})
from faults import damage

warnings.simplefilter("ignore")
damage.{kind}(Path({folder!r}), {count})
# Not getrusage: after a fork and an exec that begins with what the parent had.
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
print(f"peak {{peak}}")
assert peak < {memory}, peak
"""


@pytest.mark.parametrize("kind", ["pictures", "lines"])
def test_damage_is_named(kind: str, tmp_path: Path, campaign: Callable[[int, int], int]) -> None:
    tests = str(Path(__file__).parent.parent)
    count = campaign(2_000, 20_000)
    code = WORKER.format(tests=tests, kind=kind, folder=str(tmp_path), count=count, memory=MEMORY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)

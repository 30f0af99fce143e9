"""Shards that are killed at random moments: what is gathered is what one process would have written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "shards.py"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "few", "many"),
    [
        ((), ("600", "2", "3"), ("20000", "64", "200")),
        (("--without-model",), ("6000", "3", "6"), ("1000000", "64", "200")),
    ],
    ids=["with a model", "without"],
)
def test_killed_at_any_moment(
    options: tuple[str, ...],
    few: tuple[str, str, str],
    many: tuple[str, str, str],
    environment: dict[str, str],
    campaign: Callable[[int, int], int],
) -> None:
    records, shards, kills = (few, many)[campaign(0, 1)]
    command = [sys.executable, str(BENCH), "--records", records, "--shards", shards, "--kills", kills, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert "what was gathered is what one process has written, byte for byte" in done.stdout
    assert f"{kills} kills" in done.stdout
    assert " writing" in done.stdout

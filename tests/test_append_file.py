"""A file to whose end one process at a time adds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palitune.errors import OutputExistsError
from palitune.storage import append_file

OWN = """
import sys, time, pathlib
from palitune.storage import append_file
{patch}
with append_file.exclusive(pathlib.Path(sys.argv[1])) as file:
    file.write(b"x\\n")
    time.sleep(60)
"""
PATCH = "append_file.locks.try_lock = lambda *args: None"


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_stopped_owner_is_one_and_a_killed_one_is_none(
    tmp_path: Path, has_locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_locks:
        monkeypatch.setattr("palitune.storage.locks.try_lock", lambda descriptor: None)
    path = tmp_path / "out.tsv"
    code = OWN.format(patch="" if has_locks else PATCH)
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as owner:
        while not (path.exists() and path.stat().st_size):
            time.sleep(0.02)
        owner.send_signal(signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(OutputExistsError, match="is writing this file") as caught, append_file.exclusive(path):
                pass
        assert "process" in str(caught.value)
        owner.kill()
    with append_file.exclusive(path) as file:
        file.write(b"y\n")
    assert path.read_bytes() == b"x\ny\n"
    assert os.listdir(tmp_path) == ["out.tsv"]


def test_what_nothing_was_added_to_is_not_left(tmp_path: Path) -> None:
    with append_file.exclusive(tmp_path / "new/out.tsv"):
        pass
    assert os.listdir(tmp_path / "new") == []


def test_a_link_that_a_person_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with append_file.exclusive(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "real").read_bytes() == b"x"
    assert (tmp_path / "link").is_symlink()

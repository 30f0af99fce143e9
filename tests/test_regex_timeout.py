"""A search that backtracks without end is given up, and says of what."""

import re
import signal
from pathlib import Path

import pytest
from conftest import Run

from palitune.data.split import regex_timeout
from palitune.data.split.regex_timeout import TimedSearch
from palitune.errors import UsageError


def test_a_search_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex_timeout, "TIME_LIMIT", 0.2)
    with TimedSearch(re.compile(r"(a+)+$"), "--group x") as search:
        assert search("aaa") is not None
        with pytest.raises(UsageError, match="--group x: the expression takes too long on 'aaaa"):
            search("a" * 60 + "!")
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_split_says_so(tmp_path: Path, run: Run) -> None:
    lines = [f"{'a' * 50}{number}!.jpg\t{'yes' if number % 2 else 'no'}\n" for number in range(20)]
    (tmp_path / "data.tsv").write_text("".join(lines))
    done = run("palitune", "split", "-d", "data.tsv", "-v", "2", "--group", r"image:^(a+)+$", cwd=tmp_path)
    assert done.returncode == 2
    assert "the expression takes too long" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.tsv"]

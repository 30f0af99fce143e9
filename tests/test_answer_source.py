"""What answers were made with is told by a hidden file beside them, and by nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from palitune.data import answer_source
from palitune.data.answer_source import AnswerSource
from palitune.data.prediction import MadeWith
from palitune.evaluate import answer_files
from palitune.evaluate.report.from_files import summarize_file

# By the values alone "a" would be taken for the label that p_yes is of: its answers have the higher ones.
LINES = "x.jpg\tTrue\t0.600000\ta\ta\ny.jpg\tTrue\t0.100000\tb\tb\nz.jpg\tFalse\t0.300000\tb\ta\n"
MADE = MadeWith(("b", "a"), 0.05, 1.5, "m", "1234", "Which?")


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "out.tsv"
    path.write_text(LINES)
    return path


def test_what_is_known_is_not_guessed(answers: Path) -> None:
    old = answer_files.read(answers, quiet=True)
    assert (old.outcomes.classes, old.made) == (("a", "b"), None)
    AnswerSource(answers).write(MADE)
    assert answer_source.read(answers) == MADE
    found = answer_files.read(answers, quiet=True)
    assert found.outcomes.classes == ("b", "a")
    assert found.outcomes.p is not None
    assert found.outcomes.p.tolist() == [0.6, 0.1, 0.3]
    turned = answer_files.read(answers, ("a", "b"), quiet=True)
    assert turned.outcomes.p is not None
    assert turned.outcomes.p.tolist() == pytest.approx([0.4, 0.9, 0.7])
    assert answer_files.threshold_of(turned.predictions, turned.outcomes.classes) == 0.95
    summary = summarize_file(str(answers), quiet=True)
    assert summary.threshold == 0.05
    assert summary.facts["answered by"] == "m"
    assert summary.facts["labels"] == "b, a"


def test_other_content_is_noticed(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    AnswerSource(answers).write(MADE)
    answers.write_text(LINES.replace("0.3", "0.4"))
    assert answer_source.read(answers) is None
    assert "have changed since" in capsys.readouterr().err
    assert answer_source.read(answers.with_name("other.tsv")) is None
    for content in ("", "{}", "[]", "null", '{"made": 1, "sha256": 2, "version": 1}'):
        answer_source.beside(answers).write_text(content)
        assert answer_source.read(answers) is None


def test_lines_of_something_unknown_are_not_claimed(answers: Path) -> None:
    assert AnswerSource.of_file(answers, MADE).path is None
    AnswerSource(answers).write(MADE)
    assert AnswerSource.of_file(answers, MADE).path == answers
    assert AnswerSource.of_file(answers, MADE._replace(threshold=0.5)).path is None
    assert AnswerSource.of_file(answers.with_name("new.tsv"), MADE).path == answers.with_name("new.tsv")


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="Linux tells the name of standard output")
def test_standard_output_that_is_a_new_file(tmp_path: Path) -> None:
    code = "from palitune.data.answer_source import AnswerSource; import sys; print(AnswerSource.of_stdout().path)"
    command = f'"{sys.executable}" -c "{code}"'
    assert subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout == "None\n"
    subprocess.run(f"{command} > new; echo x > old; {command} >> old", shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "new").read_text() == f"{tmp_path / 'new'}\n"
    assert (tmp_path / "old").read_text() == "x\nNone\n"

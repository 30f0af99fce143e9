"""What reaches a terminal: nothing that it would obey or cannot show; and results, whatever becomes of notes."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from conftest import Run

from palitune import text_tables
from palitune.errors import printable

OBEYED = "\x07\x08\r\x0b\x1b\x7f\x85\x9b\xad\u061c\u200b\u200e\u200f"
OBEYED += "\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\u3164\ufe0f"
NAME = f"a\x1b]0;t\x07{OBEYED}b日本.png"


def test_what_moves_a_terminal_or_hides_is_spelled_out() -> None:
    assert not set(printable(NAME)) & set(OBEYED)
    assert printable("a\nb\t\x1b[31m\u202e") == r"a\nb\t\x1b[31m\u202e"
    for plain in ("私の\u3000写真 (1).png", "が", "é😀", "Ωд"):
        assert printable(plain) == plain


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Answers whose names, labels, questions and keys a terminal would obey; another file of them, and prompts."""
    for file, answers in (("a", "xy"), ("b", "yx")):
        rows = [
            {"image": f"{i}{NAME}", "prefix": f"{NAME}?", "suffix": "xy"[i % 2] + NAME, "p_yes": (0.7, 0.2)[i % 3 == 0],
             "answer": answers[i % 3 == 0] + NAME, "source": NAME}
            for i in range(6)
        ]  # fmt: skip
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / f"{NAME}.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\nb.png\tTrue\t0.1\tno\tno\n")
    return tmp_path


def test_an_emoji_of_several_characters_is_whole() -> None:
    whole = ("\u2744\ufe0f", "\u2764\ufe0f\u200d\U0001f525", "\U0001f4aa\U0001f3fd", "1\ufe0f\u20e3")
    assert [printable(text) for text in whole] == list(whole)
    assert [printable(text) for text in ("a\ufe0f", "\u200d\U0001f525\u200d")] == [
        "a\\ufe0f",
        "\\u200d\U0001f525\\u200d",
    ]
    assert text_tables.aligned([("", "n"), (whole[1], "1"), ("abc", "2")]) == ["     n", f"{whole[1]}   1", "abc  2"]


def test_nothing_of_data_is_obeyed(run: Run, hostile: Path) -> None:
    (tsv,) = hostile.glob("*.tsv")
    for arguments in (
        ["report", "--text", "a.jsonl"],
        ["report", "--json", "a.jsonl"],
        ["report", "--text", "a.jsonl", "--before", "b.jsonl"],
        ["report", "a.jsonl"],
        ["compare", "a.jsonl", "b.jsonl"],
        ["compare", "--json", "a.jsonl", "b.jsonl"],
        ["threshold", tsv.name, "--precision", "0.5", "--temperature"],
        ["report", "--text", tsv.name],
        ["report", "--text", f"{tsv.name}.gone"],
        ["report", f"--{NAME[:4]}"],
        ["threshold", tsv.name, "--cost", NAME],
        ["aggregate", "a.jsonl", tsv.name],
        ["lint", "a.jsonl"],
        [NAME],
    ):
        done = run("palitune", *arguments, cwd=hostile)
        found = set(done.stdout + done.stderr) & set(OBEYED)
        assert not found, (arguments, found)
        assert done.returncode in (0, 1, 2, 65, 66), done.stderr
    # Lines of data are copied as they are.
    lines = (hostile / "a.jsonl").read_text().splitlines()
    assert sorted(run("palitune", "uncertain", "a.jsonl", cwd=hostile).stdout.splitlines()) == sorted(lines)


def test_lines_of_data_at_a_terminal(hostile: Path, environment: dict[str, str]) -> None:
    """What goes into a file byte by byte is not obeyed by a terminal."""
    (tsv,) = hostile.glob("*.tsv")
    tsv.write_text(f"{NAME}.png\tTrue\t0.9\tyes\tyes\n")
    for arguments in (
        ["uncertain", tsv.name],
        ["filter", "--keep", "tp", tsv.name],
        ["convert", tsv.name],
        ["thin", tsv.name, "--target", "0.5"],
    ):
        leader, follower = pty.openpty()
        done = subprocess.run(["palitune", *arguments, "--quiet"], cwd=hostile, env=environment, stdout=follower)
        assert done.returncode == 0, arguments
        shown = os.read(leader, 65536).decode()
        os.close(follower)
        os.close(leader)
        assert "\\x1b]0" in shown or "\\u001b]0" in shown, arguments
        assert not set(shown) & (set(OBEYED) - {"\r"}), arguments


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_names_that_a_terminal_cannot_show(run: Run, tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "無い.tsv").write_text("日本.png\tTrue\t0.9\tyes\tyes\n猫😀.png\tFalse\t0.8\tno\tyes\n", "utf-8")
    done = run("palitune", "report", "--text", "無い.tsv", cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    assert r"Result: \u7121\u3044.tsv" in done.stdout
    assert r"\u65e5\u672c.png" in done.stdout
    done = run("palitune", "report", "無い.tsv", cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 images are not found, the first is \\u65e5\\u672c.png" in done.stderr
    done = run("palitune", "uncertain", "無い.tsv", cwd=tmp_path, env=variables)
    assert done.stdout.splitlines()[0].startswith("猫😀.png")
    done = run("palitune", "aggregate", "猫.tsv", cwd=tmp_path, env=variables)
    assert done.returncode == 66
    assert r"\u732b.tsv" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("aggregate a.tsv gone.tsv 2>/dev/full", 66),
        ("threshold a.tsv --cost fp=1,fn=1 2>/dev/full", 0),
        ("threshold a.tsv --cost fp=1,fn=1 2>&-", 0),
        ("threshold a.tsv --cost nothing 2>/dev/full", 2),
        ("--help >/dev/full", 74),
        ("report --text a.tsv >/dev/full", 74),
        ("report --text a.tsv >/dev/full 2>/dev/full", 74),
    ],
)
def test_streams_that_take_nothing(run: Run, tmp_path: Path, arguments: str, code: int) -> None:
    (tmp_path / "a.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\nb.png\tTrue\t0.1\tno\tno\n")
    done = run("bash", "-c", f"palitune {arguments}", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    if code == 0:
        assert "threshold: 0.5" in done.stdout
    assert "Traceback" not in done.stderr


def test_debug_ends_as_without(run: Run, tmp_path: Path) -> None:
    done = run("palitune", "aggregate", "gone.tsv", "--debug", cwd=tmp_path)
    assert done.returncode == 66
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("palitune aggregate: gone.tsv: ")

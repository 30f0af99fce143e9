"""The page about all runs."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Run

from palitune.confidence_interval import Figure
from palitune.evaluate import loss_curve
from palitune.evaluate.language import IN_ENGLISH
from palitune.evaluate.past_run import Worth
from palitune.evaluate.report import runs_page
from palitune.run import ledger

pytestmark = pytest.mark.quick_programs


class Text(HTMLParser):
    """The text of a page, and what it refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links = "", list[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "action")]
        assert tag not in ("script", "iframe", "object")


def test_the_command(home: Path, run: Run) -> None:
    (home / "checkpoints/notes.run").mkdir()
    done = run("palitune", "report", "--runs", "-o", "out/runs.html", cwd=home)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "wrote out/runs.html"
    page = Text((home / "out/runs.html").read_text("utf-8"))
    assert all(link.startswith("data:") for link in page.links)
    assert list((home / "out").iterdir()) == [home / "out/runs.html"]
    found = " ".join(page.text.split())
    assert "3 runs from " in found
    assert "2 finished, 1 failed. 2 of them can be compared. 1 folders could not be read and are left out." in found
    assert re.search(r"Runs: (first|swept) has the highest accuracy", found)
    assert "It cannot be told from the other run, by McNemar's exact test of their answers." in found
    again = run("palitune", "report", "--runs", "-o", "out/runs.html", cwd=home)
    assert again.returncode == 73
    assert (
        run("palitune", "report", "--runs", "checkpoints", "-o", "out/runs.html", "--overwrite", cwd=home).returncode
        == 0
    )


def test_the_page_in_japanese(home: Path, run: Run) -> None:
    """And what a terminal shows is English, whatever the environment."""
    done = run("palitune", "report", "--runs", "--lang", "ja", cwd=home)
    assert done.returncode == 0, done.stderr
    found = Text((home / "runs.html").read_text("utf-8")).text
    assert "実行ごとの正解率" in found
    assert "完了 2 件、失敗 1 件" in found
    assert "learning_rate 0.02、seed 1" in found
    for command in (["runs"], ["runs", "best"], ["runs", "diff", "first", "swept"]):
        here, there = (run("palitune", *command, cwd=home, env=env) for env in ({}, {"LC_ALL": "ja_JP.UTF-8"}))
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--runs", "--text"], 2, "--text has no effect with --runs"),
        (["--runs", "nowhere"], 66, "no such folder"),
        (["--runs", "--by", "exact_match"], 66, "no finished run here has its exact match"),
        (["x.tsv", "--by", "loss"], 2, "--by is for --runs"),
        ([], 2, "required: FILE, or --runs"),
    ],
)
def test_arguments(home: Path, run: Run, arguments: list[str], code: int, message: str) -> None:
    done = run("palitune", "report", *arguments, cwd=home)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def html(by: str = "accuracy", name: str | None = None) -> str:
    runs = ledger.read().runs
    if name is not None:
        runs = [dataclasses.replace(run, name=name) for run in runs]
    return runs_page.html(runs_page.summarize(runs, by), IN_ENGLISH)


def test_matrices_before_and_after(home: Path) -> None:
    first = ledger.of_name("first")
    page = html()
    for counts in (first.before.counts, first.after.counts):
        assert counts is not None
        cells = [f">{number}</td>" for number in (counts.tp, counts.fn, counts.fp, counts.tn)]
        assert re.search(".*".join(cells), page, re.DOTALL)
    assert page.count("losses of first over epochs") == 1
    assert html("loss").count("A loss has no interval here") == 1


def test_everything_is_escaped(home: Path) -> None:
    folder = home / "checkpoints"
    evil = '<script>alert("x")</script>\x1b[2J'
    page = html(name=evil)
    assert "<script" not in page
    assert "\x1b" not in page
    path = folder / "first.run/config.json"
    path.write_text(path.read_text().replace("Is this image", "<img src=x onerror=y> is it"))
    results = folder / "swept.run/results.txt"
    results.write_text(results.read_text().replace("  Tp=", "  right=3 wrong=3 <b>\x1b[1m Tp="))
    page = html()
    assert "<img src=x" not in page
    assert "<b>\x1b" not in page
    assert Text(page)


def test_phones(home: Path) -> None:
    page = html()
    assert 'name="viewport"' in page
    # What may be wider than a telephone scrolls on its own, and columns follow the width.
    for table in re.finditer(r"<table(?! class=\"matrix\")", page):
        assert page[: table.start()].endswith('<div class="scroll">')
    assert "minmax(min(250px, 100%), 1fr)" in page


def test_many_runs(home: Path) -> None:
    first = ledger.of_name("first")
    runs = [
        dataclasses.replace(
            first,
            name=f"trial-{number}",
            folder=home / f"{number}.run",
            settings={**first.settings, "seed": number, "learning_rate": (0.01, 0.02)[number % 2]},
            metrics=None,
            answers=None,
            began=first.began + number,
            after=Worth({"accuracy": Figure(0.5 + 0.2 * (number % 2) + number / 1000, 0.4, 0.9)}, None, 6),
        )
        for number in range(60)
    ]
    one = runs_page.summarize(runs, "accuracy")
    assert one.choice.best.name == "trial-59"
    assert [(effect.name, effect.significance) for effect in one.effects] == [("learning_rate", "real")]
    page = Text(runs_page.html(one, IN_ENGLISH)).text
    assert f"{runs_page.MOST_SHOWN} of 60 are shown." in " ".join(page.split())
    assert "More than chance: in the 60 runs" in " ".join(page.split())
    assert "because their intervals overlap" in page


def test_curves_are_those_of_the_metrics(home: Path) -> None:
    first = ledger.of_name("first")
    assert first.metrics is not None
    curve = loss_curve.read(first.metrics)
    assert curve is not None
    assert curve.valid[curve.kept] == first.value("loss")
    lines = first.metrics.read_text().splitlines()
    first.metrics.write_text("\n".join([*lines[:3], "{", *lines[3:]]) + "\n")
    assert loss_curve.read(first.metrics) is None
    assert loss_curve.read(home / "gone") is None
    assert "Its metrics do not tell its losses over epochs." in html()


def test_one_run_alone(home: Path) -> None:
    for path in (home / "checkpoints").glob("swept*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = " ".join(Text(html()).text.split())
    assert "It is the only run with this figure on these records" in page
    assert "No setting but the seed differs" in page
    assert "On dataset/new/data.jsonl, 12 records that it was not chosen by, its accuracy is " in page

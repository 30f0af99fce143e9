"""Runs as a table: read from their folders as they are, whatever is among them."""

import contextlib
import datetime
import json
import math
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from palitune.confidence_interval import wilson_interval
from palitune.errors import MissingInputError, UsageError
from palitune.evaluate import count_figures, metrics, run_selection, run_settings
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.past_run import FIGURES, PastRun
from palitune.evaluate.report import runs_table
from palitune.run import ledger, run_reading
from palitune.storage import locks
from palitune.text_tables import columns

pytestmark = pytest.mark.quick_programs


def by_name(folders: tuple[str, ...] = ()) -> dict[str, PastRun]:
    return {run.name: run for run in ledger.read(folders).runs}


def copied(home: Path, name: str, source: str = "first") -> Path:
    """The folder of a copy of a run, with its checkpoint."""
    folder = home / "checkpoints"
    shutil.copy(folder / f"{source}.npz", folder / f"{name}.npz")
    return shutil.copytree(folder / f"{source}.run", folder / f"{name}.run")


def edited(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_run_is_what_it_wrote_down(home: Path) -> None:
    found = by_name()
    assert list(found) == ["first", "swept", "lost"]
    first = found["first"]
    rows = [json.loads(line) for line in (first.folder / "metrics.jsonl").read_text().splitlines()]
    best = [row for row in rows if row.get("best")][-1]
    assert (first.state, first.step, first.epoch) == ("finished", best["step"], best["epoch"])
    assert first.value("loss") == best["valid_loss"]
    assert first.value("accuracy") == best["valid_accuracy"]
    block = (first.folder / "results.txt").read_text().split("valid.jsonl (1st trained)")[1]
    assert f"accuracy:  {first.value('accuracy')}\n" in block
    assert [one.records for one in first.sets] == [18, 6]
    assert first.settings["batch_size"] == 4
    assert (first.base, first.has_checkpoint, first.evaluated_on.name) == ("tiny", True, "valid.jsonl")
    assert first.seconds is not None
    assert 0 < first.seconds < 3600
    assert first.planned is not None
    assert first.planned > 1_000_000
    assert abs(first.began - (first.folder / "config.json").stat().st_mtime) < 120
    assert (found["lost"].state, found["lost"].value("accuracy"), found["lost"].has_checkpoint) == (
        "failed",
        None,
        False,
    )


def test_figures_are_those_of_the_counts(home: Path) -> None:
    first = by_name()["first"]
    counts = first.after.counts
    assert counts is not None
    assert first.after.records == 6 == counts.tp + counts.tn + counts.fp + counts.fn
    figures = dict(first.after.figures)
    del figures["loss"]
    assert figures == count_figures.of_counts(counts)


def test_intervals_by_wilson() -> None:
    found = count_figures.of_counts(Confusion(tp=6, tn=3, fp=0, fn=1))
    assert found["accuracy"] == (0.9, *wilson_interval(9, 10))
    assert found["recall"] == (6 / 7, *wilson_interval(6, 7))
    assert found["f_measure"][0] == pytest.approx(12 / 13)
    low, high = wilson_interval(6, 7)
    assert found["f_measure"][1:] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    # Of many records they are those of a bootstrap.
    many = Confusion(tp=1200, tn=900, fp=500, fn=400)
    labels = ["yes"] * 1600 + ["no"] * 1400
    answers = ["yes"] * 1200 + ["no"] * 400 + ["yes"] * 500 + ["no"] * 900
    drawn = metrics.with_intervals(metrics.outcomes_of(labels, answers, [None] * 3000, ("yes", "no")))
    for name, figure in count_figures.of_counts(many).items():
        assert figure.value == pytest.approx(drawn[name].value)
        if figure.low is not None:
            assert figure[1:] == pytest.approx(drawn[name][1:], abs=0.004)
    assert set(count_figures.of_counts(Confusion(tp=0, tn=0, fp=0, fn=0))) == set()
    assert count_figures.of_counts(Confusion(tp=0, tn=5, fp=0, fn=0))["accuracy"][0] == 1


def test_of_several_trials_the_settings_are_those_of_the_best(home: Path) -> None:
    swept = by_name()["swept"]
    manifest = json.loads((home / "checkpoints/swept.json").read_text())
    kept = {name: value for name, value in swept.settings.items() if name in manifest["config"]}
    assert kept == manifest["config"]
    assert swept.settings["sweep"] == ["lr=0.0001,0.02"]
    rows = [json.loads(line) for line in (swept.folder / "metrics.jsonl").read_text().splitlines()]
    own = [row for row in rows if row.get("best") and row["trial"] == rows[-1]["winner"]]
    assert (swept.step, swept.value("loss")) == (own[-1]["step"], own[-1]["valid_loss"])


def test_old_runs_lack_what_was_not_written_down(home: Path) -> None:
    for name in ("cost.json", "valid.tsv", "evaluations.jsonl"):
        (home / "checkpoints/first.run" / name).unlink()
    first = by_name()["first"]
    assert (first.seconds, first.planned, first.answers, first.evaluations, first.test) == (None, None, None, (), None)
    assert first.began == (first.folder / "config.json").stat().st_mtime
    (line,) = (line for line in runs_table.table([first], {}).lines[1:])
    assert [cell for cell in line.split("  ") if cell.strip() == "-"]


def test_long_metrics_are_not_read_whole(home: Path) -> None:
    first = by_name()["first"]
    path = first.folder / "metrics.jsonl"
    lines = path.read_text().splitlines()
    steps = ['{"step": 3, "train_loss": 0.5, "trial": 1, "pass": 1, "attempt": 1}'] * (run_reading.ENOUGH // 30)
    more = [lines[0], *steps, *lines[1:]]
    path.write_text("\n".join(more) + "\n")
    assert path.stat().st_size > 2 * run_reading.ENOUGH
    again = by_name()["first"]
    assert (again.step, again.after, again.before) == (first.step, first.after, first.before)
    # The best evaluation may be far from the end.
    end = lines[-1]
    path.write_text("\n".join([*lines[:-1], *steps, end]) + "\n")
    assert by_name()["first"].step == first.step


def test_states(home: Path) -> None:
    stopped = copied(home, "stopped")
    lines = (stopped / "metrics.jsonl").read_text().splitlines()
    (stopped / "metrics.jsonl").write_text("\n".join(lines[:-1]) + '\n{"step": 33, "trai')
    gone = copied(home, "gone")
    gone.with_suffix(".npz").unlink()
    with locks.exclusive(copied(home, "busy") / "lock", "this run", keep=True):
        (home / "checkpoints/early.run").mkdir()
        with locks.exclusive(home / "checkpoints/early.run/lock", "this run", keep=True):
            found, left_out = ledger.read()
    states = {run.name: run.state for run in found}
    assert [states[name] for name in ("stopped", "gone", "busy")] == ["stopped", "finished", "running"]
    assert [str(one.what).partition(";")[2] for one in left_out] == [" there is nothing to show yet"]
    assert "finished, checkpoint gone" in "\n".join(runs_table.table(found, {}).lines)
    # What a killed process has left in the lock is no holder.
    (home / "checkpoints/busy.run/lock").write_text("process 999999999 on nowhere since 2026-01-01 00:00:00\n")
    assert by_name()["busy"].state == "finished"


def link(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "aside.json")
    (folder / "config.json").symlink_to(folder / "config.json")


def pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def deep(folder: Path) -> None:
    (folder / "config.json").write_text('{"options": ' + "[" * 100_000)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda folder: (folder / "config.json").write_text(""), "damaged: not the configuration of a run"),
    "cut": (lambda folder: os.truncate(folder / "config.json", 300), "damaged: not the configuration of a run"),
    "list": (lambda folder: (folder / "config.json").write_text("[]"), "damaged: not the configuration of a run"),
    "deep": (deep, "damaged: not the configuration of a run"),
    "binary": (lambda folder: (folder / "config.json").write_bytes(b"\xff\x00" * 99), "damaged: not the"),
    "number": (lambda folder: (folder / "config.json").write_text('{"options": 3}'), "damaged: not the configuration"),
    "parts": (lambda f: edited(f / "config.json", lambda c: c["data"].update(x=3)), "made by another version"),
    "gone": (lambda folder: (folder / "config.json").unlink(), "no run: there is no config.json"),
    "loop": (link, "damaged: "),
    "pipe": (pipe, "damaged: "),
    "folder": (lambda f: [(f / "config.json").unlink(), (f / "config.json").mkdir()], "damaged: "),
    "older": (
        lambda folder: (folder / "config.json").write_text('{"palitune": "0.0.1\\u001b[31m"}'),
        r"made by another version of palitune (0.0.1\x1b[31m)",
    ),
    "metrics": (lambda folder: (folder / "metrics.jsonl").write_bytes(random.Random(0).randbytes(5000)), "damaged: "),
    "dir": (lambda f: [(f / "metrics.jsonl").unlink(), (f / "metrics.jsonl").mkdir()], "damaged: metrics.jsonl cannot"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_folder_is_left_out(home: Path, name: str) -> None:
    spoil, message = SPOILT[name]
    spoil(copied(home, "spoilt"))
    found, (error,) = ledger.read()
    assert [run.name for run in found] == ["first", "swept", "lost"]
    assert str(error).startswith(f"{home / 'checkpoints/spoilt.run'}: ")
    assert message in str(error)
    assert str(error).isprintable()


def odd_values(content: dict[str, Any]) -> None:
    content["config"] |= {"method": ["lora"], "learning_rate": math.nan, "seed": 10**400, "prompt": "\ud800\x1b[2J"}
    content["options"]["data"] = {"a": 1}
    content["base"] = {"name": 3, "hash": None}
    for part in content["data"].values():
        part |= {"file": 7, "records": -3, "sha256": [], "pictures": True}


def odd_metrics(folder: Path) -> None:
    rows = ['{"event": "evaluated", "label": 3, "figures": {"accuracy": ["x", null, null]}, "records": 1e400}']
    rows += ['{"best": true, "trial": "1", "step": "two", "valid_loss": {}}', '{"event": "finished", "winner": "x"}']
    (folder / "metrics.jsonl").write_text("\n".join(rows).replace('"best": true', '"best": true') + "\n")


ODD: dict[str, Callable[[Path], object]] = {
    "values": lambda folder: edited(folder / "config.json", odd_values),
    "metrics": odd_metrics,
    "no metrics": lambda folder: (folder / "metrics.jsonl").unlink(),
    "empty metrics": lambda folder: (folder / "metrics.jsonl").write_text(""),
    "results": lambda folder: (folder / "results.txt").write_bytes(b"Result: \xff (1st trained)\n  Tp=1\n" * 9),
    "cost": lambda folder: (folder / "cost.json").write_text('{"began": "9999", "seconds": -1, "memory": {}}'),
    "late": lambda folder: edited(folder / "cost.json", lambda c: c.update(began="9999-12-31T23:59:59+00:00")),
    "costs": lambda folder: edited(folder / "cost.json", lambda c: c.update(seconds=math.inf)),
    "evaluations": lambda folder: (folder / "evaluations.jsonl").write_text('{"date": 3}\n[]\n\x00\n'),
    "answers": lambda folder: (folder / "valid.tsv").write_bytes(b"\x00\xff" * 999),
    "linked answers": lambda folder: [
        (folder / "valid.tsv").unlink(),
        (folder / "valid.tsv").symlink_to("/etc/passwd"),
    ],
}


@pytest.mark.parametrize("name", ODD)
def test_a_run_with_odd_parts_is_still_listed(home: Path, name: str) -> None:
    ODD[name](copied(home, "odd"))
    found, left_out = ledger.read()
    assert "odd" in {run.name for run in found}
    assert not left_out
    changed = run_settings.since_the_one_before(found)
    for width in (None, 80):
        assert all(line.isprintable() for line in runs_table.table(found, changed, width).lines)
    for run in found:
        text = json.dumps(runs_table.as_json(run, changed[str(run.folder)]), allow_nan=False)
        assert json.loads(text)["name"] == run.name


def test_random_damage_is_no_traceback(home: Path) -> None:
    rng, folder = random.Random(3), copied(home, "spoilt")
    names = ("config.json", "metrics.jsonl", "results.txt", "cost.json", "evaluations.jsonl", "valid.tsv")
    whole = {name: path.read_bytes() for name in names if (path := home / "checkpoints/first.run" / name).is_file()}
    for _ in range(150):
        for name, content in whole.items():
            damaged = bytearray(content)
            for _ in range(rng.choice((0, 1, 3))):
                start = rng.randrange(len(damaged))
                damaged[start : start + rng.randrange(1, 40)] = rng.choice((b"", b"\xff\x00", b'"', b"[{", b"\x1b[31m"))
            (folder / name).write_bytes(damaged)
        found, left_out = ledger.read([str(folder)])
        assert len(found) + len(left_out) == 1
        assert all(line.isprintable() for line in runs_table.table(found, {}, 100).lines)
        assert all(str(one).isprintable() for one in left_out)
        for run in found:
            json.dumps(runs_table.as_json(run, {}), allow_nan=False)


def test_what_changed_since_the_run_before(home: Path) -> None:
    found = ledger.read().runs
    changed = run_settings.since_the_one_before(found)
    told = {run.name: run_settings.brief(changed[str(run.folder)]) for run in found}
    assert told["first"] == ""
    assert told["swept"] == 'sweep ["lr=0.0001,0.02"], learning_rate 0.02, seed 1'  # that of the trial that was kept
    other = {"training data": ("a", "b"), "data": ("set1", "set2"), "epochs": (2, None), "prompt": ("", "x" * 99)}
    assert run_settings.brief(other) == f"data set2, no epochs, prompt {'x' * 23}…"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 250])
def test_the_table_fits(home: Path, width: int) -> None:
    copied(home, "a-run-with-a-name-that-is-much-longer-than-any-terminal-has-room-for-it" * 2)
    copied(home, "広告の学習その一" * 6)
    copied(home, "\x1b[31mred\u202e")
    found = ledger.read().runs
    shown = runs_table.table(found, run_settings.since_the_one_before(found), width)
    assert len(shown.lines) == 1 + len(found)
    assert max(map(columns, shown.lines)) <= width
    assert all(line.isprintable() for line in shown.lines)
    heads = shown.lines[0].split()
    assert "name" in heads
    assert not set(heads) & {name for name in shown.left_out if " " not in name}
    if width >= 60:
        assert "accuracy" in heads


def test_choosing_and_ordering(home: Path) -> None:
    runs = ledger.read().runs

    def names(*conditions: str) -> list[str]:
        return [run.name for run in run_selection.chosen(runs, conditions)]

    assert names("name=s*") == ["swept"]
    assert names("learning-rate=2e-2") == ["swept"]
    assert names("state=FINISHED", "seed=0") == ["first"]
    assert names("data=set1") == ["first", "swept", "lost"]
    assert names("hash=zzz*") == []
    for condition in ("lora", "=x", ""):
        with pytest.raises(UsageError, match="no NAME=PATTERN"):
            names(condition)
    with pytest.raises(UsageError, match=r"no run has a learning_rat\. Did you mean learning_rate\?"):
        names("learning_rat=3")
    losses = [run.value("loss") for run in run_selection.ordered(runs, "loss")]
    assert losses == [*sorted(one for one in losses if one is not None), None]
    turned = [run.value("loss") for run in run_selection.ordered(runs, "loss", reverse=True)]
    assert turned == [*reversed(losses[:-1]), None]
    assert [run.name for run in run_selection.ordered(runs, None, reverse=True)] == ["lost", "swept", "first"]
    assert [run.name for run in run_selection.ordered(runs, None, most=2)] == ["swept", "lost"]
    assert [run.value("loss") for run in run_selection.ordered(runs, "loss", reverse=True, most=1)] == turned[:1]
    with pytest.raises(UsageError, match="no run has a colour"):
        run_selection.ordered(runs, "colour")


def test_folders_that_are_named(home: Path) -> None:
    shutil.copytree(home / "checkpoints", home / "elsewhere")
    assert list(by_name(("elsewhere",))) == [f"elsewhere/{name}" for name in ("first", "swept", "lost")]
    assert list(by_name(("checkpoints/first.run", "checkpoints"))) == ["first", "swept", "lost"]
    assert list(by_name(("elsewhere/first.run",))) == ["elsewhere/first"]
    for name in ("first", "first.npz", "first.run", "checkpoints/first", "elsewhere/first", "elsewhere/first.run/"):
        assert ledger.of_name(name).folder.name == "first.run"
    for name in ("gone", "", "elsewhere", "/", "first/../../x"):
        with pytest.raises(MissingInputError, match="no run"):
            ledger.of_name(name)
    with pytest.raises(MissingInputError, match="no such folder"):
        ledger.read(["nowhere"])


def test_the_command(home: Path, run: Run) -> None:
    done = run("palitune", "runs", cwd=home, env={"COLUMNS": "900"})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["first", "swept", "lost"]
    first = by_name()["first"]
    accuracy = first.after.figures["accuracy"]
    assert f"{accuracy.value:.3f} ({accuracy.low:.2f}-{accuracy.high:.2f})" in lines[1]
    assert " data.jsonl " in lines[1]
    narrow = run("palitune", "runs", "--sort", "loss", "--where", "state=finished", cwd=home, env={"COLUMNS": "70"})
    assert max(map(len, narrow.stdout.splitlines())) <= 70
    assert narrow.stderr.startswith("2 of 3 runs\nno room for ")
    found = json.loads(run("palitune", "runs", "--json", "--most", "1", cwd=home).stdout)
    assert [one["name"] for one in found] == ["lost"]
    assert set(found[0]["after"]) == {"records", "counts", "figures"}
    piped = run("bash", "-c", "unset COLUMNS; palitune runs", cwd=home)
    assert piped.stdout.splitlines() == done.stdout.splitlines()


def test_what_is_left_out_is_told(home: Path, run: Run) -> None:
    for number in range(7):
        os.truncate(copied(home, f"cut-{number}") / "config.json", 200)
    (home / "checkpoints/notes.run").mkdir()
    (home / "checkpoints/file.run").write_text("x")
    done = run("palitune", "runs", "--quiet", cwd=home)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    told = done.stderr.splitlines()
    assert sum("cut-" in line for line in told) == 5
    assert "left out: damaged: 2 more" in told
    assert sum("no run: there is no config.json" in line for line in told) == 2
    assert len(told) == 8


def test_no_runs_at_all(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "runs", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "palitune learn -w NAME makes one" in done.stderr
    assert json.loads(run("palitune", "runs", "--json", cwd=tmp_path).stdout) == []
    assert run("palitune", "runs", "best", cwd=tmp_path).returncode == 66


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yes"], "--yes has no effect on palitune runs"),
        (["diff", "a", "b", "--most", "3"], "--most has no effect on palitune runs diff"),
        (["best", "--json"], "--json has no effect on palitune runs best"),
        (["rm", "a", "--by", "loss"], "--by has no effect on palitune runs rm"),
        (["diff", "a"], "diff takes two runs"),
        (["rm"], "rm takes the names of runs"),
        (["best", "--by", "beauty"], "invalid choice"),
        (["--most", "0"], "not at least 1"),
    ],
)
def test_arguments(arguments: list[str], message: str, tmp_path: Path, run: Run) -> None:
    done = run("palitune", "runs", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_heavy_is_imported(home: Path) -> None:
    code = """
import sys
from palitune.cli import main
try:
    main(arguments=["runs"])
finally:
    heavy = ("jax", "numpy", "scipy", "PIL", "matplotlib", "jinja2")
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) == 4


def test_dates_are_this_machine_s(home: Path) -> None:
    first = by_name()["first"]
    shown = datetime.datetime.strptime(run_selection.when(first), "%Y-%m-%d %H:%M")
    assert 0 <= first.began - shown.timestamp() < 60
    assert run_selection.when(next(iter(by_name().values())).__class__(**{**vars(first), "began": 1e300})) == "-"


def test_a_folder_that_cannot_be_read(home: Path) -> None:
    folder = copied(home, "closed")
    (folder / "config.json").chmod(0)
    try:
        found, left_out = ledger.read()
        if os.geteuid():
            assert "closed" not in {run.name for run in found}
            assert "cannot be read" in str(left_out[0])
    finally:
        with contextlib.suppress(OSError):
            (folder / "config.json").chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_every_figure_has_a_name() -> None:
    assert all(name.islower() and title for name, title in FIGURES.items())

"""A loop that learns, evaluates and chooses by itself, from the command line and part by part."""

import json
import math
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss

from palitune.checkpoint import npz
from palitune.config.iterate_config import IterateConfig
from palitune.config.run_config import RunConfig
from palitune.config.time_span import TimeSpan, span
from palitune.errors import BadDataError, UsageError
from palitune.evaluate import conclusion
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.outcomes import outcomes_of
from palitune.iterate import candidates, halving
from palitune.iterate.candidates import Space
from palitune.iterate.halving import RECIPE, Try
from palitune.iterate.loop_folder import LoopFolder, Step
from palitune.method import METHODS

pytestmark = pytest.mark.quick_programs

QUICK = ("--examples", "16", "-b", "4", "--folds", "2", "--repeat", "2")
Done = subprocess.CompletedProcess[str]


# Which candidate is tried when.


def played(count: int, losses: Sequence[float]) -> tuple[list[Try], dict[tuple[int, int], float]]:
    """All tries of a search whose candidates have the same loss in all rounds."""
    found: dict[tuple[int, int], float] = {}
    order = []
    while (one := halving.following(count, found)) is not None:
        order.append(one)
        found[one] = losses[one.candidate]
    return order, found


@given(st.data())
def test_a_search_ends_with_the_best_and_the_recipe(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    losses = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    order, found = played(count, losses)
    assert len(order) == len(set(order)) <= halving.runs(count)
    assert halving.complete(count, found) == len(halving.sizes(count))
    last = halving.members(count, len(halving.sizes(count)) - 1, found)
    assert RECIPE in last
    assert any(losses[one] == min(losses) for one in last)
    assert [one.round for one in order] == sorted(one.round for one in order)


def test_what_fails_is_out() -> None:
    order, found = played(9, [math.inf, 0.2, math.inf, 0.1, *[0.5] * 5])
    assert {one.candidate for one in order if one.round == 1} == {1, 3, 4}
    assert math.isinf(found[2, 0])
    assert math.isinf(found[RECIPE, 0])


@pytest.mark.parametrize("allowed", [0, 1, 2, 7, 18, 200])
def test_a_search_keeps_to_the_runs_that_are_allowed(allowed: int) -> None:
    count = halving.most(allowed)
    assert halving.runs(count) <= max(1, allowed) < halving.runs(count + 1)


# What candidates are.


@given(st.integers(1, 200), st.integers(0, 5))
def test_candidates_come_from_the_seed_and_stay_in_bounds(number: int, seed: int) -> None:
    space = Space(RunConfig(), ["a", "b"], True, 0.1)
    changes = candidates.candidate(space, number, seed)
    assert changes == candidates.candidate(space, number, seed)
    config = RunConfig.of(changes)
    if config.learning_rate is not None:
        assert 0.24 <= config.learning_rate / METHODS[config.method].learning_rate <= 4.1
    assert config.examples in (None, 256, 1024)
    assert config.method in candidates.TRIED


@given(st.integers(1, 100))
def test_what_was_asked_for_is_the_same_in_all_candidates(number: int) -> None:
    asked = {"method": "lora", "learning_rate": 0.001, "examples": 64, "balance": "none", "augment": ("flip",)}
    space = Space(RunConfig.of(asked), [], True, 0.1)
    assert candidates.candidate(space, number, 0) == {}


def test_candidates_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "candidates.txt"
    path.write_text("# rates\nlr=0.01 method=lora\n\nprompt='Is it so?' seed=7\n")
    assert candidates.read(str(path)) == [{"learning_rate": 0.01, "method": "lora"}, {"prompt": "Is it so?", "seed": 7}]
    for line in ("write=x", "lr", "lr=fast", "'"):
        path.write_text(f"lr=0.1\n{line}\n")
        with pytest.raises(BadDataError) as raised:
            candidates.read(str(path))
        assert raised.value.where == f"{path}:2"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert TimeSpan().parse(text) == seconds == TimeSpan().parse(span(seconds))
    for wrong in ("10", "m", "-1m", "0s", "500d", "1e3s"):
        with pytest.raises(ValueError, match=r"time such as|above 0"):
            TimeSpan().parse(wrong)


# What it comes to.


def test_a_conclusion_is_mcnemars() -> None:
    rng = np.random.default_rng(0)
    right, other = rng.random(200) < 0.9, rng.random(200) < 0.6
    found = conclusion.conclude(right, {"other": other, "all wrong": np.zeros(200, bool)})
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    assert found.best.name == "other"
    assert (found.best.won, found.best.lost) == (won, lost)
    assert found.best.p_value == pytest.approx(stats.binomtest(won, won + lost).pvalue)
    assert found.is_worth_it
    assert found.sentences[0].startswith(f"Worth it: +{(won - lost) / 200:.2f} over other")
    assert found.accuracy.low < right.mean() < found.accuracy.high


def test_chance_is_seldom_worth_it() -> None:
    """Answers that are as good as a baseline, in many drawn sets."""
    rng = np.random.default_rng(1)
    drawn = rng.random((3000, 2, 96)) < 0.55
    said = [conclusion.conclude(one[0], {"a": one[1]}).is_worth_it for one in drawn]
    assert 0 < np.mean(said) < 0.01


def test_how_many_records_would_tell() -> None:
    right = np.arange(100) < 58
    other = right.copy()
    other[:10], other[96:] = False, True
    found = conclusion.conclude(right, {"other": other})
    assert not found.is_worth_it
    assert found.best.won > found.best.lost
    assert found.needed is not None
    times = found.needed / 100
    power = (found.best.won - found.best.lost) * math.sqrt(times) / math.sqrt(found.best.won + found.best.lost)
    assert power == pytest.approx(stats.norm.isf(0.005) + stats.norm.isf(0.2), rel=0.01)
    assert conclusion.conclude(right, {"same": right}).needed is None


def test_losses_are_log_losses() -> None:
    labels, p = ["yes", "no", "no", "yes"], [0.9, 0.2, 0.6, 0.4]
    answers = Answers("", [], outcomes_of(labels, ["yes", "no", "yes", "no"], p, ("yes", "no")))
    assert conclusion.losses_of(answers).mean() == pytest.approx(log_loss([1, 0, 0, 1], p))
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    several = Answers("", [], outcomes_of(["a", "c"], ["a", "c"], [0.5, 0.8], ("a", "b", "c"), shares=shares))
    assert conclusion.losses_of(several).mean() == pytest.approx(log_loss([0, 2], shares, labels=[0, 1, 2]))
    assert conclusion.most_frequent(answers).sum() == 2


def test_the_recipe_is_left_for_more_than_a_standard_error() -> None:
    rng = np.random.default_rng(2)
    recipe = rng.random(100)
    better = recipe - 0.01 - 0.05 * rng.random(100)
    noise = recipe + rng.normal(0, 1, 100)
    assert conclusion.is_clearly_lower([better], [recipe])
    assert not conclusion.is_clearly_lower([recipe], [better])
    assert not conclusion.is_clearly_lower([noise - noise.mean() + recipe.mean() - 0.05], [recipe])


# What is written down.


def test_steps_are_read_back_without_what_is_half_written(tmp_path: Path) -> None:
    folder = LoopFolder(tmp_path / "a.npz")
    with folder.held():
        folder.begin(IterateConfig(), {})
        folder.write(Step("lint", "甲", "palitune lint", 2.5, 0, {"loss": 0.5}).as_row())
        folder.write({"event": "plan", "first": 3})
        with folder.file.open("ab") as file:
            file.write(b'{"event": "step", "ke')
        again = LoopFolder(tmp_path / "a.npz")
        again.read()
        assert again.steps == folder.steps
        assert again.events["plan"]["first"] == 3
        again.write({"event": "cut"})
        assert [json.loads(line)["event"] for line in folder.file.read_text().splitlines()] == ["step", "plan", "cut"]


ROW = {"event": "step", "title": "", "command": "", "seconds": 1, "code": 0, "facts": {}}


@pytest.mark.parametrize(
    "content",
    [
        b"x\n",
        b"[]\n",
        b'{"event": "step"}\n',
        *(
            json.dumps(ROW | change).encode() + b"\n"
            for change in (
                {"key": "try-1-1"},
                {"key": "try-x-1"},
                {"key": "last", "facts": {"loss": 0.5, "right": 9, "total": 0}},
                {"key": "lint", "code": 65},
                {"event": "plan", "first": 10**9},
            )
        ),
    ],
)
def test_damaged_steps_are_bad_data(content: bytes, tmp_path: Path) -> None:
    folder = LoopFolder(tmp_path / "a.npz")
    with folder.held():
        folder.begin(IterateConfig(), {})
        folder.file.write_bytes(content)
        with pytest.raises(BadDataError, match="damaged"):
            LoopFolder(tmp_path / "a.npz").read()


# From the command line.


@pytest.fixture(scope="module")
def looped(workspace: Path, run: Run) -> Done:
    (workspace / "candidates.txt").write_text("method=lora\n")
    done = run(
        *("palitune", "iterate", "-d", "set1", *QUICK, "--candidates", "candidates.txt", "-w", "looped"),
        *("--unlabelled", "dataset/set1/valid.jsonl"),
        cwd=workspace,
    )
    assert done.returncode == 0, done.stderr
    return done


def steps_of(workspace: Path, name: str) -> dict[str, dict[str, object]]:
    lines = (workspace / f"checkpoints/{name}.iterate/steps.jsonl").read_text().splitlines()
    return {row["key"]: row for row in map(json.loads, lines) if row["event"] == "step"}


def test_a_loop_leaves_a_model_a_page_and_its_steps(workspace: Path, run: Run, looped: Done) -> None:
    folder = workspace / "checkpoints/looped.iterate"
    first, second, *_ = looped.stdout.splitlines()
    assert re.match(r"(Worth it|Not worth it)", first)
    assert "24 records" in second
    steps = steps_of(workspace, "looped")
    keys = ["lint", "zero-shot", "linear-probe", "try-0-1", "try-1-1", "last", "threshold", "unlabelled", "next"]
    assert [key for key in steps if key != "recipe-again"] == keys
    page = (folder / "report.html").read_text()
    assert all(str(one["command"]).split(" > ")[0].replace("'", "&#39;") in page for one in steps.values())
    assert (workspace / "checkpoints/looped.npz").exists()
    assert not list(folder.glob("*.npz"))
    assert "temperature" in run("palitune", "threshold", "-m", "looped", cwd=workspace).stdout
    listed = run("palitune", "runs", "checkpoints/looped.iterate", "--json", cwd=workspace)
    assert len(json.loads(listed.stdout)) >= 2, listed.stderr
    assert len((folder / "next.out").read_text().splitlines()) > 0


def test_a_step_is_what_a_person_can_type(workspace: Path, run: Run, looped: Done) -> None:
    command = str(steps_of(workspace, "looped")["try-1-1"]["command"]).split(" > ")[0]
    own = workspace / "checkpoints/looped.iterate/try-1-1.run/valid.tsv"
    typed = command.replace("checkpoints/looped.iterate/try-1-1", "typed").split()
    assert run(*typed, "--quiet", cwd=workspace).returncode == 0
    mine = (workspace / "checkpoints/typed.run/valid.tsv").read_text().splitlines()
    for one, other in zip(own.read_text().splitlines(), mine, strict=True):
        assert float(one.split("\t")[2]) == pytest.approx(float(other.split("\t")[2]), abs=2e-6)


def test_a_loop_that_has_ended_ends_the_same_again(workspace: Path, run: Run, looped: Done) -> None:
    done = run("palitune", "iterate", "--resume", "-w", "looped", "--lang", "ja", cwd=workspace)
    assert done.returncode == 0
    assert done.stdout == looped.stdout
    assert "step 1" not in done.stderr
    assert 'lang="ja"' in (workspace / "checkpoints/looped.iterate/report.html").read_text()
    refused = run("palitune", "iterate", "-d", "set1", "-w", "looped", cwd=workspace)
    assert refused.returncode == 73
    assert "--resume -w looped" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--keep", "tn"], "--keep is for --hard-examples", 2),
        (["--hard-examples", "--folds", "3"], "--folds has no effect with --hard-examples", 2),
        (["--hard-examples", "-d", "dataset/data.jsonl"], "needs a split", 2),
        (["--budget", "10"], "is no time such as", 2),
        (["--resume", "-d", "set1"], "leave out --data", 2),
        (["--resume"], "no loop of this name was begun", 66),
        (["-d", "missing.jsonl"], "no such file", 66),
        (["--prompts", "p.txt", "--prompt", "x"], "leave one out", 2),
        (["--candidates", "missing.txt"], "no such file", 66),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], message: str, code: int, workspace: Path, run: Run) -> None:
    done = run("palitune", "iterate", "-w", "wrong", *arguments, cwd=workspace)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert message in done.stderr
    assert not (workspace / "checkpoints/wrong.iterate").exists()


def test_data_with_faults_end_a_loop_before_it_costs_anything(workspace: Path, run: Run) -> None:
    line = '{"image": "dataset/images/none.png", "suffix": "%s"}\n'
    (workspace / "faults.jsonl").write_text(line % "yes" + line % "no")
    done = run("palitune", "iterate", "-d", "faults.jsonl", "-w", "faults", cwd=workspace)
    assert done.returncode == 65
    assert "start over with --overwrite" in done.stderr
    assert "none.png" in (workspace / "checkpoints/faults.iterate/lint.out").read_text()


def test_free_text_is_refused(workspace: Path, run: Run) -> None:
    lines = [{"text": f"{number}", "suffix": f"word {number}"} for number in range(40)]
    (workspace / "free.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("palitune", "iterate", "-d", "free.jsonl", "-w", "wrong", cwd=workspace)
    assert done.returncode == 2
    assert "free text" in done.stderr


def test_settings_from_python_are_held_to_the_same_limits() -> None:
    for wrong in ({"budget": 0.0}, {"runs": 1}, {"outcomes": ("xx",)}, {"folds": 1}):
        with pytest.raises(UsageError):
            IterateConfig(**wrong)  # type: ignore[arg-type]
    assert IterateConfig().seconds == 3600
    assert IterateConfig(runs=5).seconds is None
    assert IterateConfig(runs=5, budget=60.0).seconds == 60


def test_hard_examples(workspace: Path, run: Run) -> None:
    done = run(
        *("palitune", "iterate", "-d", "set1", "--hard-examples", "--keep", "fp,fn,tn", "--examples", "16"),
        *("-b", "4", "--runs", "3", "-w", "hard"),
        cwd=workspace,
    )
    assert done.returncode == 0, done.stderr
    steps = steps_of(workspace, "hard")
    rounds = [key for key in steps if key.startswith("round-")]
    assert rounds[:2] == ["round-0", "round-1"]
    hard = (workspace / "checkpoints/hard.iterate/hard-1.out").read_text().splitlines()
    assert steps["hard-1"]["facts"] == {"count": len(hard)}
    facts = [steps[key]["facts"] for key in rounds]
    best = min(range(len(rounds)), key=lambda number: facts[number]["loss"])  # type: ignore[index]
    kept = "learning once is kept" if best == 0 else f"Round {best} is kept"
    assert kept in done.stdout
    names = [f"hard.iterate/round-{best}", "hard"]
    one, other = ((workspace / f"checkpoints/{name}.npz").read_bytes() for name in names)
    assert one == other
    assert run("palitune", "validate", "-m", "hard", "dataset/set1/valid.jsonl", cwd=workspace).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_loop_that_is_cut_short_ends_with_the_same_choice(
    number: signal.Signals, workspace: Path, run: Run, looped: Done
) -> None:
    name = f"cut{number}"
    command = ["palitune", "iterate", "-d", "set1", *QUICK, "--candidates", "candidates.txt", "-w", name]
    command += ["--unlabelled", "dataset/set1/valid.jsonl"]
    waited_for = f"checkpoints/{name}.iterate/try-0-1.run/metrics.jsonl"
    cut = f"{' '.join(command)} & while [ ! -s {waited_for} ]; do sleep 0.1; done; kill -{int(number)} $!; wait $!"
    assert run("bash", "-c", cut, cwd=workspace).returncode in (75, 137)
    done = run("palitune", "iterate", "--resume", "-w", name, cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert done.stdout == looped.stdout
    mine, other = steps_of(workspace, name), steps_of(workspace, "looped")
    assert list(mine) == list(other)
    assert [one["facts"] for one in mine.values()] == [one["facts"] for one in other.values()]
    one, same = (npz.Checkpoint(workspace / f"checkpoints/{name}.npz") for name in (name, "looped"))
    assert set(one) == set(same)
    assert all(np.array_equal(one[path], same[path]) for path in one)

"""The best of several runs, how little that may mean, and what settings have to do with it."""

import dataclasses
import itertools
import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from palitune.confidence_interval import Figure
from palitune.errors import MissingInputError, UsageError
from palitune.evaluate import comparison, metrics, run_choice, setting_effects
from palitune.evaluate.confusion import count
from palitune.evaluate.past_run import PastRun, Worth
from palitune.evaluate.report import choice_text
from palitune.run import ledger

pytestmark = pytest.mark.quick_programs

LABELS = ["yes"] * 8 + ["no"] * 8


def answers(wrong: Sequence[int]) -> list[str]:
    other = {"yes": "no", "no": "yes"}
    return [other[label] if place in wrong else label for place, label in enumerate(LABELS)]


def made(home: Path, name: str, wrong: Sequence[int], **config: object) -> Path:
    """A copy of a real run whose answers to the validation set are wrong at these places."""
    folder = home / "checkpoints"
    shutil.copy(folder / "first.npz", folder / f"{name}.npz")
    own = shutil.copytree(folder / "first.run", folder / f"{name}.run")
    content = json.loads((own / "config.json").read_text())
    content["config"] |= config
    content["data"]["valid.jsonl"] |= {"sha256": "f" * 64, "records": len(LABELS)}
    (own / "config.json").write_text(json.dumps(content))
    spent = json.loads((own / "cost.json").read_text())
    (own / "cost.json").write_text(json.dumps(spent | {"began": "2100-01-01T00:00:00+00:00"}))
    said = answers(wrong)
    lines = [
        f"{n}.png\t{a == b}\t{0.9 if a == 'yes' else 0.1}\t{b}\t{a}\n"
        for n, (a, b) in enumerate(zip(said, LABELS, strict=True))
    ]
    (own / "valid.tsv").write_text("".join(lines))
    (own / ".valid.tsv.made.json").unlink()
    counts = count(LABELS, said)
    block = f"Result: ./dataset/set1/valid.jsonl (1st trained)\n  Tp={counts.tp} Tn={counts.tn} Fp={counts.fp}"
    (own / "results.txt").write_text(f"{block} Fn={counts.fn}\n")
    return own


def test_mcnemar_by_hand(home: Path, run: Run) -> None:
    """a is right at 6 records at which b is wrong, and b at 1 at which a is: 2 (C(7,0) + C(7,1)) / 2^7 = 0.125."""
    made(home, "a", [0])
    made(home, "b", [1, 2, 3, 4, 5, 6])
    found = json.loads(run("palitune", "runs", "diff", "b", "a", "--json", cwd=home).stdout)["tested"]
    assert found["mcnemar"] == {"won": 6, "lost": 1, "p_value": 0.125, "verdict": "noise"}
    choice = run_choice.best(ledger.read().runs, "accuracy", "f" * 8)
    assert choice.best.name == "a"
    assert [(one.run.name, one.test, one.p_value, one.is_apart) for one in choice.rivals] == [
        ("b", comparison.MCNEMAR, 0.125, False)
    ]
    made(home, "b2", [1, 2, 3, 4, 5, 6, 7])  # 2 (1 + 8) / 2^8 = 0.0703; and 2 (1 + 9) / 2^9 = 0.0391
    made(home, "b3", [1, 2, 3, 4, 5, 6, 7, 8])
    rivals = run_choice.best(ledger.read().runs, "accuracy", "f" * 8).rivals
    assert {one.run.name: one.p_value for one in rivals} == pytest.approx({"b": 0.125, "b2": 18 / 256, "b3": 20 / 512})
    assert [one.run.name for one in rivals if one.is_apart] == ["b3"]


def test_the_command_prints_the_name_alone(home: Path, run: Run) -> None:
    made(home, "a", [0])
    made(home, "b", [1, 2, 3])
    done = run("palitune", "runs", "best", cwd=home)
    assert (done.returncode, done.stdout) == (0, "a\n")
    told = done.stderr.splitlines()
    assert told[0].startswith("a: accuracy 0.9375 (95 %: ")
    assert "16 records, fffffff" in told[0]
    assert told[1] == "2 runs were evaluated on other records and cannot be compared: --data says on which"
    assert (
        told[2] == "it cannot be told from the other run, by McNemar's exact test; against the next best, b, p = 0.62"
    )
    assert "it is the best of 2 runs by the records that it was chosen on: on new ones expect 0." in told[3]
    quiet = run("palitune", "runs", "best", "--quiet", "--data", "set1", "--where", "name=swept", cwd=home)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "swept\n", "")
    none = run("palitune", "runs", "best", "--data", "set9", cwd=home)
    assert (none.returncode, none.stdout) == (66, "")
    assert "no run was evaluated on set9. There are set1 (" in none.stderr


def test_which_runs_are_compared(home: Path) -> None:
    def names(by: str = "accuracy", data: str | None = None) -> list[str]:
        return sorted(run.name for run in run_choice.candidates(ledger.read().runs, by, data)[0])

    assert names() == ["first", "swept"]  # and not the one that diverged
    mark = ledger.of_name("first").evaluated_on.sha256
    assert names(data="set1") == names(data="valid.jsonl") == names(data=mark[:9]) == ["first", "swept"]
    (home / "checkpoints/swept.npz").unlink()
    assert names() == ["first"]
    made(home, "a", [0])
    assert names(data="f" * 64) == ["a"]
    with pytest.raises(UsageError, match="no such figure"):
        names("beauty")
    with pytest.raises(MissingInputError, match="no finished run here has its exact match"):
        names("exact_match")
    content = json.loads((home / "checkpoints/a.run/config.json").read_text())
    del content["data"]["valid.jsonl"]
    (home / "checkpoints/a.run/config.json").write_text(json.dumps(content))
    assert names() == ["first"]  # the other one is evaluated on what it has learned from


def test_without_answers_intervals_are_held_beside_each_other(home: Path) -> None:
    made(home, "a", [])
    for name, wrong in (("b", range(2)), ("c", range(11))):
        (made(home, name, list(wrong)) / "valid.tsv").unlink()
    choice = run_choice.best(ledger.read().runs, "accuracy", "f" * 8)
    assert [(one.run.name, one.test, one.is_apart) for one in choice.rivals] == [("b", "", False), ("c", "", True)]
    assert choice.expected is None
    assert choice.luck == run_choice.luck_of_best((16 + 14 + 5) / 48, 16, 3)
    told = choice_text.sentences(choice)
    assert any("cannot be told from 1 of the 2 other runs, because their intervals overlap" in line for line in told)
    by_loss = run_choice.best(ledger.read().runs, "loss", "f" * 8)
    assert (by_loss.expected, by_loss.luck) == (None, None)
    assert "a loss has no interval" in "".join(choice_text.sentences(by_loss))


def test_other_figures_are_tested_by_a_bootstrap(home: Path) -> None:
    made(home, "a", [])
    made(home, "b", range(8))
    (rival,) = run_choice.best(ledger.read().runs, "recall", "f" * 8).rivals
    assert (rival.test, rival.p_value, rival.is_apart) == (comparison.BOOTSTRAP, None, True)


def test_answers_to_other_records_are_not_compared(home: Path) -> None:
    made(home, "a", [])
    other = made(home, "b", [1]) / "valid.tsv"
    other.write_text(other.read_text().replace("3.png", "x.png"))
    assert run_choice.best(ledger.read().runs, "accuracy", "f" * 8).rivals[0].test == ""


def test_a_tie_goes_to_the_lower_loss(home: Path) -> None:
    a, b = (dataclasses.replace(ledger.of_name("first"), name=name) for name in "ab")
    lower = a.after._replace(figures={**a.after.figures, "loss": a.after.figures["loss"]._replace(value=0.0)})
    assert run_choice.best([a, dataclasses.replace(b, after=lower)], "accuracy").best.name == "b"
    assert run_choice.best([dataclasses.replace(b, after=lower), a], "accuracy").best.name == "b"
    assert run_choice.best([a, dataclasses.replace(b, began=a.began + 9)], "accuracy").best.name == "b"


def test_the_luck_of_the_best_is_what_enumeration_says() -> None:
    """All outcomes of two coins that are thrown three times each."""
    highest = [max(map(sum, both)) for both in itertools.product(itertools.product((0, 1), repeat=3), repeat=2)]
    assert run_choice.luck_of_best(0.5, 3, 2) == pytest.approx(sum(highest) / len(highest) / 3 - 0.5)
    assert run_choice.luck_of_best(0.8, 10, 1) == pytest.approx(0, abs=1e-12)


def test_choosing_among_equals_is_paid_back() -> None:
    """Of coins the best seems better than half, and is right half the time on records that were not drawn."""
    rng = np.random.default_rng(0)
    labels = ["yes", "no"] * 60
    every = [
        metrics.outcomes_of(
            labels, rng.choice(["yes", "no"], len(labels)).tolist(), [None] * len(labels), ("yes", "no")
        )
        for _ in range(20)
    ]
    best = max(float(one.right.mean()) for one in every)
    expected = run_choice.unbiased(every, "accuracy")
    assert expected is not None
    assert best > 0.56
    assert abs(expected - 0.5) < 0.045
    # One that is better than all others is chosen nearly always, and loses nothing.
    good = metrics.outcomes_of(labels, [*labels[:-6], *labels[:3] * 2], [None] * len(labels), ("yes", "no"))
    for by in run_choice.COUNTED:
        found = run_choice.unbiased([*every, good], by)
        assert found == pytest.approx(metrics.figures(good)[by], abs=0.01)


def trial(figure: float, **settings: object) -> PastRun:
    name = json.dumps(settings)
    return PastRun(name, Path(name), 0.0, "finished", settings, after=Worth({"accuracy": Figure(figure)}))


def effects(runs: Sequence[PastRun]) -> dict[str, setting_effects.Effect]:
    return {one.name: one for one in setting_effects.effects(runs, "accuracy")}


def test_a_setting_that_never_changed_alone() -> None:
    runs = [trial(0.9, method="lora", rank=8, seed=n) for n in range(3)] + [
        trial(0.5, method="full", seed=n) for n in "ab"
    ]
    (found,) = effects(runs).values()
    assert (found.name, found.together, found.significance) == ("method", ["rank"], "noise")
    rates = [trial(0.9, method="lora", rate=1), trial(0.8, method="lora", rate=2), trial(0.5, method="full", rate=3)]
    found = effects(rates)["method"]
    assert (found.significance, found.others) == ("confounded", ["rate"])
    assert [(one.value, one.runs) for one in found.values] == [("lora", 2), ("full", 1)]
    assert found.values[0].mean == pytest.approx(0.85)
    assert effects([trial(0.5, seed=n) for n in range(4)]) == {}


def test_one_run_of_a_value_says_nothing() -> None:
    found = effects([trial(0.9, rate=1, seed=0), trial(0.5, rate=2, seed=0), trial(0.6, rate=2, seed=1)])["rate"]
    assert (found.significance, found.compared, found.p_value) == ("single", 3, None)


def test_what_is_more_than_chance() -> None:
    rng = random.Random(1)
    runs = [trial(0.7 + 0.1 * (rate > 1) + rng.gauss(0, 0.01), rate=rate, batch=batch, seed=seed)
            for rate in (1, 2) for batch in (2, 4) for seed in range(3)]  # fmt: skip
    found = effects(runs)
    assert (found["rate"].significance, found["batch"].significance) == ("real", "noise")
    assert list(found) == ["rate", "batch"]
    assert found["rate"].compared == 12
    assert found["rate"].values[0].value == "2"


def test_permutations_agree_with_enumeration() -> None:
    """Of two blocks of four, each of whose values is dealt to two runs, there are 36 deals."""
    values, blocks = np.array([0, 0, 1, 1] * 2), np.repeat([0, 1], 4)
    figures = np.array([0.9, 0.8, 0.5, 0.7, 0.6, 0.9, 0.4, 0.3])
    rest = figures - np.repeat([figures[:4].mean(), figures[4:].mean()], 4)
    sums = [
        abs(rest[list(a)].sum() + rest[list(b)].sum())
        for a in itertools.combinations(range(4), 2) for b in itertools.combinations(range(4, 8), 2)
    ]  # fmt: skip
    seen = abs(rest[[0, 1, 4, 5]].sum())
    exact = sum(one >= seen - 1e-9 for one in sums) / len(sums)
    assert len(sums) == 36
    assert setting_effects.permuted(values, blocks, figures) == pytest.approx(exact, abs=0.03)


def test_a_lower_loss_is_better() -> None:
    runs = [ledger_run(rate, loss) for rate, loss in ((1, 0.5), (1, 0.6), (2, 0.1), (2, 0.2))]
    (found,) = setting_effects.effects(runs, "loss")
    assert [one.value for one in found.values] == ["2", "1"]
    assert not math.isnan(found.p_value or 0)


def ledger_run(rate: int, loss: float) -> PastRun:
    return PastRun("x", Path(str(loss)), 0.0, "finished", {"rate": rate}, after=Worth({"loss": Figure(loss)}))

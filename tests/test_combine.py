"""What several trials, or folds, of a run become together, from the command line."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from palitune.checkpoint import manifest, npz
from palitune.config.run_config import RunConfig
from palitune.data.example import Example
from palitune.evaluate import run_choice, run_difference
from palitune.evaluate.report import choice_text
from palitune.run import fold_data, ledger, run_results
from palitune.run.fold_data import FoldData

pytestmark = pytest.mark.quick_programs

QUICK = ("-d", "set1", "--examples", "32", "-b", "4", "--quiet")
VALID = "dataset/set1/valid.jsonl"
Done = subprocess.CompletedProcess[str]


def learn(run: Run, workspace: Path, *arguments: str, code: int = 0) -> Done:
    done = run("palitune", "learn", *QUICK, *arguments, cwd=workspace)
    assert done.returncode == code, done.stderr
    return done


def answers(run: Run, workspace: Path, name: str) -> np.ndarray:
    done = run("palitune", "inference", "-m", name, "-d", VALID, "--quiet", cwd=workspace)
    assert done.returncode == 0, done.stderr
    return np.array([float(line.split("\t")[2]) for line in done.stdout.splitlines()])


def counted(done: Done, label: str) -> list[tuple[int, ...]]:
    """Tp, Tn, Fp and Fn of every result block with a label."""
    found = re.findall(rf"\({label}\)\n  Tp=(\d+) Tn=(\d+) Fp=(\d+) Fn=(\d+)", done.stdout)
    return [tuple(map(int, one)) for one in found]


@pytest.fixture(scope="module")
def together(workspace: Path, run: Run) -> Done:
    return learn(run, workspace, "-w", "together", "--repeat", "3")


def test_repeats_become_an_ensemble_of_the_single_runs(workspace: Path, run: Run, together: Done) -> None:
    each = []
    for seed in range(3):
        learn(run, workspace, "-w", f"single{seed}", "--seed", str(seed))
        each.append(answers(run, workspace, f"single{seed}"))
    assert np.abs(answers(run, workspace, "together") - np.mean(each, axis=0)).max() < 5e-6
    assert np.abs(each[0] - each[1]).max() > 1e-3
    saved = npz.Checkpoint(workspace / "checkpoints/together.npz")
    assert all(path.startswith("members/llm/") and len(saved[path]) == 3 for path in saved)
    told = manifest.read(workspace / "checkpoints/together.npz")["combined"]
    assert told == {"how": "ensemble", "trials": [{"seed": seed} for seed in told_seeds(told)]}
    assert sorted(told_seeds(told)) == [0, 1, 2]
    block = together.stdout[together.stdout.rindex(f"Result: ./{VALID} (1st trained)") :].splitlines()[1]
    assert block in run("palitune", "validate", "-m", "together", VALID, "--quiet", cwd=workspace).stdout
    assert not list((workspace / "checkpoints/together.run").glob("trial-*"))


def test_the_table_and_the_ledger_tell_what_several_are_worth(
    workspace: Path, together: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(workspace))
    monkeypatch.chdir(workspace)
    rows = [
        json.loads(line) for line in (workspace / "checkpoints/together.run/metrics.jsonl").read_text().splitlines()
    ]
    (told,) = [row for row in rows if row.get("event") == "combined"]
    assert (told["how"], told["trials"]) == ("ensemble", [1, 2, 3])
    table = together.stdout[together.stdout.index("trial  seed") :].splitlines()
    assert [line.split()[0] for line in table[1:7]] == ["1", "2", "3", "mean", "sd", "ensemble"]
    assert table[6].split()[1] == f"{told['loss']:.4f}"
    past = ledger.of_name("together")
    assert past.value("loss") == told["loss"]
    assert past.value("accuracy") == pytest.approx(told["accuracy"])
    assert past.settings["seed"] == 0
    # By Jensen's inequality its answers are no less likely than those of its members are on average.
    assert told["loss"] <= float(table[4].split()[1]) + 1e-4


def told_seeds(told: manifest.Combined) -> list[object]:
    return [one["seed"] for one in told["trials"]]


def test_a_run_that_is_cut_short_ends_with_the_same_ensemble(workspace: Path, run: Run, together: Done) -> None:
    command = " ".join(["palitune", "learn", *QUICK, "--repeat", "3", "--save-every", "1", "-w", "cut"])
    lines = together.stdout.splitlines()
    steps = [number for number, line in enumerate(lines, 1) if line.startswith("step:")]
    run("bash", "-c", f"{command} | head -{steps[11]}", cwd=workspace)  # amid the second trial
    folder = workspace / "checkpoints/cut.run"
    assert (folder / "trial-1.npz").exists()
    done = run("palitune", "learn", "--resume", "-w", "cut", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "trial 1 of 3" not in done.stderr
    one, other = ((workspace / f"checkpoints/{name}.npz").read_bytes() for name in ("together", "cut"))
    assert one == other


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("merge", "-m", "together", "-w", "whole"), "merge takes one model"),
        (("export", "-m", "together", "--to", "exported"), "export takes one model"),
        (("learn", *QUICK, "-m", "together", "-w", "more"), "learning takes one model"),
        (("plan", "-m", "together", "--estimate"), "plan takes one model"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_takes_one_model_says_so(
    workspace: Path, run: Run, together: Done, command: tuple[str, ...], message: str
) -> None:
    done = run("palitune", *command, cwd=workspace)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert ("--ensemble N" if command[0] == "plan" else "--combine distil") in done.stderr


def test_an_ensemble_takes_part_in_every_stage(workspace: Path, run: Run, together: Done) -> None:
    out = run("palitune", "inference", "-m", "together", "-d", VALID, "--quiet", cwd=workspace).stdout
    (workspace / "together.tsv").write_text(out)
    for command in (
        ("threshold", "together.tsv", "-m", "together", "--f-measure"),
        ("validate", "-m", "together", VALID, "--quiet"),
        ("inference", "-m", "together", "-d", VALID, "--decode", "--quiet"),
        ("report", "together.tsv", "-m", "together", "--text"),
        ("threshold", "--remove", "-m", "together"),
    ):
        done = run("palitune", *command, cwd=workspace)
        assert done.returncode == 0, done.stderr
    (workspace / "prompts.txt").write_text("Is this allowed?\nIs this advertisement fine?\n")
    asked = run("palitune", "prompts", "prompts.txt", "-m", "together", "-d", VALID, "--quiet", cwd=workspace)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.slow
def test_one_model_is_taught_by_several(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "-w", "taught", "--repeat", "2", "--combine", "distil", "--unlabelled", VALID)
    saved = npz.Checkpoint(workspace / "checkpoints/taught.npz")
    assert not any(path.startswith("members/") for path in saved)
    assert manifest.read(workspace / "checkpoints/taught.npz")["combined"]["how"] == "distil"
    rows = [json.loads(line) for line in (workspace / "checkpoints/taught.run/metrics.jsonl").read_text().splitlines()]
    assert {row["trial"] for row in rows if "trial" in row} == {1, 2, 3}  # the third is the student
    table = done.stdout[done.stdout.index("trial  seed") :].splitlines()
    assert [line.split()[0] for line in table[1:6]] == ["1", "2", "mean", "sd", "student"]
    losses = [float(line.split()[4]) for line in table[1:3]]
    assert float(table[3].split()[1]) == pytest.approx(sum(losses) / 2, abs=1e-4)  # of the trials alone
    assert table[6] == f"best by loss: trial {1 + losses.index(min(losses))}"


@pytest.mark.slow
def test_soups(workspace: Path, run: Run) -> None:
    for seed in range(2):
        learn(run, workspace, "-w", f"part{seed}", "--seed", str(seed), "-r", "0.001")
    # One after another, because in lockstep they are the same but for rounding.
    learn(run, workspace, "-w", "soup", "--repeat", "2", "--combine", "soup", "-r", "0.001", "--together", "1")
    parts = [npz.Checkpoint(workspace / f"checkpoints/part{seed}.npz") for seed in range(2)]
    for path, leaf in npz.Checkpoint(workspace / "checkpoints/soup.npz").items():
        mean = np.mean([one[path].astype(np.float32) for one in parts], axis=0)
        assert np.array_equal(leaf, mean.astype(leaf.dtype))
    learn(run, workspace, "-w", "lora", "--repeat", "2", "--combine", "soup", "--method", "lora", "--lora-rank", "4")
    saved = npz.Checkpoint(workspace / "checkpoints/lora.npz")
    assert {leaf.shape[-1] for path, leaf in saved.items() if path.endswith("_lora_a")} == {8}
    assert manifest.read(workspace / "checkpoints/lora.npz")["config"]["lora_rank"] == 8
    done = run("palitune", "validate", "-m", "lora", VALID, "--quiet", cwd=workspace)
    assert done.returncode == 0, done.stderr


def test_folds_answer_every_record_once(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "-w", "folded", "--folds", "3")
    labels = [
        json.loads(line)["suffix"] for line in (workspace / "dataset/set1/shuffle.jsonl").read_text().splitlines()
    ]
    (both,) = counted(done, "out of fold")
    assert done.stdout.count("Result: ./dataset/set1/train.jsonl + valid.jsonl (out of fold)") == 1
    assert (both[0] + both[3], both[1] + both[2]) == (labels.count("yes"), labels.count("no"))
    lines = [line.split("\t") for line in (workspace / "checkpoints/folded.run/valid.tsv").read_text().splitlines()]
    assert len({line[0] for line in lines}) == len(lines) == len(labels)
    assert sum(line[1] == "True" for line in lines) == both[0] + both[1]
    (before,) = counted(done, "zero trained")
    assert sum(before) == len(labels)
    rows = [json.loads(line) for line in (workspace / "checkpoints/folded.run/metrics.jsonl").read_text().splitlines()]
    (told,) = [row for row in rows if row.get("event") == "out_of_fold"]
    assert (told["right"], told["total"]) == (both[0] + both[1], len(labels))
    last = [row for row in rows if row.get("trial") == 4]
    assert max(row["step"] for row in last) == told["step"]  # on everything, for as many steps
    assert not any(path.startswith("members/") for path in npz.Checkpoint(workspace / "checkpoints/folded.npz"))
    assert run("palitune", "validate", "-m", "folded", VALID, "--quiet", cwd=workspace).returncode == 0


def test_a_run_in_folds_is_known_by_all_its_records(
    workspace: Path, run: Run, together: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(run, workspace, "-w", "known", "--folds", "2")
    monkeypatch.setenv("PALITUNE_HOME", str(workspace))
    monkeypatch.chdir(workspace)
    folder = workspace / "checkpoints/known.run"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (out_of_fold,) = [row for row in rows if row.get("event") == "out_of_fold"]
    total = out_of_fold["total"]
    past = ledger.of_name("known")
    assert [one.name for one in past.sets] == ["train.jsonl", "valid.jsonl"]
    assert past.evaluated_on == past.trained_on == past.in_folds
    assert past.evaluated_on.file == "dataset/set1/train.jsonl + valid.jsonl"
    assert (past.evaluated_on.records, past.after.records, past.before.records) == (total, total, total)
    share = (out_of_fold["right"] / total, out_of_fold["low"], out_of_fold["high"])
    assert past.after.figures["accuracy"] == pytest.approx(share)
    # Of the folds at their step, each record once, and not of the last training, which has learned from all.
    folds_of_run = [row for row in rows if row.get("step") == out_of_fold["step"] and "valid_loss" in row]
    sizes = [-(-total // 2), total // 2]
    losses = [row["valid_loss"] for row in folds_of_run if row["trial"] in (1, 2)]
    assert past.value("loss") == pytest.approx(np.average(losses, weights=sizes), rel=1e-9)
    assert past.value("loss") == out_of_fold["token_loss"]
    assert out_of_fold["loss"] == pytest.approx(2 * past.value("loss"), rel=0.1)  # of answers, which have two tokens
    found = run_results.of_checkpoint(workspace / "checkpoints/known.npz")
    assert found.evaluated is not None
    assert (found.trained_on, found.evaluated.examples, found.evaluated.is_out_of_fold) == (total, total, True)
    # It is compared with what was evaluated on the same records alone.
    shutil.copytree(folder, workspace / "checkpoints/copied.run")
    shutil.copy(workspace / "checkpoints/known.npz", workspace / "checkpoints/copied.npz")
    folds, elsewhere = run_choice.candidates(ledger.read().runs, "accuracy", past.evaluated_on.short)
    assert {one.name for one in folds} >= {"known", "copied"}
    assert not any(one.in_folds is None for one in folds)
    assert elsewhere >= 1
    others, _ = run_choice.candidates(ledger.read().runs, "accuracy", ledger.of_name("together").evaluated_on.short)
    assert all(one.in_folds is None for one in others)
    told = choice_text.sentences(run_choice.best(folds, "accuracy"))
    assert f" on dataset/set1/train.jsonl + valid.jsonl, {total} records, {past.evaluated_on.short}" in told[0]
    (row,) = json.loads(run("palitune", "runs", "--json", "--where", "name=known", cwd=workspace).stdout)
    assert row["data"]["evaluated_on"]["records"] == row["after"]["records"] == total
    # Nothing of the data is said to have changed, nor to be another.
    known = run_difference.compare(past, ledger.of_name("copied"))
    assert all(one.is_same for one in known.data)
    other = run_difference.compare(past, ledger.of_name("together"))
    assert [one.records for one in other.data] == [(0, 6, 0), (0, total - 6, 0)]
    again = run("palitune", "learn", "--from", str(folder), "-w", "once-more", "--quiet", cwd=workspace)
    assert again.returncode == 0, again.stderr
    assert npz.Checkpoint(workspace / "checkpoints/once-more.npz").keys()
    one, same = ((workspace / f"checkpoints/{name}.npz").read_bytes() for name in ("known", "once-more"))
    assert one == same


def test_what_the_records_of_several_files_are_called() -> None:
    assert fold_data.together([Path("a/b.jsonl")]) == Path("a/b.jsonl")
    assert fold_data.together([Path("a/train.tsv"), Path("a/valid.tsv")]) == Path("a/train.tsv + valid.tsv")
    apart = [Path("a/train/x.jsonl"), Path("a/valid/x.jsonl")]
    assert fold_data.together(apart) == Path("a/train-x.jsonl + valid-x.jsonl")
    assert fold_data.together([Path(f"a/fold{n}/valid.jsonl") for n in (1, 2, 3)]) == Path("a/fold*")
    assert fold_data.together([Path("/a/b.tsv"), Path("/c/b.tsv")]) == Path("/a-b.tsv + c-b.tsv")


def test_records_that_stay_untouched_make_it_other_records() -> None:
    examples = [Example.of(f"{number}.png", label="yes") for number in range(4)]
    whole, part = FoldData(examples, [[0, 1], [2, 3]], []), FoldData(examples[:3], [[0], [1, 2]], examples[3:])
    files = {"a.tsv": {"file": "a.tsv", "records": 4, "sha256": "1" * 64, "pictures": "2" * 64}}
    config = RunConfig.of({"folds": 2})
    assert fold_data.facts(config, whole, files, Path("a.tsv")) == {"count": 2, **files["a.tsv"]}
    nested = fold_data.facts(config, part, files, Path("a.tsv"))
    assert (nested["file"], nested["records"]) == ("a.tsv", 3)
    other = fold_data.facts(RunConfig.of({"folds": 2, "seed": 1}), part, files, Path("a.tsv"))
    assert len({one["sha256"] for one in (files["a.tsv"], nested, other)}) == 3


@pytest.mark.slow
def test_a_part_stays_untouched_and_folds_join(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "-w", "nested", "--folds", "2", "--nested", "--combine", "ensemble")
    ((tp, tn, fp, fn),) = counted(done, "untouched")
    total = len((workspace / "dataset/set1/shuffle.jsonl").read_text().splitlines())
    assert tp + tn + fp + fn == pytest.approx(total / 3, abs=1)
    ((*counts,),) = counted(done, "out of fold")
    assert sum(counts) == total - (tp + tn + fp + fn)
    recorded = json.loads((workspace / "checkpoints/nested.run/config.json").read_text())
    assert recorded["folds"]["records"] == sum(counts)
    saved = npz.Checkpoint(workspace / "checkpoints/nested.npz")
    assert all(len(saved[path]) == 2 for path in saved)


@pytest.mark.slow
def test_a_split_into_folds_is_learned_by_its_name(workspace: Path, run: Run) -> None:
    made = run("palitune", "split", "-d", "dataset/data.jsonl", "--folds", "3", "-n", "three", cwd=workspace)
    assert made.returncode == 0, made.stderr
    for data in ("three", "three/fold*"):
        done = run("palitune", "learn", "-d", data, *QUICK[2:], cwd=workspace)
        assert done.returncode == 0, done.stderr
        (counts,) = counted(done, "out of fold")
        assert sum(counts) == len((workspace / "dataset/data.jsonl").read_text().splitlines())
        assert "Result: ./dataset/three/fold* (out of fold)" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--combine", "soup"), "--combine soup is for several trials"),
        (("--unlabelled", VALID, "--repeat", "2"), "--unlabelled is for --combine distil"),
        (("--nested",), "--nested is for --folds"),
        (("--folds", "1"), "argument --folds: 1 is not at least 2"),
        (("--folds", "3", "-2"), "leave out -2"),
        (("--folds", "3", "--patience", "2"), "leave out --patience"),
        (("--folds", "9999"), "--folds 9999"),
        (("--folds", "3", "--combine", "greedy-soup"), "greedy-soup asks for records that no fold has learned from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_settings_without_effect(workspace: Path, run: Run, options: tuple[str, ...], message: str) -> None:
    assert message in learn(run, workspace, *options, code=2).stderr

"""Runs from the command line: what they leave, how they are made again, and learning that is left to chance."""

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from PIL import Image

from palitune.checkpoint import npz

pytestmark = pytest.mark.quick_programs

QUICK = ("-d", "set1", "--examples", "32", "-b", "4")


def learn(run: Run, workspace: Path, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = run("palitune", "learn", *QUICK, *arguments, cwd=workspace)
    assert done.returncode == code, done.stderr
    return done


def content(workspace: Path, name: str) -> bytes:
    return (workspace / "checkpoints" / f"{name}.npz").read_bytes()


@pytest.fixture(scope="module")
def noted(workspace: Path, run: Run) -> "subprocess.CompletedProcess[str]":
    return learn(run, workspace, "-w", "noted", "-2", "--weight-decay", "0.01", "--augment", "flip,color")


def test_what_a_run_leaves(workspace: Path, noted: "subprocess.CompletedProcess[str]") -> None:
    folder = workspace / "checkpoints/noted.run"
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "lock", "loss.png", "metrics.csv", "metrics.jsonl", "results.txt"),
        *("cost.json", "valid.tsv", ".valid.tsv.made.json"),
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1] == {"event": "finished", "winner": 1}
    assert [(row["pass"], row["step"]) for row in rows if "event" not in row] == [
        (p, s) for p in (1, 2) for s in range(9)
    ]
    with (folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:5] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    for row, line in zip((row for row in rows if "event" not in row), table, strict=True):
        for name in ("step", "train_loss", "valid_loss", "valid_f_measure"):
            assert line[name] == str(row.get(name, ""))
    printed = re.findall(r"^step: (\d+)/8   lr: (\S+)   loss: (\S+)$", noted.stdout, re.MULTILINE)
    measured = [row for row in rows if row.get("step") and "event" not in row]
    assert [(str(r["step"]), f"{r['learning_rate']:.5f}", f"{r['train_loss']:.4f}") for r in measured] == printed
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["options"]["features"] is True  # that changed pictures need pixels was not typed
    assert recorded["resolved"] == {"features": False, "frames": "middle", "dtype": "float32"}
    assert recorded["options"]["frames"] is None
    blocks = noted.stdout.split("step: ")
    assert (folder / "results.txt").read_text() == re.sub(r"^step: .*\n", "", noted.stdout, flags=re.MULTILINE)
    assert len(blocks) == 17
    with Image.open(folder / "loss.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 900  # two passes side by side
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100


def test_the_last_evaluation_is_what_the_block_says(workspace: Path, run: Run) -> None:
    """One forward pass and greedy decoding come to the same figures."""
    done = learn(run, workspace, "-w", "judged", "--quiet", "--examples", "64", "--evaluate-every", "16")
    rows = [json.loads(line) for line in (workspace / "checkpoints/judged.run/metrics.jsonl").read_text().splitlines()]
    best = [row for row in rows if row.get("best")][-1]
    block = done.stdout[done.stdout.rindex("Result: ./dataset/set1/valid") :]
    for name, key in (("accuracy: ", "accuracy"), ("precision:", "precision"), ("recall:   ", "recall")):
        if shown := re.search(rf"{name} (\S+)", block):
            assert float(shown[1]) == best[f"valid_{key}"]
    zero = done.stdout[done.stdout.index("Result: ./dataset/set1/valid") :]
    assert float(re.search(r"accuracy:  (\S+)", zero)[1]) == rows[0]["valid_accuracy"]


def test_a_run_is_made_again_from_its_configuration(workspace: Path, noted: object, run: Run) -> None:
    config = "checkpoints/noted.run/config.json"
    again = run("palitune", "learn", "--from", config, "-w", "again", "--quiet", cwd=workspace)
    assert again.returncode == 0, again.stderr
    assert content(workspace, "again") == content(workspace, "noted")
    other = run("palitune", "learn", "--from", config, "--seed", "9", "-w", "other", "--quiet", cwd=workspace)
    assert other.returncode == 0, other.stderr
    assert content(workspace, "other") != content(workspace, "noted")
    recorded = json.loads((workspace / "checkpoints/other.run/config.json").read_text())
    assert (recorded["options"]["seed"], recorded["config"]["weight_decay"]) == (9, [[".*", 0.01]])


def test_other_data_is_not_taken_for_the_run_s(workspace: Path, noted: object, run: Run, tmp_path: Path) -> None:
    config = json.loads((workspace / "checkpoints/noted.run/config.json").read_text())
    for part, message in (("sha256", "its lines have changed"), ("pictures", "its images have changed")):
        changed = json.loads(json.dumps(config))
        changed["data"]["train.jsonl"][part] = "0" * 64
        (tmp_path / "config.json").write_text(json.dumps(changed))
        done = run("palitune", "learn", "--from", str(tmp_path / "config.json"), cwd=workspace)
        assert (done.returncode, done.stdout) == (65, "")
        assert f"dataset/set1/train.jsonl: {message} since the run" in done.stderr
    config["base"]["hash"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run("palitune", "learn", "--from", str(tmp_path / "config.json"), "--quiet", cwd=workspace)
    assert done.returncode == 65
    assert "is not that of the run" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, 66, "no such configuration of a run"),
        ("mine", 65, "not the configuration of a run"),
        ('{"options": 3}', 65, "not the configuration of a run"),
        *(
            (f'{{"options": {{{option}}}, "config": {{}}, "data": {{}}, "base": {{}}}}', 65, message)
            for option, message in (
                ('"speed": 1', "the option speed is none of learning's"),
                ('"write": "x"', "the option write is none of learning's"),
                ('"batch_size": "two"', "batch_size cannot be 'two': 'two' is not a whole number"),
                ('"batch_size": [[2]]', "batch_size cannot be [[2]]"),
                ('"features": "no"', "features cannot be 'no'"),
                ('"weight_decay": [3]', "weight_decay cannot be [3]"),
            )
        ),
    ],
)
def test_no_configuration(workspace: Path, run: Run, tmp_path: Path, text: str | None, code: int, message: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    done = run("palitune", "learn", "--from", str(path), cwd=workspace)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("metrics.jsonl", lambda content: content[:50], "the metrics of this run are damaged"),
        ("metrics.jsonl", lambda content: b"x" + content, "the metrics of this run are damaged"),
        ("state.npz", lambda content: content[:5000], "the saved state of this run is damaged"),
        (
            "state.npz",
            lambda content: content[:9000] + b"xx" + content[9002:],
            "the saved state of this run is damaged",
        ),
        ("config.json", lambda content: b"{", "not the configuration of a run"),
    ],
)
def test_a_run_that_was_tampered_with(
    workspace: Path, run: Run, name: str, spoil: Callable[[bytes], bytes], message: str
) -> None:
    folder = workspace / "checkpoints/spoiled.run"
    if not folder.exists():
        code = (
            "import palitune.checkpoint.run_state as s, os; save = s.save\n"
            "s.save = lambda *a: (save(*a), os._exit(9))\n"  # killed right after its first state
            f"from palitune.cli import main; main('learn', {[*QUICK, '-w', 'spoiled', '--save-every', '4']})"
        )
        assert run("python", "-c", code, cwd=workspace).returncode == 9
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(spoil(whole))
    done = run("palitune", "learn", "--resume", "-w", "spoiled", "--quiet", cwd=workspace)
    (folder / name).write_bytes(whole)
    assert (done.returncode, done.stdout) == (65, ""), done.stderr
    assert f"{name}: {message}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_best_of_several(workspace: Path, run: Run) -> None:
    # One after another: a trial is then, bit by bit, the run of its seed alone; tests of lockstep bound the rounding.
    options = ("--repeat", "3", "--combine", "best", "--select", "accuracy", "--together", "1")
    done = learn(run, workspace, "-w", "lots", *options, "--quiet")
    rows = [json.loads(line) for line in (workspace / "checkpoints/lots.run/metrics.jsonl").read_text().splitlines()]
    assert {row["trial"] for row in rows if "trial" in row} == {1, 2, 3}
    table = done.stdout[done.stdout.index("trial  seed") :].splitlines()
    columns = [line.split() for line in table[1:4]]
    assert [column[:2] for column in columns] == [["1", "0"], ["2", "1"], ["3", "2"]]
    best = max(columns, key=lambda column: (float(column[5]), -float(column[4])))
    assert table[6] == f"best by accuracy: trial {best[0]}"
    losses = [float(column[4]) for column in columns]
    assert float(table[4].split()[1]) == pytest.approx(sum(losses) / 3, abs=1e-4)
    block = done.stdout[done.stdout.rindex("Result: ./dataset/set1/valid.jsonl (1st trained)") :]
    assert float(re.search(r"accuracy:  (\S+)", block)[1]) == pytest.approx(float(best[5]), abs=1e-4)
    alone = learn(run, workspace, "-w", "alone", "--seed", str(int(best[0]) - 1), "--select", "accuracy", "--quiet")
    assert alone.returncode == 0
    one, other = (npz.Checkpoint(workspace / f"checkpoints/{name}.npz") for name in ("lots", "alone"))
    assert all((one[path] == other[path]).all() for path in one)


@pytest.mark.slow
def test_the_best_weights_may_be_on_the_disk(workspace: Path, run: Run) -> None:
    """As with a model that is large beside the memory: the same comes out of it."""
    code = "import palitune.run.training_setup as c; c.IN_MEMORY = 0; from palitune.cli import main; main('learn', {})"
    options = ["-2", "--repeat", "2", "--evaluate-every", "1", "--quiet"]
    learn(run, workspace, *options, "-w", "in-memory")
    done = run("python", "-c", code.format([*QUICK, *options, "-w", "on-disk"]), cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert content(workspace, "on-disk") == content(workspace, "in-memory")
    assert not (workspace / "checkpoints/on-disk.run/best.npz").exists()


@pytest.mark.slow
def test_adapters_of_several_sizes(workspace: Path, run: Run) -> None:
    """What is judged in the end is the best trial's, its scale too, and not the last one's."""
    sweep = ("--method", "lora", "--sweep", "lora-alpha=16,64", "lora-rank=8,2", "-w", "sized")
    done = learn(run, workspace, *sweep, "--quiet")
    path = "./dataset/set1/valid.jsonl"
    outcomes = run("palitune", "validate", "-m", "sized", path, cwd=workspace).stdout
    assert outcomes.replace(path, f"{path} (1st trained)") in done.stdout


@pytest.mark.slow
def test_adapters_of_other_weights(workspace: Path, run: Run) -> None:
    targets = r"lora-targets=llm/layers/attn/.*/w,llm/layers/mlp/linear"
    learn(run, workspace, "--method", "lora", "--sweep", targets, "-w", "aimed", "--quiet", "--examples", "8")
    saved = npz.Checkpoint(workspace / "checkpoints/aimed.npz")
    assert len(saved) % 3 == 0


@pytest.mark.slow
def test_a_reader_that_has_enough_costs_nothing(workspace: Path, run: Run) -> None:
    command = " ".join(["palitune", "learn", *QUICK, "--quiet"])
    run("bash", "-c", f"{command} -w whole; {command} -w headed | head -18", cwd=workspace)
    assert not (workspace / "checkpoints/headed.npz").exists()
    assert (workspace / "checkpoints/headed.run/state.npz").exists()
    done = run("palitune", "learn", "--resume", "-w", "headed", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "going on after step" in done.stderr
    assert content(workspace, "headed") == content(workspace, "whole")


def test_a_grid(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "--sweep", "lr=0.01,0.03", "batch=2,4", "--quiet", "--examples", "8")
    table = done.stdout[done.stdout.index("trial  seed") :].splitlines()
    assert table[0].split()[:5] == ["trial", "seed", "learning_rate", "batch_size", "attempts"]
    assert [line.split()[2:4] for line in table[1:5]] == [[r, b] for r in ("0.01", "0.03") for b in ("2", "4")]
    assert done.stdout.count("trained)") == 6  # before, and of the best


@pytest.mark.slow
def test_a_search(workspace: Path, run: Run) -> None:
    command = ("--search", "3", "--sweep", "lr=0.001..0.1", "batch=2,4", "--quiet", "--examples", "8")
    done = learn(run, workspace, *command)
    table = done.stdout[done.stdout.index("trial  seed") :].splitlines()
    rates = [float(line.split()[2]) for line in table[1:4]]
    assert len(set(rates)) == 3
    assert all(0.001 <= rate <= 0.1 for rate in rates)
    assert learn(run, workspace, *command).stdout == done.stdout


def test_a_diverged_attempt_is_made_again(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "-r", "1e30", "-w", "lost", "--attempts", "4", code=79)
    assert ", attempt 4 of 4; no model was saved" in done.stderr.splitlines()[-1]
    rows = [json.loads(line) for line in (workspace / "checkpoints/lost.run/metrics.jsonl").read_text().splitlines()]
    events = [row for row in rows if row.get("event") == "diverged"]
    assert [event["attempt"] for event in events] == [1, 2, 3, 4]
    assert [event["highest_learning_rate"] for event in events] == [1e30, 1e30, 5e29, 2.5e29]
    assert rows[-1] == {"event": "failed"}
    assert not (workspace / "checkpoints/lost.npz").exists()
    assert (workspace / "checkpoints/lost.run/loss.png").exists()
    again = run("palitune", "learn", "--resume", "-w", "lost", cwd=workspace)
    assert again.returncode == 79
    assert "this run diverged in every attempt" in again.stderr
    learn(run, workspace, "-w", "lost", "--quiet")  # nothing of it is in the way


@pytest.mark.slow
def test_an_attempt_that_diverges_is_saved_by_the_next(workspace: Path, run: Run) -> None:
    """At this rate learning fails until it has been halved often enough."""
    done = learn(run, workspace, "-r", "30000", "-w", "saved", "--attempts", "20")
    assert "restarted with another order of the examples at half the learning rate" in done.stderr
    assert (workspace / "checkpoints/saved.npz").exists()
    rows = [json.loads(line) for line in (workspace / "checkpoints/saved.run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1] == {"event": "finished", "winner": 1}


def test_trials_that_diverge_are_no_end(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "--sweep", "lr=1e30,0.01", "--attempts", "1", "--quiet")
    table = done.stdout[done.stdout.index("trial  seed") :].splitlines()
    assert table[1].split()[-1] == "diverged"
    assert table[-1] != "best by loss: trial 1"
    done = learn(run, workspace, "--sweep", "lr=1e30,1e29", "--attempts", "1", "--quiet", code=79)
    assert "all 2 trials diverged; no model was saved" in done.stderr


def test_tensorboard(workspace: Path, run: Run) -> None:
    learn(run, workspace, "-w", "boarded", "--tensorboard", "--quiet", "--examples", "8")
    (events,) = (workspace / "checkpoints/boarded.run/tensorboard").iterdir()
    written = events.read_bytes()
    for name in (b"train_loss", b"valid_loss", b"learning_rate"):
        assert name in written


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--sweep", "lr"], 2, "--sweep 'lr' is no NAME=VALUE,VALUE"),
        (["--sweep", "speed=1"], 2, "Names are lr, batch, accumulate"),
        (["--sweep", "lr=fast"], 2, "'fast' is not a number"),
        (["--sweep", "lr=0.1,"], 2, "a value is empty"),
        (["--sweep", "lr=0.1..0.2"], 2, "a range needs --search"),
        (["--sweep", "lr=1,2", "lr=3"], 2, "names a setting twice"),
        (["--sweep", "method=full"], 2, "--sweep cannot vary method"),
        (["--search", "3"], 2, "--search needs --sweep"),
        (["--search", "3", "--sweep", "batch=4,64"], 2, "--examples 32 is less than one batch of 64"),
        (["--search", "3", "--sweep", "batch=1..4"], 2, "a range is of two numbers above 0"),
        (["--repeat", "100000"], 2, "100,000 trials are more than 10,000"),
        (["--resume"], 2, "--resume needs -w NAME"),
        (["--save-every", "5"], 2, "--save-every needs -w NAME"),
        (["--resume", "-w", "x", "--overwrite"], 2, "leave out --overwrite"),
        (["--second-patience", "1"], 2, "--second-patience is for a second pass: add -2"),
        (["--augment", "flip,spin"], 2, "'spin' is none of flip, crop, color"),
        (["--lora-dropout", "0.1"], 2, "--lora-dropout is for --method lora"),
        (["--label-smoothing", "1"], 2, "not at least 0 and below 1"),
        (["--select", "luck"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, workspace: Path, arguments: list[str], code: int, message: str) -> None:
    done = learn(run, workspace, *arguments, code=code)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (workspace / "checkpoints/x.run").exists()


def test_options_of_a_run_that_goes_on_cannot_change(workspace: Path, noted: object, run: Run) -> None:
    (workspace / "checkpoints/noted.run/metrics.jsonl").rename(workspace / "aside")
    done = run("palitune", "learn", "--resume", "-w", "noted", "--seed", "3", cwd=workspace)
    (workspace / "aside").rename(workspace / "checkpoints/noted.run/metrics.jsonl")
    assert done.returncode == 2
    assert "--seed cannot change while a run goes on" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--balance", "weights"], ["--balance", "sample"], ["--label-smoothing", "0.2"]])
def test_options_change_what_is_learned(workspace: Path, run: Run, options: list[str]) -> None:
    name = options[-1].replace(".", "")
    learn(run, workspace, "-w", name, *options, "--quiet")
    if not (workspace / "checkpoints/plain.npz").exists():
        learn(run, workspace, "-w", "plain", "--quiet")
    assert content(workspace, name) != content(workspace, "plain")


@pytest.mark.slow
def test_dropout_of_adapters(workspace: Path, run: Run) -> None:
    for name, share in (("kept", "0"), ("dropped", "0.5"), ("dropped2", "0.5")):
        learn(run, workspace, "--method", "lora", "--lora-dropout", share, "-w", name, "--quiet")
    assert content(workspace, "kept") != content(workspace, "dropped") == content(workspace, "dropped2")


def test_patience_ends_a_pass(workspace: Path, run: Run) -> None:
    done = learn(run, workspace, "-w", "patient", "--patience", "1", "--evaluate-every", "1", "-r", "0.000001")
    rows = [json.loads(line) for line in (workspace / "checkpoints/patient.run/metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "valid_loss" in row][1:]
    assert len(steps) == 8 or not steps[-1]["best"]
    assert done.returncode == 0


def test_a_run_that_is_refused_leaves_no_folder(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "learn", "-d", "nothing", "-w", "refused", cwd=tmp_path)
    assert done.returncode == 66, done.stderr
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "checkpoints").mkdir()  # which somebody else has made
    run("palitune", "learn", "-d", "nothing", "-w", "refused", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]

"""What is said of a run at its end, from made-up losses and from real runs of the tiny model, and the next command."""

import argparse
import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from palitune.cli import arguments
from palitune.config.name_kinds import Names, Pairs, pair
from palitune.config.run_config import RunConfig
from palitune.config.settings import settings_of
from palitune.config.value_kinds import Choice, Kind, Number, Text, Whole
from palitune.data.example import Example, Target
from palitune.data.prediction import Prediction
from palitune.evaluate.advice import MOST, Advice, advise
from palitune.evaluate.loss_curve import curve_of
from palitune.evaluate.run_facts import Answered, Facts, Lift, Together
from palitune.run import next_run

pytestmark = pytest.mark.quick_programs

Rows = list[dict[str, object]]
HALF = Answered({"yes": 50, "no": 50}, {"yes": 52, "no": 48}, 90)
FACTS = Facts(100, [{"yes": 50, "no": 50}], 400, 0.03, 0.03, "none", [HALF])
FALLING = [1.1, 0.5, 0.3, 0.2, 0.15, 0.14, 0.135, 0.134, 0.134]


def rows(valid: list[float], train: list[float], kept: int, epochs: float = 4.0, **place: int) -> Rows:
    """The rows of a pass: validation losses with the one before learning, training losses between two of them."""
    found: Rows = []
    for number, loss in enumerate(valid):
        row: dict[str, object] = {"step": 10 * number, "valid_loss": loss, "best": number == kept}
        row |= {"trial": 1, "pass": 1, "attempt": 1, "epoch": epochs * number / (len(valid) - 1)} | place
        if number:
            earlier = {name: value for name, value in row.items() if name not in ("valid_loss", "best")}
            found.append(earlier | {"step": 10 * number - 5, "train_loss": train[number - 1] + 0.01})
            row["train_loss"] = train[number - 1] - 0.01
        found.append(row)
    return found


def test_a_curve_has_every_pass_and_of_each_the_last_attempt() -> None:
    lost = rows([1.0, 3.0], [2.0], 1)
    first = rows([1.0, 0.5, 0.6], [0.8, 0.4], 1, attempt=2)
    second = rows([0.5, 0.45, 0.47], [0.3, 0.2], 1, **{"pass": 2})
    other = rows([1.0, 0.1], [0.1], 1, trial=2)
    events: Rows = [{"event": "remark", "trial": 1, "pass": 1, "attempt": 1, "step": 4}, {"event": "finished"}]
    curve = curve_of(lost + first + events + second + other)
    assert curve is not None
    assert curve.valid == [1.0, 0.5, 0.6, 0.45, 0.47]
    assert curve.epochs == [0, 2, 4, 6, 8]
    assert math.isnan(curve.train[0])
    assert curve.train[1:] == pytest.approx([0.8, 0.4, 0.3, 0.2])
    assert curve.valid[curve.kept] == 0.45
    assert curve_of(lost + first + second + other, winner=1) == curve_of(rows([1.0, 0.1], [0.1], 1, trial=2), 1)
    assert curve_of(rows([1.0, 0.5], [0.5], kept=9)) is None
    old = [{name: value for name, value in row.items() if name != "epoch"} for row in first]
    assert curve_of(old) is None


LOST: dict[str, object] = {"event": "diverged", "trial": 1, "pass": 1, "attempt": 1, "step": 3}

SAID = {
    "healthy": (rows(FALLING, FALLING[1:], 8), FACTS, None, {}),
    "over-fitting": (
        rows([1.1, 0.5, 0.3, 0.29, 0.31, 0.4, 0.5, 0.55, 0.56], FALLING[1:], 3),
        FACTS,
        "over-fitting: the validation loss rose from epoch 1.5 on, from 0.29 to 0.56, while the training loss fell; "
        "kept epoch 1.5.",
        {"epochs": 2},
    ),
    "restarted once": (
        [LOST, *rows(FALLING, FALLING[1:], 8, attempt=2)],
        FACTS,
        "learning diverged once, and was restarted",
        {"learning_rate": 0.015},
    ),
    "restarted at half the rate": (
        [LOST, LOST | {"attempt": 2}, LOST | {"attempt": 3}, *rows(FALLING, FALLING[1:], 8, attempt=4)],
        FACTS,
        "learning diverged 3 times before an attempt came to its end",
        {"learning_rate": 0.0075},
    ),
    "another trial, and another pass, diverged": (
        [LOST | {"trial": 2}, LOST | {"pass": 2}, *rows(FALLING, FALLING[1:], 8)],
        FACTS,
        None,
        {},
    ),
    "a soup that is worse than the best of its trials": (
        rows(FALLING, FALLING[1:], 8),
        FACTS._replace(together=Together("soup", 3, 0.3, 0.134)),
        "what 3 trials have become together (soup) has a validation loss of 0.3, and the best of them alone has 0.134",
        {"combine": "ensemble"},
    ),
    "a student that is as good within an evaluation's noise": (
        rows(FALLING, FALLING[1:], 8),
        FACTS._replace(together=Together("distil", 3, 0.14, 0.134)),
        None,
        {},
    ),
    "an ensemble, which is worth more than few records tell": (
        rows(FALLING, FALLING[1:], 8),
        FACTS._replace(together=Together("ensemble", 3, 0.3, 0.134)),
        None,
        {},
    ),
    "over-fitting from the first epoch on": (
        rows([1.1, 0.3, 0.31, 0.5, 0.8], [0.5, 0.2, 0.1, 0.05], 1, epochs=1),
        FACTS._replace(shown=100),
        "rose from epoch 0.2 on",
        {"learning_rate": 0.01},
    ),
    "a rise that an evaluation's noise explains": (
        rows([1.1, 0.5, 0.3, 0.29, 0.295, 0.3, 0.3, 0.31, 0.305], FALLING[1:], 3),
        FACTS,
        None,
        {},
    ),
    "a rise of a loss of nearly nothing": (
        rows([1.1, 0.1, 0.01, 0.003, 0.006, 0.008], FALLING[1:6], 3),
        FACTS,
        None,
        {},
    ),
    "both fall": (
        rows([1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 8),
        FACTS,
        "both losses were still falling at the end (from 0.5 to 0.3 in the last two evaluations): more epochs",
        {"epochs": 8},
    ),
    "everything is right already": (
        rows([1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 8),
        FACTS._replace(validation=[Answered({"yes": 50, "no": 50}, {"yes": 50, "no": 50}, 100)]),
        None,
        {},
    ),
    "without a validation set": (
        rows([1.1, 1.0, 0.9, 0.8, 0.7], [1.1, 1.0, 0.9, 0.8], 4),
        FACTS._replace(validation=[], has_validation=False),
        "the loss was still falling",
        {"epochs": 8},
    ),
    "free text": (
        rows([1.1, 0.5, 0.3, 0.29, 0.31, 0.4, 0.5, 0.55, 0.56], FALLING[1:], 3),
        FACTS._replace(classes=[], validation=[]),
        "over-fitting",
        {"epochs": 2},
    ),
    "ended early": (
        rows([1.1, 0.5], [0.8], 1, epochs=0.5),
        FACTS._replace(shown=50),
        "learning ended at epoch 0.5, before each example had been shown once, and the loss was falling (from 1.1 to",
        {"epochs": 2},
    ),
    "too few evaluations": (rows([1.1, 0.5, 0.3], [0.8, 0.6], 2), FACTS, None, {}),
    "never fell": (
        rows([0.6, 0.7, 0.8, 0.9, 1.0], [0.6, 0.4, 0.2, 0.1], 1),
        FACTS,
        "the training loss fell from 0.6 to 0.1, but the validation loss was never below the 0.6 before learning",
        {"learning_rate": 0.01},
    ),
    "flat at a low rate": (
        rows([0.7, 0.69, 0.69, 0.68, 0.68], [0.7, 0.7, 0.69, 0.69], 4),
        FACTS._replace(learning_rate=0.0003),
        "the training loss changed little, from 0.7 to 0.69: the learning rate, 0.0003, is too low",
        {"learning_rate": 0.03},
    ),
    "flat at the usual rate": (
        rows([0.7, 0.7, 0.69, 0.7, 0.69], [0.7, 0.69, 0.7, 0.69], 2),
        FACTS,
        "the labels may not follow from what is shown",
        {},
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_losses_say(case: str) -> None:
    told, facts, says, changes = SAID[case]
    found = advise(told, facts)
    if says is None:
        assert found == []
    else:
        assert [dict(one.changes) for one in found] == [changes]
        assert says in found[0].text


ANSWERED = {
    "one answer, of lopsided labels": (
        FACTS._replace(classes=[{"yes": 90, "no": 10}], validation=[Answered({"yes": 90, "no": 10}, {"yes": 100}, 90)]),
        'every answer on the validation set is "yes": count each label the same',
        {"balance": "weights"},
    ),
    "one answer, though the labels count the same": (
        FACTS._replace(balance="weights", validation=[Answered({"yes": 50, "no": 50}, {"no": 100}, 50)]),
        'every answer on the validation set is "no": try another learning rate',
        {"learning_rate": 0.01},
    ),
    "one answer to some of several labels": (
        FACTS._replace(
            classes=[{"yes": 4, "no": 96}] * 2,
            validation=[
                Answered({"yes": 4, "no": 96}, {"no": 100}, 96, "rude"),
                Answered({"yes": 40, "no": 60}, {"yes": 40, "no": 60}, 90, "spam"),
            ],
        ),
        'every answer about rude on the validation set is "no"',
        {"balance": "weights"},
    ),
    "no better than always": (
        FACTS._replace(validation=[Answered({"yes": 55, "no": 45}, {"yes": 50, "no": 50}, 53)]),
        'the accuracy on the validation set, 0.53, is no better than always answering "yes" (0.55)',
        {},
    ),
    "no better than always, after learning from lopsided labels": (
        FACTS._replace(
            classes=[{"yes": 81, "no": 6}], validation=[Answered({"yes": 62, "no": 38}, {"yes": 99, "no": 1}, 61)]
        ),
        'the accuracy on the validation set, 0.61, is no better than always answering "yes" (0.62): count each label',
        {"balance": "weights"},
    ),
    "a class that is never answered": (
        FACTS._replace(validation=[Answered({"a": 40, "b": 40, "🐱": 20, "d": 1}, {"a": 50, "b": 51}, 70)]),
        "never answered: 🐱, 1 of 4 labels; count each label the same",
        {"balance": "weights"},
    ),
    "a small validation set": (
        FACTS._replace(examples=20, classes=[{"yes": 10, "no": 10}],
                       validation=[Answered({"yes": 25, "no": 25}, {"yes": 25, "no": 25}, 30)]),
        "10 examples a class: the accuracy of 0.60 on 50 validation examples has a 95 % interval of ± 13 %, "
        "from 0.46 to 0.72",
        {"repeat": 5},
    ),
    "a large training set beside it": (
        FACTS._replace(examples=500, classes=[{"yes": 250, "no": 250}],
                       validation=[Answered({"yes": 5, "no": 5}, {"yes": 5, "no": 5}, 10)]),
        "the accuracy of 1.00 on 10 validation examples has a 95 % interval of ± 14 %, from 0.72 to 1.00; asking",
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERED)
def test_what_answers_say(case: str) -> None:
    facts, says, changes = ANSWERED[case]
    found = advise(rows(FALLING, FALLING[1:], 8), facts)
    assert (dict(found[0].changes), found[0].text[: len(says)]) == (changes, says)


def test_at_most_three_things_and_the_worst_first() -> None:
    facts = FACTS._replace(
        classes=[{"yes": 9, "no": 1}], validation=[Answered({"yes": 9, "no": 1}, {"yes": 10}, 9)], examples=10
    )
    told = rows([1.1, 0.5, 0.3, 0.29, 0.31, 0.4, 0.5, 0.55, 0.56], FALLING[1:], 3)
    assert [one.kind for one in advise(told, facts)] == ["one answer", "over-fitting"]
    more = facts._replace(validation=[Answered({"yes": 6, "no": 4}, {"yes": 4, "no": 6}, 8)])
    assert [one.kind for one in advise(told, more)] == ["over-fitting", "wide interval"]
    classes = Answered({"a": 4, "b": 3, "c": 3}, {"a": 5, "b": 5}, 7)
    found = advise(told, facts._replace(validation=[classes]))
    assert [one.kind for one in found] == ["over-fitting", "never answered"]
    assert len(found) <= MOST
    assert advise([], FACTS) == []


def parsed(command: str, program: str) -> RunConfig:
    assert command.startswith(f"{program} ")
    parser = argparse.ArgumentParser()
    arguments.add(parser, RunConfig)
    return arguments.read(RunConfig, arguments.parse(parser, shlex.split(command.removeprefix(f"{program} "))))


@pytest.mark.parametrize(
    ("options", "changes", "expected"),
    [
        ({"data": "set1", "write": "mine"}, {"epochs": 8}, "./03-do_learn.py -d set1 -t 8 -w mine-2"),
        ({"data": "my set.jsonl", "images": "all images"}, {"epochs": 2},
         "./03-do_learn.py -d 'my set.jsonl' -t 2 -i 'all images'"),
        ({"data": "set1", "examples": 200, "write": "checkpoints/x-9.npz", "overwrite": True}, {"epochs": 3},
         "./03-do_learn.py -d set1 --examples 300 -w checkpoints/x-10.npz"),
        ({"data": "set1", "epochs": 9, "quiet": True}, {"learning_rate": 0.01},
         "./03-do_learn.py -d set1 -t 9 -r 0.01"),
        ({"method": "lora", "second_pass": True, "features": False, "weight_decay": ((".*", 0.01), ("a=b", 1e-7)),
          "augment": ("flip", "crop"), "sweep": ("lr=1,2", "batch=3"), "prompt": "-is it?", "learning_rate": 1 / 3},
         {"balance": "weights"}, None),
        ({"repeat": 3, "combine": "soup", "together": 2, "examples": 40}, {"combine": "ensemble"}, None),
    ],
)  # fmt: skip
def test_the_next_command_is_the_run_but_for_what_changes(
    options: dict[str, object], changes: dict[str, object], expected: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    config = RunConfig.of(options)
    command = next_run.command_of(Advice("", "", changes), config, "./03-do_learn.py", 100)
    assert expected is None or command == expected
    again = parsed(command, "./03-do_learn.py")
    left_out = next_run.LEFT_OUT if "combine" in changes else (*next_run.LEFT_OUT, *next_run.OF_TRIALS)
    kept = {name: value for name, value in config.options().items() if name not in left_out}
    found = {name: value for name, value in again.options().items() if name != "write"}
    if expected is None:
        assert found == {"data": "set1"} | kept | changes


def test_every_kind_of_value_is_typed_as_it_is_read() -> None:
    """What a kind parses from one text and what it is typed as are the same; kinds of several values say how."""
    for one in settings_of(RunConfig):
        kind = one.details.kind
        if not one.is_flag and not isinstance(kind, (Whole, Number, Choice, Text)):
            assert type(kind).typed is not Kind.typed, one.name
    assert Pairs().typed("--map", (("-1", "a=b"), ("1", "c"))) == ["--map=-1=a\\=b", "--map", "1=c"]
    assert pair("-1=a\\=b") == ("-1", "a=b")
    assert Names().typed("--label-columns", ("x", "y z")) == ["--label-columns", "x,y z"]


def test_a_name_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    (tmp_path / "checkpoints/mine-3.run").mkdir(parents=True)
    (tmp_path / "checkpoints/mine-2.npz").write_bytes(b"")
    config = RunConfig.of({"data": "set1", "write": "mine"})
    assert next_run.command_of(Advice("", "", {}, ""), config, "palitune learn", 9).endswith("-w mine-4")


def test_checks_ask_about_the_same_data() -> None:
    config = RunConfig.of({"data": "a b.tsv", "images": "all", "model": "tiny", "examples": 64})
    command = next_run.command_of(Advice("", "", {}, "suspect"), config, "palitune learn", 9)
    assert command == "palitune suspect -d 'a b.tsv' -m tiny -i all"
    piped = next_run.command_of(Advice("", "", {}, "suspect --learn"), config, "palitune learn", 9)
    assert piped == "palitune suspect --learn -d 'a b.tsv' -m tiny -i all | palitune report --text -"
    large = {"method": "qlora", "batch_size": 1, "quantize_embeddings": True, "accumulate": 8, "lora_rank": 4}
    config = RunConfig.of({"data": "a.tsv", "model": "10b", **large})
    piped = next_run.command_of(Advice("", "", {}, "suspect --learn"), config, "palitune learn", 9)
    assert piped.startswith("palitune suspect --learn -d a.tsv --method qlora -b 1 -m 10b --quantize-embeddings |")
    plain = next_run.command_of(Advice("", "", {}, "suspect"), config, "palitune learn", 9)
    assert plain == "palitune suspect -d a.tsv -m 10b"  # a linear probe, which learns nothing in the model


def test_thresholds_of_a_run_in_folds_come_of_its_own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = RunConfig.of({"data": "posts.jsonl", "folds": 3, "write": "mine"})
    command = next_run.command_of(Advice("", "", {}, "threshold"), config, "palitune learn", 9)
    assert command == "palitune threshold checkpoints/mine.run/valid.jsonl --f-measure -m mine"


def test_checks_are_of_what_the_data_have() -> None:
    unlike = Answered({"yes": 55, "no": 45}, {"yes": 50, "no": 50}, 53)
    facts = FACTS._replace(validation=[unlike])
    told = rows(FALLING, FALLING[1:], 8)
    assert advise(told, facts)[0].check == "suspect"
    assert advise(told, facts._replace(has_images=False))[0].check == "suspect --learn"
    assert advise(told, facts._replace(validation=[unlike._replace(target="rude")]))[0].check == "lint"
    config = RunConfig.of({"data": "a b", "model": "tiny", "map": (("-1", "no"), ("1", "yes"))})
    command = next_run.command_of(Advice("", "", {}, "lint"), config, "palitune learn", 9)
    assert command == "palitune lint 'a b' --map=-1=no --map 1=yes"


def test_a_threshold_is_advised_where_probabilities_rank_well() -> None:
    """The first label is never found and ranked well, the second is found, and the third is ranked by chance."""
    rng, answers = np.random.default_rng(0), []
    for number in range(60):
        rights = number % 6 == 0, number % 2 == 0, number % 5 == 0
        targets = tuple(
            Target(name, ("yes", "no"), "yes" if right else "no")
            for name, right in zip(("rude", "spam", "odd"), rights, strict=True)
        )
        example = Example.of(f"{number}.png")._replace(targets=targets)
        chances = 0.1 + 0.3 * rights[0], 0.2 + 0.6 * rights[1], 0.5 + rng.random() / 100
        for target, p in zip(targets, chances, strict=True):
            answers.append(Prediction(example, target, "yes" if p >= 0.5 else "no", p))
    from palitune.config.run_config import training

    facts = next_run.facts_of(training(), [answers[0].example], answers, True)
    lifts = [one.lift for one in facts.validation]
    assert lifts[0] == Lift(0.0, 1.0, 1.0)
    assert lifts[1] == Lift(1.0, 1.0, 1.0)
    assert lifts[2] is not None
    assert lifts[2].area < 0.65
    found = [one for one in advise(rows(FALLING, FALLING[1:], 8), facts) if one.check == "threshold"]
    assert [one.text.partition("; ")[0] for one in found] == [
        "a threshold for each label raises the F-measure on the validation set: rude from 0.00 to 1.00"
    ]
    unknown = next_run.facts_of(training(), [answers[0].example], [one._replace(p_yes=None) for one in answers], True)
    assert [one.lift for one in unknown.validation] == [None] * 3


def test_facts_of_several_labels_leave_out_what_is_unknown() -> None:
    targets = (Target("rude", ("yes", "no"), "yes"), Target("spam", ("yes", "no"), None))
    examples = [Example.of("a.png", label="no")._replace(targets=targets), Example.of("b.png", label="yes")]
    answers = [Prediction(examples[0], target, "no") for target in targets]
    from palitune.config.run_config import training

    facts = next_run.facts_of(training(), examples, answers, True)
    assert facts.classes == [{"yes": 1}, {"yes": 1}]
    assert facts.validation == [Answered({"yes": 1}, {"no": 1}, 0, "rude")]
    assert (facts.examples, facts.learning_rate, facts.usual_rate) == (2, 0.03, 0.03)
    assert next_run.facts_of(training(optimizer="adamw"), examples, answers, False).usual_rate is None


def advice_of(folder: Path) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["event"] == "finished"
    return [line for line in lines if line.get("event") == "advice"]


def test_a_real_run_that_is_too_short(run: Run, workspace: Path) -> None:
    """18 training examples, of which it sees 8: what is said is printed, written down, and in both reports."""
    learn = ("palitune", "learn", "--examples", "8", "-w", "short", "--report")
    done = run(*learn, cwd=workspace)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("advice: ", "  try: "))]
    assert said[0].startswith("advice: learning ended at epoch 0.4, before each example had been shown once")
    assert said[1] == "  try: palitune learn -d set1 --report --examples 36 -w short-2"
    assert "± " in said[2]
    assert len(said) == 4
    assert "advice" not in done.stdout
    folder = workspace / "checkpoints/short.run"
    written = advice_of(folder)
    assert [(f"advice: {one['what']}", f"  try: {one['command']}") for one in written] == [
        (said[0], said[1]),
        (said[2], said[3]),
    ]
    assert "--report --examples 36 -w short-2</code>" in (folder / "report.html").read_text("utf-8")
    (workspace / "out.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\nb.png\tFalse\t0.8\tno\tyes\n")
    shown = run("palitune", "report", "--text", "out.tsv", "-m", "short", cwd=workspace)
    assert f"learning: {written[0]['what']}\n  try: {written[0]['command']}\n" in shown.stdout
    found = json.loads(run("palitune", "report", "--json", "out.tsv", "-m", "short", cwd=workspace).stdout)
    assert found["advice"] == [{"what": one["what"], "command": one["command"]} for one in written]
    quiet = run(*learn[:-1], "--overwrite", "--quiet", cwd=workspace)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    for one in written:  # and what is advised can be done, here with few examples a fold
        command = one["command"].replace("suspect --learn", "suspect --learn --examples 8")
        again = run("bash", "-c", command, cwd=workspace)
        assert again.returncode == 0, again.stderr


def test_a_real_run_at_a_rate_that_is_too_low(run: Run, workspace: Path) -> None:
    done = run("palitune", "learn", "-d", "set1", "-t", "8", "-r", "0.00001", cwd=workspace)
    assert "is too low\n  try: palitune learn -d set1 -t 8 -r 0.03\n" in done.stderr


def test_what_is_not_what_a_run_wrote(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert next_run.read_told(path) == []
    path.write_text('{"event": "advice", "what": "x"}\n')
    assert next_run.read_told(path) == []
    line = json.dumps({"event": "advice", "what": "w" * 9_000, "command": "c\x1b[2J"}) + "\n"
    path.write_text(line * 9)
    found = next_run.read_told(path)
    assert len(found) == MOST
    assert len(found[0].text) == next_run.LONGEST
    assert "\x1b" not in "".join(found[0].lines)

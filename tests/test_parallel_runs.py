"""Runs on several devices: the same as on one, and resumed on another number of them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK as FLAGS
from conftest import XLA, knows

from palitune.checkpoint import npz

pytestmark = pytest.mark.quick_programs

LEARN = ("-d", "set1", "--examples", "48", "-b", "8", "--seed", "3", "--save-every", "2", "--evaluate-every", "2")
TOLERANCE = 1e-5
# A run that is killed right after its state has been saved for the second time, behind step 2 and step 4.
KILLED = """
import os, sys
import palitune.checkpoint.run_state as state
from palitune.cli import main
save, left = state.save, [int(sys.argv[1])]
def saved(*arguments):
    save(*arguments)
    left[0] -= 1
    left[0] or os._exit(9)
state.save = saved
main(sys.argv[2], sys.argv[3:])
"""


class Machine:
    """Commands on a machine with as many devices as a test says."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        flags = " ".join(f"--{name}={value}" for name, value in FLAGS.items() if knows(XLA, name))
        self.folder, self.environment = folder, {**environment, "XLA_FLAGS": flags}

    def run(self, devices: int, *command: str, code: int = 0, given: str = "") -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, "JAX_NUM_CPU_DEVICES": str(devices)}
        how = {"cwd": self.folder, "env": environment, "input": given, "text": True, "timeout": 300}
        done = subprocess.run(command, capture_output=True, check=False, **how)
        assert done.returncode == code, done.stderr
        return done

    def palitune(
        self, devices: int, *arguments: str, code: int = 0, given: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(devices, "palitune", *arguments, code=code, given=given)

    def killed(self, devices: int, saves: int, *arguments: str) -> None:
        self.run(devices, "python", "-c", KILLED, str(saves), *arguments, code=9)

    def losses(self, name: str) -> list[list[float]]:
        """The losses of each step of a run: of training, and of evaluations where there are some."""
        lines = (self.folder / "checkpoints" / f"{name}.run" / "metrics.jsonl").read_text().splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        wanted = [row for row in rows if "event" not in row]
        return [[row[key] for key in ("train_loss", "valid_loss") if row.get(key) is not None] for row in wanted]

    def content(self, name: str) -> bytes:
        return (self.folder / "checkpoints" / f"{name}.npz").read_bytes()


@pytest.fixture(scope="module")
def machine(workspace: Path, quick_environment: dict[str, str]) -> Machine:
    return Machine(workspace, quick_environment)


@pytest.fixture(scope="module")
def on_one(machine: Machine) -> list[list[float]]:
    machine.palitune(1, "learn", *LEARN, "-w", "on-one")
    return machine.losses("on-one")


def assert_same(found: list[list[float]], wanted: list[list[float]]) -> None:
    assert [len(row) for row in found] == [len(row) for row in wanted]
    for number, (row, expected) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(row, expected, rtol=0, atol=TOLERANCE, err_msg=f"step {number}")


def test_a_run_goes_on_with_fewer_devices(machine: Machine, on_one: list[list[float]]) -> None:
    """Its order of examples is the seed's, and its evaluations, of 6 records on 4 devices, count each once."""
    machine.killed(4, 1, "learn", *LEARN, "-w", "shrinking")
    machine.killed(2, 1, "learn", "--resume", "-w", "shrinking", "--save-every", "2")
    done = machine.palitune(1, "learn", "--resume", "-w", "shrinking")
    assert "going on after step 4 of 6" in done.stderr
    assert_same(machine.losses("shrinking"), on_one)
    one, other = (npz.Checkpoint(machine.folder / "checkpoints" / f"{name}.npz") for name in ("on-one", "shrinking"))
    assert set(one) == set(other)
    for path in one:
        # They are stored in 16 bit, where what is equal to 1e-5 may be rounded to neighbours.
        unit = float(np.finfo(one[path].dtype).eps)
        found, wanted = (np.asarray(each[path], np.float32) for each in (other, one))
        np.testing.assert_allclose(found, wanted, rtol=unit, atol=TOLERANCE, err_msg=path)


def test_the_state_of_adamw_is_in_the_hosts_memory_beside_each_device(machine: Machine) -> None:
    """Two devices also end a step in which dozens of exchanges do not depend on one another."""
    adamw = (*LEARN, "--method", "full", "--optimizer", "adamw", "-r", "0.0002")
    machine.palitune(1, "learn", *adamw, "-w", "here")
    machine.palitune(2, "learn", *adamw, "-w", "spread")
    machine.killed(2, 1, "learn", *adamw, "--offload", "optimizer", "-w", "away")
    machine.palitune(2, "learn", "--resume", "-w", "away")
    assert_same(machine.losses("spread"), machine.losses("here"))
    assert_same(machine.losses("away"), machine.losses("here"))


def test_the_same_devices_end_with_the_same_bytes(machine: Machine, on_one: list[list[float]]) -> None:
    mesh = ("--mesh", "data=2,fsdp=2")
    machine.palitune(4, "learn", *LEARN, *mesh, "-w", "in-one-go")
    machine.killed(4, 1, "learn", *LEARN, *mesh, "-w", "in-two")
    machine.palitune(4, "learn", "--resume", *mesh, "-w", "in-two")
    assert machine.content("in-two") == machine.content("in-one-go")
    assert machine.losses("in-two") == machine.losses("in-one-go")
    assert_same(machine.losses("in-one-go"), on_one)


def test_scores_are_those_of_one_device(machine: Machine, on_one: list[list[float]]) -> None:
    found = {}
    for devices in (1, 4):
        done = machine.palitune(devices, "inference", "-m", "on-one", "-d", "dataset/set1/valid.jsonl")
        rows = [line.split("\t") for line in done.stdout.splitlines() if not line.startswith("#")]
        found[devices] = [row[0] for row in rows], [float(row[2]) for row in rows]
    assert found[4][0] == found[1][0]
    assert len(found[1][0]) == 6  # which 4 does not divide
    np.testing.assert_allclose(found[4][1], found[1][1], rtol=0, atol=TOLERANCE)
    blocks = {machine.palitune(n, "validate", "-m", "on-one", "dataset/set1/valid.jsonl").stdout for n in (1, 4)}
    assert len(blocks) == 1


def test_a_batch_that_cannot_be_split_takes_fewer_devices(machine: Machine) -> None:
    """Nobody said how many devices there are, so a command that ran on one device runs here too."""
    done = machine.palitune(4, "learn", *LEARN, "-b", "6", "--examples", "12", "-w", "uneven")
    note = "a batch of 6 cannot be split evenly over 4 devices, so 2 of them are used; --batch-size 8 uses all"
    assert note in done.stderr
    assert "on 2 x cpu (data=1, fsdp=2)" in done.stderr
    done = machine.palitune(3, "learn", *LEARN, "--examples", "8", "-w", "odd")
    assert "over 3 devices, so 2 of them are used; --batch-size 9 uses all" in done.stderr


def test_quantized_weights_learn_the_same(machine: Machine) -> None:
    options = (*LEARN, "--method", "qlora", "--quantize-embeddings", "--examples", "16")
    for devices in (1, 4):
        machine.palitune(devices, "learn", *options, "-w", f"qlora-{devices}")
    assert_same(machine.losses("qlora-4"), machine.losses("qlora-1"))


def test_a_chat_is_that_of_one_device(machine: Machine) -> None:
    said = {}
    for devices in (1, 4):
        how = ("--max-new-tokens", "6", "--temperature", "0.7", "--quiet")
        said[devices] = machine.palitune(
            devices, "chat", "-m", "tinytext", *how, given="What is it?\nAnd now?\n"
        ).stdout
    assert len(said[1].splitlines()) == 2
    assert said[4] == said[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--devices", "4", "-b", "6"],
            "a batch of 6 cannot be split evenly over 4 devices. Use --batch-size 8, or --devices 2",
        ),
        (["--devices", "8"], "--devices 8: there are 4 devices here (CPU)"),
        (["--mesh", "data=3"], "--mesh data=3 does not make 4 devices"),
        (["--mesh", "fsdp=0"], "0 is not at least 1"),
        (["--mesh", "rows=2"], "rows"),
    ],
)
def test_what_cannot_be_arranged_is_one_line(machine: Machine, options: list[str], message: str) -> None:
    code = 2 if "-b" in options or options[1] in ("fsdp=0", "rows=2") else 78
    done = machine.palitune(4, "learn", *LEARN, *options, "--quiet", "-w", "refused", code=code)
    assert message in done.stderr.splitlines()[-1]
    assert not (machine.folder / "checkpoints/refused.npz").exists()

"""Job scripts for many machines: what a scheduler would run is run, and manifests are held to Kubernetes' schemas."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY, Run

from palitune.config import hosts
from palitune.errors import UsageError

FOLDER = REPOSITORY / "playground" / "many-devices"
PAGE = (REPOSITORY / "docs" / "many-devices.md").read_text("utf-8")
VERSIONS = ("1.31", "1.37")  # of Kubernetes: the first that has everything that is used, and a late one


def job(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text("utf-8")))


def container(name: str) -> dict[str, Any]:
    return dict(job(name)["spec"]["template"]["spec"]["containers"][0])


def test_shellcheck() -> None:
    scripts = sorted(FOLDER.glob("*.sbatch"))
    assert len(scripts) == 3
    command = ["shellcheck", "--shell", "bash", *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["shards.yaml", "gather.yaml"])
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_have_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(job(name), version, strict=True)
    wrong = job(name)
    wrong["spec"]["template"]["spec"]["restartpolicy"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_page_has_the_commands_of_the_files() -> None:
    for path in (*FOLDER.glob("*.sbatch"), *FOLDER.glob("*.yaml")):
        assert f"(../playground/many-devices/{path.name})" in PAGE
        for line in path.read_text("utf-8").splitlines():
            if line.startswith(("#   sbatch ", "#   kubectl ", "#   sky ")):
                assert f"$ {line[4:]}\n" in PAGE, line


def test_pods_agree_with_each_other() -> None:
    shards, one = job("shards.yaml")["spec"], container("shards.yaml")
    assert one["env"] == [{"name": "SHARDS", "value": str(shards["completions"])}]
    assert container("gather.yaml")["volumeMounts"] == one["volumeMounts"]
    rule = shards["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert (rule["containerName"], rule["values"]) == (one["name"], [75])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_set_of_jobs_has_a_job(version: str) -> None:
    """The resource itself is not one of Kubernetes' own, but what it makes is."""
    (replicated,) = job("learn.yaml")["spec"]["replicatedJobs"]
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "learn"}, **replicated["template"]}
    kubernetes_validate.validate(made, version, strict=True)


def test_pods_that_learn_find_each_other() -> None:
    asked = job("learn.yaml")
    (replicated,) = asked["spec"]["replicatedJobs"]
    made = replicated["template"]["spec"]
    (one,) = made["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in one["env"]}
    first = f"{asked['metadata']['name']}-{replicated['name']}-0-0.{asked['spec']['network']['subdomain']}"
    assert told["JAX_COORDINATOR_ADDRESS"] == f"{first}:{one['ports'][0]['containerPort']}"
    assert int(told["JAX_NUM_PROCESSES"]) == made["completions"] == made["parallelism"]
    assert made["backoffLimit"] == 0  # one that is lost fails the job, which starts all of them again


@pytest.mark.parametrize("name", ["learn.yaml", "learn.sky.yaml"])
def test_what_learns_is_begun_once(name: str, workspace: Path, run: Run) -> None:
    """The same command begins a run, and goes on with it."""
    if name == "learn.yaml":
        (replicated,) = job(name)["spec"]["replicatedJobs"]
        script = replicated["template"]["spec"]["template"]["spec"]["containers"][0]["args"][0]
    else:
        script = job(name)["run"].replace("/work", str(workspace))
    settings = "-d set1 -m paligemma-3b-pt-224 --method full -b 64"
    assert settings in script
    script = script.replace(settings, "-d set1 -m tiny --examples 16 -b 4").replace("trained-set1", f"run-{name[:9]}")
    told = {"SKYPILOT_NODE_IPS": "localhost", "SKYPILOT_NUM_NODES": "1", "SKYPILOT_NODE_RANK": "0"}
    told |= {"JOB_COMPLETION_INDEX": "0"}
    for line in ("valid: 4/4", "has come to its end"):
        done = run("bash", "-c", script, cwd=workspace, env=told)
        assert done.returncode == 0, done.stderr
        assert line in done.stderr


@pytest.mark.parametrize(
    ("told", "devices"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, (0, 1, 2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_LOCALID": "1"}, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "5", "SLURM_STEP_TASKS_PER_NODE": "8", "SLURM_LOCALID": "5"}, (0,)),
        ({"CUDA_VISIBLE_DEVICES": "2,3", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_LOCALID": "1",
          "SLURM_GPUS_PER_TASK": "2"}, (0, 1)),
    ],
)  # fmt: skip
def test_a_task_of_slurm_takes_its_own_devices(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], devices: tuple[int, ...] | None
) -> None:
    monkeypatch.setattr(os, "environ", {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "n[1-2]", **told})
    assert hosts.joining(hosts.HostSettings()) == hosts.Joining(devices=devices)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "2"}, None),  # of the job, outside of a step
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, hosts.Joining("a:1", 2, 1)),
        ({"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
    ],
)
def test_the_environment_tells(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], found: hosts.Joining | None
) -> None:
    monkeypatch.setattr(os, "environ", {"JAX_COORDINATOR_ADDRESS": "a:1", **told})
    assert hosts.joining(hosts.HostSettings()) == found


@pytest.mark.parametrize("told", [("2", "2"), ("two", "0"), ("0", "0"), ("2", "-1")])
def test_what_the_environment_cannot_mean(monkeypatch: pytest.MonkeyPatch, told: tuple[str, str]) -> None:
    variables = dict(zip(hosts.VARIABLES, ("a:1", *told), strict=True))
    monkeypatch.setattr(os, "environ", variables)
    with pytest.raises(UsageError, match=r"(?i)process"):
        hosts.joining(hosts.HostSettings())


def test_one_process_alone_does_not_start_jax(environment: dict[str, str]) -> None:
    """Its allocator is chosen later, and what is wrong with its platform is said there."""
    code = "from palitune import hosts; assert hosts.is_first() and hosts.count() == hosts.agreed(1) == 1"
    told = {**environment, "JAX_PLATFORMS": "none"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ended(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr


def test_the_array_of_slurm(workspace: Path, run: Run) -> None:
    ended(
        run("palitune", "inference", "-m", "tiny", "-d", "dataset/data.jsonl", "--resume", "whole.tsv", cwd=workspace)
    )
    for number in (1, 2):
        told = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "1"}
        script = str(FOLDER / "shards.sbatch")
        ended(run("bash", script, "2", "dataset/data.jsonl", "slurm.tsv", "-m", "tiny", cwd=workspace, env=told))
    ended(run("bash", str(FOLDER / "gather.sbatch"), "slurm.tsv", "dataset/data.jsonl", cwd=workspace))
    assert (workspace / "slurm.tsv").read_bytes() == (workspace / "whole.tsv").read_bytes()


def test_the_job_of_kubernetes(workspace: Path, run: Run) -> None:
    here = {"trained-set1": "tiny", "tmp/all.jsonl": "dataset/data.jsonl"}
    one, after = container("shards.yaml"), container("gather.yaml")
    typed, last = [*one["command"], *one["args"]], list(after["command"])
    for name, other in here.items():
        assert name in typed[-1]
        typed[-1] = typed[-1].replace(name, other)
        last = [word.replace(name, other) for word in last]
    for index in (0, 1):
        ended(run(*typed, cwd=workspace, env={"JOB_COMPLETION_INDEX": str(index), "SHARDS": "2"}))
    ended(run(*last, cwd=workspace))
    whole = run("palitune", "inference", "-m", "tiny", "-d", "dataset/data.jsonl", "-b", "64", cwd=workspace).stdout
    assert (workspace / "tmp/out.tsv").read_text() == whole

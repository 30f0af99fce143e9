"""Job scripts for many machines: what a scheduler would run is run, and manifests are held to Kubernetes' schemas."""

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY, Run

FOLDER = REPOSITORY / "playground" / "many-devices"
PAGE = (REPOSITORY / "docs" / "many-devices.md").read_text("utf-8")
VERSIONS = ("1.31", "1.37")  # of Kubernetes: the first that has everything that is used, and a late one


def job(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text("utf-8")))


def container(name: str) -> dict[str, Any]:
    return dict(job(name)["spec"]["template"]["spec"]["containers"][0])


def test_shellcheck() -> None:
    scripts = sorted(FOLDER.glob("*.sbatch"))
    assert len(scripts) == 2
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
            if line.startswith(("#   sbatch ", "#   kubectl ")):
                assert f"$ {line[4:]}\n" in PAGE, line


def test_pods_agree_with_each_other() -> None:
    shards, one = job("shards.yaml")["spec"], container("shards.yaml")
    assert one["env"] == [{"name": "SHARDS", "value": str(shards["completions"])}]
    assert container("gather.yaml")["volumeMounts"] == one["volumeMounts"]
    rule = shards["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert (rule["containerName"], rule["values"]) == (one["name"], [75])


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

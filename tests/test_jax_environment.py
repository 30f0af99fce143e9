"""What a shell has set for JAX changes no answer; what cannot be is named."""

import os
from pathlib import Path

import pytest
from conftest import Run

from palitune import jax_environment
from palitune.errors import ConfigurationError

COMMAND = ("palitune", "inference", "-m", "tiny", "-d", "dataset/set1/valid.jsonl", "--no-features")
CHANGING = {
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEBUG_NANS": "banana",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DISABLE_JIT": "1",
    "JAX_CHECK_TRACER_LEAKS": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_NO_EXECUTION": "1",
    "FLAX_PROFILE": "banana",
}


def test_answers_do_not_depend_on_the_shell(workspace: Path, run: Run) -> None:
    usual, changed = run(*COMMAND, cwd=workspace), run(*COMMAND, cwd=workspace, env=CHANGING)
    assert usual.returncode == changed.returncode == 0, changed.stderr
    assert usual.stdout == changed.stdout
    (line,) = [line for line in changed.stderr.splitlines() if "not count" in line]
    assert all(name in line for name in CHANGING)


@pytest.mark.parametrize(
    ("name", "value"),
    [("JAX_LOG_COMPILES", "banana"), ("JAX_PLATFORMS", "banana"), ("XLA_PYTHON_CLIENT_MEM_FRACTION", "most")],
)
def test_a_value_that_cannot_be_is_named(name: str, value: str, workspace: Path, run: Run) -> None:
    done = run(*COMMAND, cwd=workspace, env={name: value})
    assert (done.returncode, done.stdout) == (78, "")
    (line,) = done.stderr.splitlines()
    assert name in line
    assert value in line


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment, and what is remembered of it, are what they were afterwards."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(jax_environment, "left_out", {})
    monkeypatch.setattr(jax_environment, "_wrong", {})
    monkeypatch.setattr(jax_environment, "_flags", [])


def test_what_counts_stays(shell: None) -> None:
    kept = {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "JAX_COMPILATION_CACHE_DIR": "/x",
        "XLA_PYTHON_CLIENT_ALLOCATOR": "bfc",
    }
    os.environ.update(kept, JAX_ENABLE_X64="1", JAX_COMPILATION_CACHE_MAX_SIZE="much")
    jax_environment.clean()
    assert {name: os.environ[name] for name in kept} == kept
    assert "JAX_ENABLE_X64" not in os.environ
    assert jax_environment.found()["JAX_ENABLE_X64"] == "1"
    with pytest.raises(ConfigurationError, match=r"^JAX_COMPILATION_CACHE_MAX_SIZE='much': "):
        jax_environment.check()


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({}, None),
        ({"JAX_NUM_CPU_DEVICES": "1"}, None),
        ({"JAX_NUM_CPU_DEVICES": "4"}, "128"),
        ({"JAX_NUM_CPU_DEVICES": "4", "NPROC": "9"}, "9"),
        ({"JAX_NUM_CPU_DEVICES": "some"}, None),
    ],
)
def test_devices_that_wait_for_each_other_have_threads(given: dict[str, str], threads: str | None, shell: None) -> None:
    os.environ.pop("JAX_NUM_CPU_DEVICES", None)
    os.environ.pop("NPROC", None)
    os.environ.update(given)
    jax_environment.clean()
    assert os.environ.get("NPROC") == threads


@pytest.mark.parametrize(("flags", "works"), [("--xla_no_such_flag=1", False), ("--xla_dump_max_hlo_modules=1", True)])
def test_flags_of_xla(flags: str, works: bool, shell: None) -> None:
    os.environ["XLA_FLAGS"] = flags
    jax_environment.clean()
    if works:
        jax_environment.check()
    else:
        with pytest.raises(ConfigurationError, match=r"^XLA_FLAGS='--xla_no_such_flag=1'"):
            jax_environment.check()

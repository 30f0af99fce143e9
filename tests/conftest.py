"""What tests share: the golden models, the tiny model, and a folder to work in."""

import contextlib
import fcntl
import functools
import gc
import json
import mmap
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from palitune.data import encode
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.templates import PaliGemma
from palitune.models import families
from palitune.models.spec import ModelSpec

# Most of the time of tests in this process is XLA's: with few optimizations its programs are there in half of it, and
# the results are held to the same tolerances. Commands run as people run them, because theirs are compared bit for bit,
# and these programs add up in the order in which threads end. JAX is imported after this.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Pages are in English here, whatever the language of the person's shell.
os.environ["LC_ALL"] = "C.UTF-8"

# Code for the CPU is made in half the time by XLA's older emitters. A flag that an XLA does not know ends the process.
EMITTERS = "xla_cpu_use_fusion_emitters"
XLA = Path(str(distribution("jaxlib").locate_file("jaxlib/libjax_common.so")))


@functools.cache
def knows(library: Path, flag: str) -> bool:
    """Whether a library has the name of a flag in it."""
    if not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(flag.encode()) >= 0


if "XLA_FLAGS" not in os.environ and knows(XLA, EMITTERS):
    os.environ["XLA_FLAGS"] = f"--{EMITTERS}=false"

# The same of commands in a file that is marked `quick_programs`: its numbers are compared with no others bit for bit.
QUICK = {EMITTERS: "false", "xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": "true"}

REPOSITORY = Path(__file__).parent.parent
# Programs that an earlier run of the tests compiled, for one version of XLA.
COMPILED = REPOSITORY / ".compiled_cache" / f"jaxlib-{version('jaxlib')}"
MOST_COMPILED = 1 << 30  # bytes, after which it is begun anew
if os.access(REPOSITORY, os.W_OK):
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
GOLDEN = Path(__file__).parent / "golden"
# What needs torch: bin/test.sh --verify makes an environment that has it.
collect_ignore = [] if find_spec("torch") else ["verify"]
MODELS = ("paligemma1_mqa", "paligemma2_gqa_softcap", "paligemma2_28b_prenorm", "gemma7b_mha")


# Thousands of tests are hundreds of thousands of objects that stay: to look for garbage among them, again and again,
# takes a fourth of collecting them, and of tracing programs a tenth.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="tests that are marked as slow too, and four times as many cases of each property",
    )
    parser.addoption("--faults", action="store_true", help="the whole campaigns, an hour of them")


CASES = 250  # of a property


def pytest_configure(config: pytest.Config) -> None:
    global CASES
    CASES = 10_000 if config.getoption("--faults") else 1_000 if config.getoption("--all") else CASES
    if not hasattr(config, "workerinput"):
        discard_programs()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out slow tests, unless all are asked for or their file has been named."""
    named = {Path(argument.partition("::")[0]).name for argument in config.args}
    if config.getoption("--all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow") and item.path.name not in named]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


def linked(source: str, target: str) -> None:
    """A file in a second place: a link, or a copy where the system allows no link to another user's file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def discard_programs() -> None:
    """Removes compiled programs of other versions, and all of them once they are many."""
    for folder in COMPILED.parent.glob("*"):
        size = sum(path.stat().st_size for path in folder.iterdir())
        if folder != COMPILED or size > MOST_COMPILED:
            shutil.rmtree(folder)


@pytest.fixture
def as_people_run_it() -> Iterator[None]:
    """XLA with all its optimizations in this process too."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often a fault is tried: the first number in the normal tests, the second in the whole campaign."""
    return lambda few, many: many if request.config.getoption("--faults") else few


class Letters(PaliGemma):
    """PaliGemma's template for the golden models' random vocabulary: one token a letter."""

    end = 1

    def __init__(self) -> None:
        pass

    def prompt(self, example: Example, default: str) -> Encoded:
        return encode.prefix(list(map(ord, (example.prompt or default) + "\n")), example.images)

    def answer(self, label: str) -> list[int]:
        return list(map(ord, label))


class Golden(NamedTuple):
    """One golden file: sizes read off its parameters, flat parameters, and everything else by key."""

    sizes: ModelSpec
    params: dict[str, Any]
    values: Mapping[str, Any]

    def tensors(self, prefix: str) -> dict[str, Any]:
        """Arrays under a prefix, keyed by parameter path."""
        start = f"{prefix}/"
        return {key.removeprefix(start): self.values[key] for key in self.values if key.startswith(start)}


@pytest.fixture(scope="session", params=MODELS)
def golden(request: pytest.FixtureRequest) -> Golden:
    return golden_model(request.param)


def golden_model(name: str) -> Golden:
    with np.load(GOLDEN / f"{name}.npz") as file:
        values = {key: file[key] for key in file.files}
    params = {key.removeprefix("params/"): value for key, value in values.items() if key.startswith("params/")}
    sizes = families.read(params)
    # The one size that shapes do not tell: heads 32 wide instead of the published 27B's 128.
    if json.loads(str(values["config"]))["llm"].get("query_pre_attn_norm") == "rsqrt_emb_per_head":
        scalar = sizes.llm.width // sizes.llm.num_heads
        sizes = replace(sizes, llm=replace(sizes.llm, query_pre_attn_scalar=float(scalar)))
    return Golden(sizes, params, values)


# What the container's scripts run in an engine's place: tests/container.sh has a real one.
NO_ENGINE = {"PALITUNE_ENGINE": "true"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository whose `.venv` is the one that runs the tests."""
    folder = tmp_path_factory.mktemp("clone") / "palitune"
    kept = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", "build", "*.egg-info", "images", "*.npz.*", "models", "compiled"
    )
    shutil.copytree(REPOSITORY, folder, ignore=kept)
    for name in ("checkpoints", "cache", "playground/dataset"):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copy(folder / "pyproject.toml", folder / ".venv" / ".installed-dev")
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A person's environment: no credentials, no network behind Kaggle's name, no palitune variables.

    All commands share their compiled programs, which would otherwise be most of the tests' time. What is compiled in
    this environment stays in the folder of this run, since processes may be killed here while they write a program.
    """
    # Where Python is told to keep nothing compiled, every command would compile palitune anew.
    left_out = ("KAGGLE", "HF_", "HUGGING", "PALITUNE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTEST")
    kept = {key: value for key, value in os.environ.items() if not key.startswith((*left_out, "XLA_FLAGS"))}
    home = tmp_path_factory.mktemp("home")
    # The folder of all test processes, where there are several.
    common = home.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else home.parent
    bin_folder = str(Path(sys.executable).parent)
    shared = {
        "JAX_COMPILATION_CACHE_DIR": str(common / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    }
    with contextlib.suppress(FileExistsError, FileNotFoundError):  # the other process was first; there are none yet
        shutil.copytree(COMPILED, common / "compiled", copy_function=linked)
    path = f"{bin_folder}{os.pathsep}{kept['PATH']}"
    return {**kept, **shared, "HOME": str(home), "PATH": path, "JAX_PLATFORMS": "cpu"}


CLIENT = """#!{python} -IS
import sys
sys.path.append({folder!r})
import fork_client
fork_client.main({socket!r}, {python!r}, {script!r})
"""


@pytest.fixture(scope="session")
def quick_environment(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment in which `palitune` and `python` start sooner: as forks of a process that has imported JAX.

    What is tested of the start itself, of signals and of kills has `environment`, where they are the real ones.
    """
    if not hasattr(socket, "recv_fds"):
        yield environment
        return
    folder = tmp_path_factory.mktemp("f")
    path, script = folder / "socket", Path(sys.executable).parent / "palitune"
    client = CLIENT.format(
        python=sys.executable, folder=str(Path(__file__).parent), socket=str(path), script=str(script)
    )
    (folder / "bin").mkdir()
    for name in ("palitune", "python", "python3"):
        (folder / "bin" / name).write_text(client)
        (folder / "bin" / name).chmod(0o755)
    quick = {**environment, "PATH": f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"}
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        quick["JAX_COMPILATION_CACHE_DIR"] = os.environ["JAX_COMPILATION_CACHE_DIR"]
    command = [sys.executable, str(Path(__file__).parent / "fork_server.py"), str(path)]
    with subprocess.Popen(command, env=quick, stdin=subprocess.PIPE, cwd=folder) as server:
        while not path.exists():
            assert server.poll() is None
            time.sleep(0.02)
        yield quick
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="module")
def run(quick_environment: dict[str, str], request: pytest.FixtureRequest) -> Run:
    """Runs a command in a folder, as a shell would, and returns what it printed and its exit code."""
    is_quick = request.node.get_closest_marker("quick_programs") is not None
    flags = [f"--{name}={value}" for name, value in QUICK.items() if is_quick and knows(XLA, name)]
    environment = {**quick_environment, **({"XLA_FLAGS": " ".join(flags)} if flags else {})}

    def run(
        *command: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(NAME, make)` is a folder that `make` fills, once for all test processes. Who changes it copies it first."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"

    def once(name: str, make: Callable[[Path], None]) -> Path:
        shared.mkdir(exist_ok=True)
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.done").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                make(folder)
                (shared / f"{name}.done").touch()
        return folder

    return once


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, run: Run, once: Once) -> Path:
    """A folder with the tiny model and a small split."""

    def make(folder: Path) -> None:
        for command in (["download", "--model", "tiny"], ["demo-data", "--count", "24"], ["split", "-v", "6"]):
            done = run("palitune", *command, cwd=folder)
            assert done.returncode == 0, done.stderr

    return shutil.copytree(once("workspace", make), tmp_path_factory.mktemp("workspaces") / "workspace")


# In one process, which compiles once; a run of its own takes three times as long.
OLD_RUNS = """
import palitune
from palitune.config.predictor_config import PredictorConfig
from palitune.errors import DivergedError
from palitune.run.validation import validate

own = {"data": "set1", "model": "tiny", "examples": 32, "batch_size": 4, "quiet": True}
palitune.learn(palitune.RunConfig(**own, write="first"))
palitune.learn(palitune.RunConfig(**own, write="swept", seed=1, sweep=("lr=0.0001,0.02",)))
try:
    palitune.learn(palitune.RunConfig(**own, write="lost", learning_rate=1e30, attempts=1))
except DivergedError:
    validate(PredictorConfig(model="first"), ["dataset/new/data.jsonl"])
"""


@pytest.fixture(scope="session")
def old_runs(quick_environment: dict[str, str], once: Once) -> Path:
    """A folder with runs of the tiny model, which nobody changes: first, swept (two trials), and lost, which diverged.

    The first was evaluated on records that no run has seen, dataset/new/data.jsonl.
    """
    flags = " ".join(f"--{name}={value}" for name, value in QUICK.items() if knows(XLA, name))
    environment = {**quick_environment, **({"XLA_FLAGS": flags} if flags else {})}

    def make(folder: Path) -> None:
        for command in (
            ("palitune", "demo-data", "--count", "24"),
            ("palitune", "split", "-v", "6"),
            ("palitune", "demo-data", "--count", "12", "--seed", "7", "-o", "dataset/new"),
            ("python", "-c", OLD_RUNS),
        ):
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        assert (folder / "checkpoints" / "first.run" / "evaluations.jsonl").is_file()

    return once("old-runs", make)


@pytest.fixture
def home(old_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with `old_runs`, as the current one and palitune's home."""
    folder = shutil.copytree(old_runs, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    (folder / "cache").symlink_to(old_runs / "cache")
    monkeypatch.setenv("PALITUNE_HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder

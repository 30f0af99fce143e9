"""What this machine has of what palitune needs, and what is likely to go wrong on it."""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from palitune import __version__, jax_environment, workspace
from palitune.console import command
from palitune.hub import catalogue, huggingface, kaggle

PACKAGES = (
    *("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "flax", "optax", "numpy", "pillow"),
    *("kagglehub", "huggingface_hub"),
)
FRACTIONS = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
# What JAX and XLA read of the environment that decides about memory and devices. By name: nothing else is shown.
SETTINGS = (
    *FRACTIONS,
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_ALLOCATOR",
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "JAX_COMPILATION_CACHE_DIR",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "TF_GPU_ALLOCATOR",
)
ENOUGH_DISK = 8_000_000_000  # bytes: PaliGemma 3B in 16 bit and what is learned on it
ASK_JAX = """
import json, jax
print(json.dumps([
    {"platform": d.platform, "kind": d.device_kind, "memory_limit": (d.memory_stats() or {}).get("bytes_limit")}
    for d in jax.devices()
]))
"""
CARDS = ("name", "driver_version", "memory.total", "memory.free")  # of nvidia-smi; memory in MiB


class Device(TypedDict):
    """A device of JAX's; the memory that it may take is in bytes."""

    platform: str
    kind: str
    memory_limit: int | None


class Folder(TypedDict):
    """Free bytes for a folder, and whether it can be written to."""

    free: int
    writable: bool


class Findings(TypedDict):
    """What is known of a machine. Sizes are in bytes."""

    palitune: str
    python: str
    system: str
    container: bool
    packages: dict[str, str]
    devices: list[Device]
    devices_error: str | None
    cards: list[dict[str, str]]
    settings: dict[str, str]
    memory: dict[str, int] | None
    shared_memory: int | None
    folders: dict[str, Folder]
    models: dict[str, bool]
    credentials: str | None
    huggingface_token_from: str | None
    big_vision: str | None
    problems: list[str]


def examined() -> Findings:
    """Versions, devices, settings, memory, folders, models, where credentials come from, and problems, by name."""
    found = _found()
    found["problems"] = _problems(found)
    return found


def _found() -> Findings:
    cache, checkpoints = workspace.cache(), workspace.checkpoints()
    was = jax_environment.found()  # before we add our own
    settings = {name: was[name] for name in SETTINGS if name in was}
    devices, error = _devices()
    return {
        "palitune": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "container": Path(os.environ.get("PALITUNE_ENVIRONMENT", "")).name != "",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "devices": devices,
        "devices_error": error,
        "cards": _cards(),
        "settings": settings,
        "memory": _memory(),
        "shared_memory": shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None,
        "folders": {str(folder): _folder(folder) for folder in (cache, checkpoints)},
        "models": _models(cache),
        "credentials": kaggle.credentials(),
        "huggingface_token_from": huggingface.credentials(),
        "big_vision": _big_vision(cache / "big_vision"),
        "problems": [],
    }


def _models(cache: Path) -> dict[str, bool]:
    """Downloaded models by name, and whether their SHA-256 is known; none in a folder that cannot be read."""
    try:
        return {name: catalogue.has_checksum(name, cache) for name in catalogue.downloaded(cache)}
    except OSError:
        return {}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cards() -> list[dict[str, str]]:
    """What the driver says of cards, whether JAX can use them or not."""
    query = ["nvidia-smi", f"--query-gpu={','.join(CARDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines()]
    return [dict(zip(CARDS, row, strict=True)) for row in rows if len(row) == len(CARDS)]


def _devices() -> tuple[list[Device], str | None]:
    """JAX's devices, with what it may take of their memory (bytes); or why there are none.

    In a process of its own: a flag that XLA does not know ends the one that it is read in.
    """
    asking = [sys.executable, "-P", "-c", ASK_JAX]  # without the current folder, whose modules are anybody's
    env = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false"
    } | jax_environment.counting()  # the check takes no memory from others
    try:
        done = subprocess.run(
            asking, env=env, capture_output=True, text=True, errors="replace", timeout=120, check=False
        )
        found: list[Device] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return [], "it does not answer within two minutes"
    except ValueError:
        last = (done.stderr.strip() or "it ended without a word").splitlines()[-1].removeprefix("RuntimeError: ")
        return [], "JAX_PLATFORMS names what is not there" if last == "AssertionError" else last[:200]
    return found, None


def _memory() -> dict[str, int] | None:
    """Bytes of main memory, where the system tells."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return {
            name: int(lines[key].split()[0]) * 1024 for name, key in (("total", "MemTotal"), ("free", "MemAvailable"))
        }
    except (OSError, KeyError, ValueError):
        return None


def _folder(folder: Path) -> Folder:
    there = folder
    while not there.is_dir() and there != there.parent:
        there = there.parent
    return {"free": shutil.disk_usage(there).free, "writable": os.access(there, os.W_OK)}


def _big_vision(folder: Path) -> str | None:
    """Where big_vision is; `reference.find` without what it imports."""
    import importlib.util

    spec = importlib.util.find_spec("big_vision")
    if spec is not None and spec.origin:
        return str(Path(spec.origin).parent)
    return str(folder) if (folder / "big_vision").is_dir() else None


def _problems(found: Findings) -> list[str]:
    """What is likely to go wrong, and what to do about it."""
    problems = []
    on_gpu = any(device["platform"] != "cpu" for device in found["devices"])
    if found["devices_error"]:
        problems.append(f"JAX does not start: {found['devices_error']}")
    elif found["cards"] and not on_gpu:
        inside = "build the image without --cpu" if found["container"] else "pip install -e '.[cuda12]'"
        problems.append(f"there is a card, and JAX does not use it: {inside}, and leave JAX_PLATFORMS unset")
    elif not on_gpu:
        problems.append("no graphics card: the tiny model runs well, a 3B model would learn for days")
    if all(name in os.environ for name in FRACTIONS):
        problems.append(f"{' and '.join(FRACTIONS)} are both set, which JAX refuses: unset one")
    for folder, state in found["folders"].items():
        if not state["writable"]:
            problems.append(f"{folder} cannot be written to: check whose it is")
        elif state["free"] < ENOUGH_DISK:
            problems.append(f"{folder}: {state['free'] / 1e9:.1f} GB are free, and a 3B model takes 6")
    account = found["credentials"] or found["huggingface_token_from"]
    if account is None and set(found["models"]) <= set(catalogue.PACKAGED):
        what = "no Kaggle credentials and no Hugging Face token"
        problems.append(f"{what}, one of which published models need: docs/troubleshooting.md tells how")
    return problems


def screen(found: Findings) -> str:
    """What was examined, as one screen of text."""

    def gigabytes(count: int | None) -> str:
        return "?" if count is None else f"{count / 1e9:.1f} GB"

    devices = [
        device["kind"] + (f" ({gigabytes(device['memory_limit'])} for JAX)" if device["memory_limit"] else "")
        for device in found["devices"]
    ]
    cards = [
        f"{card['name']}, driver {card['driver_version']}, {card['memory.free']} of {card['memory.total']} MiB free"
        for card in found["cards"]
    ]
    free, total = (found["memory"] or {}).get("free"), (found["memory"] or {}).get("total")
    shared = f", {gigabytes(found['shared_memory'])} of /dev/shm" if found["shared_memory"] else ""
    tokens = {"Kaggle": found["credentials"], "Hugging Face": found["huggingface_token_from"]}
    accounts = [f"{site}'s, from {source}" for site, source in tokens.items() if source]
    models = [f"{name}{' (SHA-256 kept)' if kept else ''}" for name, kept in found["models"].items()]
    lines = [
        ("palitune", f"{found['palitune']}, Python {found['python']}, {found['system']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())),
        ("devices", ", ".join(devices) or "none"),
        *(("card", card) for card in cards or ["none that nvidia-smi knows"]),
        ("settings", ", ".join(f"{name}={value}" for name, value in found["settings"].items()) or "palitune's own"),
        ("memory", f"{gigabytes(free)} of {gigabytes(total)} free{shared}"),
        *(("disk", f"{gigabytes(state['free'])} free for {folder}") for folder, state in found["folders"].items()),
        ("models", ", ".join(models) or f"none: {command('download')}"),
        ("credentials", "; ".join(accounts) or "none"),
        ("big_vision", found["big_vision"] or "none: bin/install-big_vision.sh (for palitune verify alone)"),
        *(("problem", problem) for problem in found["problems"]),
    ]
    return "\n".join(f"{name:12} {text}" for name, text in lines)

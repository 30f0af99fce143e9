"""What a megabyte of anybody's making can cost: every reader, on inputs that are made to cost more.

Each reading is a process of its own, forked from one in which everything is imported already, so that what it takes is
what the input takes. `/proc` has the peak: where there is none, there is nothing to measure.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

MOST = 300 << 20  # bytes over what the process had before it read
LONGEST = 60  # seconds of processor time, after which a reading is one that hangs
ENDS = (0, 2, 65, 66, 78)  # exit codes that say what the matter is
WORKER = """
import importlib, json, os, pkgutil, resource, sys, warnings
from pathlib import Path

sys.path.insert(0, {tests!r})
from faults import hostile
from palitune.cli.main import main

# What commands import once they know that they need it is no part of what an input costs.
import imagehash, jax, scipy.optimize, scipy.sparse.csgraph, scipy.stats, sentencepiece, sklearn.metrics
import palitune
for module in pkgutil.walk_packages(palitune.__path__, "palitune."):
    if module.name != "palitune.__main__":
        importlib.import_module(module.name)
from palitune.checkpoint import manifest, npz
from palitune.errors import PalituneError

folder = Path({folder!r})
warnings.simplefilter("ignore")  # JAX has threads, which a fork does not take along, and is not used in here


def figure(name):
    return int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0]) * 1024


def measured(work):
    incoming, outgoing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, ({longest}, {longest}))
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        told = os.open(folder / "told.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(told, 2)
        Path("/proc/self/clear_refs").write_text("5")
        before = figure("VmRSS")
        code = work()
        os.write(outgoing, json.dumps([code, figure("VmHWM") - before]).encode())
        os._exit(0)
    os.close(outgoing)
    found = os.read(incoming, 1000)
    os.close(incoming)
    _, status = os.waitpid(child, 0)
    code, peak = json.loads(found) if found else [f"ended by signal {{status & 127}}", 0]
    return code, peak, (folder / "told.txt").read_text("utf-8", "replace")[-300:]


def command(line, path):
    name, *arguments = [str(path) if word == "{{}}" else word for word in line.split()]

    def work():
        try:
            main(name, arguments)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            return repr(error)[:200]

    return work


def archive(path):
    def work():
        try:
            manifest.read(path)
            opened = npz.Checkpoint(path)
            for array in opened:
                opened[array].sum()
        except PalituneError as error:
            return error.exit_code
        except BaseException as error:
            return repr(error)[:200]
        return 0

    return work


def tell(name, line, found):
    print(json.dumps([name, line, *found]), flush=True)


os.chdir(folder)
kind = {kind!r}
if kind in ("lines", "tables", "values"):
    for number, one in enumerate(getattr(hostile, kind)()):
        assert len(one.content) <= hostile.MEGABYTE, (one.name, len(one.content))
        path = folder / one.name
        path.write_bytes(one.content)
        commands = one.commands if {every} else [one.commands[number % len(one.commands)]]
        for line in commands:
            tell(one.name, line, measured(command(line, path)))
if kind == "images":
    for name, content in [*hostile.images()][:: 1 if {every} else 3]:
        assert len(content) <= hostile.MEGABYTE, (name, len(content))
        (folder / name).write_bytes(content)
        (folder / "one.tsv").write_text(name + "\\tyes\\n")
        tell(name, "lint {{}}", measured(command("lint {{}}", folder / "one.tsv")))
if kind == "archives":
    for name, content in hostile.archives():
        assert len(content) <= hostile.MEGABYTE, (name, len(content))
        (folder / name).write_bytes(content)
        tell(name, "checkpoint", measured(archive(folder / name)))
"""


@pytest.mark.parametrize("kind", ["lines", "tables", "values", "images", "archives"])
def test_a_megabyte_costs_little(
    kind: str, tmp_path: Path, environment: dict[str, str], campaign: Callable[[int, int], int]
) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system has no /proc/self/clear_refs, which a peak is measured with")
    tests = str(Path(__file__).parent.parent)
    code = WORKER.format(tests=tests, folder=str(tmp_path), kind=kind, longest=LONGEST, every=bool(campaign(0, 1)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=3000, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert found
    bad = [one for one in found if one[2] not in ENDS or one[3] > MOST or "Traceback" in one[4]]
    assert not bad, "\n".join(f"{name}: {line}: {end}, {peak >> 20} MB, {told}" for name, line, end, peak, told in bad)
    worst = max(found, key=lambda one: one[3])
    print(f"{kind}: {len(found)} readings, at most {worst[3] >> 20} MB ({worst[0]}, {worst[1]})")

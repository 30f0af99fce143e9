"""The wheel and the source distribution are whole: the main job runs from the wheel, far from the repository."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run

from palitune.hub import catalogue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # From a copy that git would make: what lies about in a working folder must not be needed.
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\n"):
        source = REPOSITORY / name
        if source.is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    subprocess.run([sys.executable, "-m", "build", "-o", folder, folder / "source"], check=True, capture_output=True)
    return folder


def test_contents(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = [f"{name}/{file}" for name, files in catalogue.PACKAGED.items() for file in files]
    pages = ("page.html", "vote.html", "vote.js", "japanese.toml", "japanese.otf", "japanese.OFL.txt")
    shipped += [f"evaluate/report/{name}" for name in pages]
    for name in ("py.typed", *shipped, "cli/learn.py"):
        assert f"palitune/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith(".OFL.txt") and "/licenses/" in name for name in names)
    assert not any(name.startswith(("tests", "bench")) for name in names)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        sources = archive.getnames()
    assert all(any(name.endswith(f"src/palitune/{file}") for name in sources) for file in shipped)
    assert wheel.stat().st_size <= 8_000_000


def test_the_wheel_does_the_main_job_anywhere(built: Path, tmp_path: Path, run: Run) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    (wheel,) = built.glob("*.whl")
    python = home / "bin" / "python"
    assert run(str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel), cwd=tmp_path).returncode == 0
    # The dependencies come from the environment of the tests; palitune itself is installed there by a .pth file, which
    # a path that is named in another .pth file does not read.
    libraries = sysconfig.get_path("purelib")
    (home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages" / "tests.pth").write_text(
        libraries
    )
    work = tmp_path / "empty"
    work.mkdir()
    where = run(str(python), "-c", "import palitune; print(palitune.__file__)", cwd=work)
    assert str(home) in where.stdout
    path = {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for command in (
        ["palitune", "download"],
        ["palitune", "demo-data"],
        ["palitune", "split", "-v", "10", "-n", "set1"],
        ["palitune", "learn", "-d", "set1", "-w", "trained", "--examples", "32"],
        ["palitune", "validate", "-m", "trained", "dataset/set1/valid.jsonl"],
    ):
        done = run(*command, cwd=work, env=path)
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Result: dataset/set1/valid.jsonl\n")
    assert (work / "checkpoints" / "trained.npz").is_file()

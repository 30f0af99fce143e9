"""What README.md says is so: every command in it is run, every output it shows is printed, every file is named."""

import os
import re
from pathlib import Path

import pytest
from conftest import NO_ENGINE, REPOSITORY, Run

pytestmark = pytest.mark.quick_programs

README = (REPOSITORY / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
# Numbers in shown output depend on the machine's rounding; words and layout do not.
NUMBER = re.compile(r"\d+(\.\d+)?")
# What a shell says of a command whose reader closed the pipe: `| head -3` has its three lines and goes.
PIPE_CLOSED = 141


def steps(block: str) -> list[tuple[str, str]]:
    """(command, the output shown below it) of one console block."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


STEPS = [step for block in BLOCKS for step in steps(block)]


@pytest.fixture(scope="module")
def outputs(clone: Path, run: Run) -> dict[str, tuple[int, str]]:
    """Exit code and output of every command, run in order in one shell session's folder."""
    folder = clone
    done = {}
    for command, _ in STEPS:
        if command.startswith("git clone"):
            continue
        if command.startswith("cd "):
            folder = folder / command.removeprefix("cd ")
            continue
        if command.startswith(". ") or command == "bin/test.sh":  # the environment we are in; what runs this test
            continue
        result = run("bash", "-c", f"set -o pipefail; {command}", cwd=folder, env=NO_ENGINE)
        done[command] = (result.returncode, result.stdout + result.stderr)
    return done


def shape(text: str) -> list[str]:
    # Columns are as wide as their numbers.
    return [re.sub(" +", " ", NUMBER.sub("#", line)).rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.slow
def test_commands_end_well(outputs: dict[str, tuple[int, str]]) -> None:
    assert len(outputs) >= 6
    for command, (code, text) in outputs.items():
        assert code == 0 or (code == PIPE_CLOSED and "| head" in command), f"{command}: {text}"
        assert "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("command", "shown"), [step for step in STEPS if step[1].strip()])
def test_shown_output_is_printed(command: str, shown: str, outputs: dict[str, tuple[int, str]]) -> None:
    printed = shape(outputs[command][1])
    for line in shape(shown):
        if line != "...":
            assert line in printed, f"{command} does not print {line!r}"


@pytest.mark.slow
def test_the_demo_teaches_the_rule(outputs: dict[str, tuple[int, str]]) -> None:
    text = outputs["bin/demo.sh"][1]
    accuracies = [float(value) for value in re.findall(r"^  accuracy:  (\S+)$", text, re.MULTILINE)]
    before_train, _, _, after_train, _, _, before_new, after_new = accuracies
    assert after_train == 1.0
    assert after_new >= 0.9
    assert max(before_train, before_new) < 0.7


def test_scripts_are_executable() -> None:
    for path in [*REPOSITORY.glob("bin/*.sh"), *REPOSITORY.glob("playground/*.*")]:
        if path.is_file() and path.name not in ("environment.sh", "docker-engine.sh", ".gitignore"):
            assert os.access(path, os.X_OK), path


def test_every_source_file_has_its_line() -> None:
    design = (REPOSITORY / "docs" / "design.md").read_text("utf-8").partition("## The package")[2]
    listed = set(re.findall(r"^\| `([\w/.]+)` \|", design, re.MULTILINE))
    source = REPOSITORY / "src" / "palitune"
    files = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and path.suffix in (".py", ".npz", ".safetensors", ".model", ".html", ".js", ".toml", ".otf")
    }
    assert listed == {name for name in files if not name.endswith("__init__.py") or name == "cli/__init__.py"}


def test_links_lead_somewhere() -> None:
    for page in [*REPOSITORY.glob("README*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("bench/*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text("utf-8")):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_top_level_is_what_it_should_be() -> None:
    expected = {
        "pyproject.toml",
        "Dockerfile",
        "bin",
        "src",
        "playground",
        "checkpoints",
        "cache",
        "tests",
        "README.md",
    }
    expected |= {"LICENSE", "CHANGELOG.md", "README.ja.md", "bench", "compose.yaml", "docs", "requirements"}
    names = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}
    assert names - {"build", "dist"} == expected

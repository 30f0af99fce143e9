"""Every command that docs/ shows is run, page by page, in a clone of the repository."""

import json
import re
from pathlib import Path

import pytest
from conftest import NO_ENGINE, REPOSITORY, Run

pytestmark = pytest.mark.quick_programs

COMMAND = re.compile(r"^    ((?:\./\d\d-|palitune |bin/|tests/|echo ).*)$", re.MULTILINE)
# Pages in the order in which their commands follow from each other: the first makes a split and a model.
PAGES = (
    "stages",
    "data",
    "recipes",
    "evaluation",
    "runs",
    "iterate",
    "memory",
    "huggingface",
    "container",
    "contributing",
    "models",
    "text",
    "many-devices",
)
# What nobody has who runs the tests, and what stands for another name.
STANDS_FOR = {"pt-224": "tiny", "NAME": "trained-set1", "AGAIN": "again", "--repeat 5": "--repeat 2"}
STANDS_FOR |= {"--search 20": "--search 2", "lr=0.01,0.03 batch=2,8 --repeat 2": "lr=0.01,0.03"}
STANDS_FOR |= {"--budget 2h": "--runs 2 --folds 2 --repeat 2 --examples 16"}
STANDS_FOR |= {"--hard-examples": "--hard-examples --runs 2 --examples 16"}
# Long texts are few, because asking about one takes long.
STANDS_FOR |= {"--task toxicity": "--task toxicity --count 100", "-v 160": "-v 24"}
STANDS_FOR |= {"--task chat": "--task chat --count 60", "-v 30": "-v 12"}
# The tests themselves, the demo, which test_readme.py runs and tests/container.sh in the image, and what needs an
# account: test_huggingface.py downloads from a server of its own. People's votes are in test_ab.py.
DEMO = "bin/docker-run.sh ../bin/demo.sh"
LEFT_OUT = ("bin/test.sh", "tests/container.sh", DEMO, "palitune download --model google/", "palitune ab tally")
LEARNS = re.compile(r"^(bin/docker-run\.sh )?\./03-do_learn\.py (?!--from|--resume)")


def commands(page: str) -> list[str]:
    text = (REPOSITORY / "docs" / f"{page}.md").read_text("utf-8")
    return [found.partition("   #")[0].strip() for found in COMMAND.findall(text)]


SHOWN = [(page, command) for page in PAGES for command in commands(page)]


def as_run(command: str) -> str:
    for name, other in STANDS_FOR.items():
        command = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", other, command)
    if LEARNS.match(command):
        # What is shown is not what is learned.
        command = re.sub(r" -t \d+\b", "", command) + " --examples 16 --overwrite"
    return command


def test_pages_are_known() -> None:
    pages = {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    # A Japanese page has the commands of the English one (`test_translations.py`).
    with_commands = {page for page in pages if not page.endswith(".ja") and commands(page)}
    assert with_commands <= set(PAGES)
    assert len(SHOWN) >= 40


@pytest.fixture(scope="module")
def playground(clone: Path) -> Path:
    """The playground of a clone, with what pages take for granted."""
    folder = clone / "playground"
    (folder / "prompts.txt").write_text("is there a cross?\nis this picture fine?\n")
    (folder / "tmp").mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
def test_commands_end_well(playground: Path, run: Run) -> None:
    failed = []
    for page, command in SHOWN:
        if command.startswith(LEFT_OUT):
            continue
        folder = playground.parent if command.startswith("bin/") else playground
        done = run("bash", "-c", as_run(command), cwd=folder, env=NO_ENGINE)
        if done.returncode:
            failed.append(f"{page}: {as_run(command)}: {done.returncode} {done.stderr}")
        data = playground / "dataset" / "data.jsonl"
        if command == "palitune demo-data":  # a column for those who group by one
            records = [
                json.loads(line) | {"advertiser": number % 20}
                for number, line in enumerate(data.read_text().splitlines())
            ]
            data.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert not failed, "\n".join(failed)

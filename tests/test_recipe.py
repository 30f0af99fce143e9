"""Recipes: settings from a Python file, between those of a recorded run and those that were typed."""

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run

from palitune.config.run_config import RunConfig
from palitune.errors import BadDataError, MissingInputError, PalituneError
from palitune.run import recipe, reproduce

pytestmark = pytest.mark.quick_programs

CONFIGS = REPOSITORY / "playground/configs"


def written(folder: Path, body: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(f"import ml_collections\n\n\ndef get_config(arg=None):\n    {body}\n")
    return str(path)


@pytest.mark.parametrize("name", ["yes_no_12gb", "second_pass", "one_sided"])
def test_recipes_of_the_playground_learn(name: str, workspace: Path, run: Run) -> None:
    path = CONFIGS / f"{name}.py"
    command = ("learn", "-d", "set1", "-w", name, "--config", f"{path}:examples=16", "--attempts", "2", "--quiet")
    done = run("palitune", *command, cwd=workspace)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((workspace / f"checkpoints/{name}.run/config.json").read_text())
    assert recorded["options"] | recipe.read(f"{path}:examples=16") | {"attempts": 2} == recorded["options"]
    assert (recorded["config"]["examples"], recorded["config"]["attempts"]) == (16, 2)
    # What it said is recorded, so that the run is made again without it.
    again = reproduce.completed(RunConfig(source=str(workspace / f"checkpoints/{name}.run"))).config
    assert {key: value for key, value in again.options().items() if key != "source"} == {
        **recipe.read(f"{path}:examples=16"), "attempts": 2, "model": recorded["options"]["model"],
    }  # fmt: skip


def test_what_is_typed_counts_more_than_a_recipe_and_that_more_than_a_recorded_run(tmp_path: Path) -> None:
    options = {"batch_size": 4, "examples": 64, "seed": 3}
    content = {"options": options, "config": {}, "data": {}, "base": {}, "resolved": {}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    path = written(tmp_path, "return ml_collections.ConfigDict({'batch_size': 8, 'examples': 32})")
    asked = RunConfig(source=str(tmp_path / "config.json"), recipe=path, examples=16)
    config = reproduce.completed(asked).config
    assert (config.seed, config.batch_size, config.examples) == (3, 8, 16)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {'batch_sizes': 8}", "the option batch_sizes is none of learning's; did you mean batch_size?"),
        ("return {'balance': 'weihgts'}", "'weihgts' is none of none, weights, sample; did you mean weights?"),
        ("return {'batch_size': 0}", "0 is not at least 1"),
        ("return {'write': 'x'}", "the option write is none of learning's"),
        ("return 3", "get_config() returns int"),
        ("return missing", "the recipe fails: NameError"),
    ],
)
def test_a_recipe_that_says_what_cannot_be(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError) as raised:
        recipe.read(written(tmp_path, body))
    assert message in str(raised.value)
    assert "mine.py" in str(raised.value)


def test_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="there is no such recipe"):
        recipe.read(str(tmp_path / "none.py"))
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(BadDataError, match="no get_config"):
        recipe.read(str(tmp_path / "empty.py"))


@pytest.mark.parametrize("text", ["speed=3", "examples=many", "examples"])
def test_an_argument_that_a_recipe_does_not_take(text: str) -> None:
    with pytest.raises(PalituneError, match=text.partition("=")[0]):
        recipe.read(f"{CONFIGS / 'one_sided.py'}:{text}")

"""What was asked for is recorded apart from what followed, so that a run made again with changes derives it anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from palitune.cli import arguments
from palitune.cli.main import Parser
from palitune.config.run_config import RunConfig
from palitune.errors import UsageError
from palitune.run import reproduce

pytestmark = pytest.mark.quick_programs


def typed(*options: str) -> RunConfig:
    parser = Parser(prog="learn")
    arguments.add(parser, RunConfig)
    return arguments.read(RunConfig, arguments.parse(parser, options))


def recorded(tmp_path: Path, *options: str, **changes: Any) -> str:
    """A configuration as a run writes it that was started with these arguments."""
    settings = reproduce.options_of(typed(*options)) | changes.pop("options", {})
    content = {"options": settings, "config": {}, "data": {}, "base": {}, "resolved": {}}
    content |= {"command": ["learn", *options], **changes}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return str(path)


@pytest.mark.parametrize(
    ("options", "features"),
    [
        (("--method", "full"), True),
        (("--augment", "flip"), True),
        (("--method", "full", "--no-features"), False),
        (("--no-features",), False),
    ],
)
def test_what_followed_from_the_method_is_not_typed(options: tuple[str, ...], features: bool, tmp_path: Path) -> None:
    path = recorded(tmp_path, *options)
    assert reproduce.completed(typed("--from", path, "--method", "lora")).config.features is features
    # As runs were recorded earlier: with what followed among the options.
    path = recorded(tmp_path, *options, options={"features": False}, resolved=None)
    assert reproduce.completed(typed("--from", path, "--method", "lora")).config.features is features


@pytest.mark.parametrize(
    ("before", "now", "gone"),
    [
        (("--method", "full", "--weights", "float32"), ("--method", "lora"), ["weights"]),
        (("--method", "lora", "--lora-rank", "4", "--lora-dropout", "0.1"), ("--method", "full"),
         ["lora_dropout", "lora_rank"]),
        (("-t", "3"), ("--examples", "8"), ["epochs"]),
        (("--examples", "8"), ("-t", "3"), ["examples"]),
        (("--keep", "100"), ("--accumulate", "2"), ["keep"]),
        (("--method", "lora", "--lora-rank", "4"), ("--seed", "3"), []),
    ],
)  # fmt: skip
def test_what_is_typed_counts_more_than_what_it_excludes(
    before: tuple[str, ...], now: tuple[str, ...], gone: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = reproduce.completed(typed("--from", recorded(tmp_path, *before), *now)).config
    then = typed(*before)
    for name in ("weights", "lora_dropout", "lora_rank", "epochs", "examples", "keep"):
        if name not in typed(*now).given:
            assert (name in own.given) == (name in then.given and name not in gone), name
            assert name in gone or getattr(own, name) == getattr(then, name)
    said = capsys.readouterr().err
    assert all(f"--{name.replace('_', '-')}" in said for name in gone)
    assert bool(said) == bool(gone)


def test_a_recorded_value_gives_way_to_the_default_where_that_is_typed(tmp_path: Path) -> None:
    path = recorded(tmp_path, "--batch-size", "8", "--dtype", "float32")
    own = reproduce.completed(typed("--from", path, "--batch-size", "2", "--dtype", "auto")).config
    assert (own.batch_size, own.dtype) == (2, "auto")
    for option, value in (("--batch-size", "2"), ("--dtype", "auto")):
        with pytest.raises(UsageError, match=f"{option} cannot change while a run goes on"):
            reproduce.completed(typed("--resume", "-w", "x", option, value), Path(path))
    assert reproduce.completed(typed("--resume", "-w", "x", "--batch-size", "8"), Path(path)).config.batch_size == 8


def test_options_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """Every option that was not typed was null, or its default."""
    old = {
        "data": "set1", "valid_data": None, "seed": 3, "examples": 64, "epochs": None, "balance": None,
        "augment": ["flip"], "second_pass": True, "repeat": 1, "sweep": None, "search": None, "method": "lora",
        "batch_size": 8, "weight_decay": [["llm/.*", 0.1]], "keep": None, "model": "tiny", "tokenizer": None,
        "dtype": "auto", "features": True, "allocator": "grow", "prompt": None, "images": None,
        "allow_outside": False, "max_pixels": None, "frames": None,
    }  # fmt: skip
    own = reproduce.completed(typed("--from", recorded(tmp_path, options=old))).config
    wanted = {"seed": 3, "examples": 64, "augment": ("flip",), "second_pass": True, "method": "lora", "batch_size": 8}
    wanted |= {"weight_decay": (("llm/.*", 0.1),), "model": "tiny"}
    assert own.options() == {**wanted, "source": str(tmp_path / "config.json")}

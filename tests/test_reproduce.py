"""What was typed and what followed from it are recorded apart, so that a run made again with changes derives anew."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from palitune.cli import learn
from palitune.cli.main import Parser
from palitune.run import reproduce


def typed(*arguments: str) -> argparse.Namespace:
    parser = Parser(prog="learn")
    learn.add_arguments(parser)
    args = parser.parse_args(arguments)
    bare = vars(parser.parse_args(arguments, argparse.Namespace(**dict.fromkeys(vars(args)))))
    args.typed = {option for option, value in bare.items() if value is not None}
    args.quiet = args.debug = False
    return args


def recorded(tmp_path: Path, *arguments: str, **changes: Any) -> str:
    """A configuration as a run writes it that was started with these arguments."""
    options = {k: v for k, v in vars(typed(*arguments)).items() if k not in reproduce.NOT_RECORDED}
    content = {"options": options | changes.pop("options", {}), "config": {}, "data": {}, "base": {}, "resolved": {}}
    content |= {"command": ["learn", *arguments], **changes}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "features"),
    [
        (("--method", "full"), True),
        (("--augment", "flip"), True),
        (("--method", "full", "--no-features"), False),
        (("--no-features",), False),
    ],
)
def test_what_followed_from_the_method_is_not_typed(arguments: tuple[str, ...], features: bool, tmp_path: Path) -> None:
    path = recorded(tmp_path, *arguments)
    assert reproduce.replayed(typed("--from", path, "--method", "lora")).features is features
    # As runs were recorded earlier: with what followed among the options.
    path = recorded(tmp_path, *arguments, options={"features": False}, resolved=None)
    assert reproduce.replayed(typed("--from", path, "--method", "lora")).features is features


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
    own = reproduce.replayed(typed("--from", recorded(tmp_path, *before), *now))
    then = vars(typed(*before))
    for name in ("weights", "lora_dropout", "lora_rank", "epochs", "examples", "keep"):
        if name not in typed(*now).typed:
            assert getattr(own, name) == (None if name in gone else then[name]), name
    said = capsys.readouterr().err
    assert all(f"--{name.replace('_', '-')}" in said for name in gone)
    assert bool(said) == bool(gone)

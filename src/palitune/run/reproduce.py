"""What a run depends on, written down, and a run made again from that."""

import argparse
import copy
import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import palitune
from palitune.checkpoint import delta, trained_images
from palitune.cli.arguments import METHODS, NEEDS_METHOD
from palitune.cli.main import Parser
from palitune.config import TrainingConfig
from palitune.data.example import Example
from palitune.errors import BadDataError, MissingInputError, UsageError
from palitune.infer.loading import Model
from palitune.run.folder import RunFolder, read_config

# Options that change nothing of what is learned.
NOT_RECORDED = {
    "write",
    "overwrite",
    "resume",
    "source",
    "quiet",
    "debug",
    "typed",
    "recorded",
    "save_every",
    "tensorboard",
    "report",
}
# Options that exclude each other: what is typed takes the place of the other, recorded one.
EITHER = (("epochs", "examples"), ("keep", "accumulate"), ("keep", "clip_global"))
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


def replayed(args: argparse.Namespace, resumed: Path | None = None) -> argparse.Namespace:
    """The arguments, with what a recorded run had in place of what was not typed.

    Args:
      resumed: the configuration of the run to go on with, of which nothing can change any more.

    Raises:
      MissingInputError, BadDataError: there is no such configuration.
      UsageError: something was typed that going on cannot change.
    """
    own = copy.copy(args)
    own.recorded = None
    path = resumed or (Path(args.source) if args.source else None)
    if path is None:
        return own
    if path.is_dir():
        path /= "config.json"
    own.recorded = read_config(path)
    options = _checked(own.recorded["options"], path)
    if _is_derived(own.recorded):
        del options["features"]
    for name, value in options.items():
        if name not in args.typed:
            setattr(own, name, value)
        elif resumed is not None and _plain(getattr(args, name)) != _plain(value):
            hint = "Leave it out, or start a run of another name"
            raise UsageError(f"--{name.replace('_', '-')} cannot change while a run goes on", hint=hint)
    _leave_out(own, {name for name in options if name not in args.typed})
    return own


def _is_derived(recorded: Mapping[str, Any]) -> bool:
    """Whether --no-features was not typed but followed from others, which runs once recorded as if it had been."""
    options = recorded["options"]
    if "resolved" in recorded or options.get("features", True):
        return False
    command = recorded.get("command")
    typed = isinstance(command, list) and any(str(part).startswith("--no-f") for part in command)
    return not typed and (options.get("method") == "full" or bool(options.get("augment")))


def _leave_out(args: argparse.Namespace, recorded: set[str]) -> None:
    """Leaves out what was recorded and cannot go with what was typed; says so where it changes what is learned."""
    method = args.method or METHODS[0]
    gone = [name for name, needed in NEEDS_METHOD.items() if name in recorded and needed != method]
    gone += [one for pair in EITHER for one, other in (pair, pair[::-1])
             if one in recorded and other not in recorded and getattr(args, other, None) is not None]  # fmt: skip
    gone = [name for name in dict.fromkeys(gone) if getattr(args, name, None) is not None]
    for name in gone:
        setattr(args, name, None)
    if gone and not args.quiet:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in gone)
        print(f"{listed} of the recorded run cannot go with what was typed: left out", file=sys.stderr)


class _Recorded(Parser):
    """The parser of what was recorded, where a mistake is the file's and not the user's."""

    def error(self, message: str) -> NoReturn:
        raise BadDataError(message, where=self.prog)


def _checked(options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Recorded options as if they had been typed: by the same rules.

    Raises:
      BadDataError: one of them is none of learning's, or has no such value.
    """
    from palitune.cli import learn

    parser = _Recorded(prog=str(path), add_help=False)
    learn.add_arguments(parser)
    actions = {action.dest: action for action in parser._actions if action.dest not in NOT_RECORDED}
    arguments: list[str] = []
    for name, value in options.items():
        if name not in actions:
            raise BadDataError(f"the option {name} is none of learning's", where=str(path))
        flag = actions[name].option_strings[-1]
        if value is None or (actions[name].nargs == 0 and value is not actions[name].const and value in (True, False)):
            continue
        try:
            arguments += _typed(actions[name], flag, value)
        except (TypeError, ValueError, KeyError, IndexError):
            raise BadDataError(f"the option {name} cannot be {value!r:.60}", where=str(path)) from None
    return {name: value for name, value in vars(parser.parse_args(arguments)).items() if name in options}


def _typed(action: argparse.Action, flag: str, value: Any) -> list[str]:
    """What a person would have typed for a value."""
    if action.nargs == 0:
        if value is not action.const:
            raise ValueError
        return [flag]
    if action.nargs == "+":
        return [flag, *(str(item) for item in value)]
    if isinstance(action, argparse._AppendAction):
        return [f"{flag}={pattern}={number}" for pattern, number in value]
    return [f"{flag}={','.join(value) if isinstance(value, list) else value}"]


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def require_run(folder: RunFolder, name: str) -> None:
    """Raises MissingInputError if there is nothing to go on with."""
    if not folder.config.is_file():
        hint = "Start it without --resume"
        raise MissingInputError(f"there is no run {name} to go on with", where=str(folder.path), hint=hint)


def facts(
    args: argparse.Namespace,
    model_name: str,
    model: Model,
    config: TrainingConfig,
    sets: Mapping[Path, Sequence[Example]],
) -> dict[str, Any]:
    """The content of a run's `config.json`. It is compared with what was recorded, if the run is made again.

    Raises:
      BadDataError: data or base are others than recorded.
    """
    options = {name: value for name, value in vars(args).items() if name not in NOT_RECORDED}
    found = {
        "palitune": palitune.__version__,
        "code": code_hash(),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}},
        "command": sys.argv[1:],
        "options": options | {"model": model_name, "seed": args.seed or 0},
        "config": config.as_json(),
        "data": {name: {"file": str(path), **fingerprint(path, records)} for name, (path, records) in _named(sets)},
        "base": delta.describe(model.checkpoint, model.path.stem),
    }
    if args.recorded is not None:
        _compare(args.recorded, found, args.typed)
    return found


def _named(sets: Mapping[Path, Sequence[Example]]) -> Iterable[tuple[str, tuple[Path, Sequence[Example]]]]:
    """Sets by their files' names, or by their paths where two have the same name."""
    names = [path.name for path in sets]
    return zip(names if len(set(names)) == len(names) else map(str, sets), sets.items(), strict=True)


def _compare(recorded: Mapping[str, Any], found: Mapping[str, Any], typed: set[str]) -> None:
    if "data" not in typed:
        for name, known in recorded["data"].items():
            now = found["data"].get(name, {})
            for key, what in (("sha256", "its lines"), ("pictures", "its pictures")):
                if known.get(key) != now.get(key):
                    hint = "Put back what it was, or start another run"
                    raise BadDataError(f"{what} have changed since the run", where=str(known.get("file")), hint=hint)
    if "model" not in typed and recorded["base"].get("hash") != found["base"]["hash"]:
        raise BadDataError(f"the base {found['base']['file']} is not that of the run")
    if recorded.get("code") != found["code"] or recorded.get("versions") != found["versions"]:
        print("the run was made by other versions of palitune or its libraries: figures may differ", file=sys.stderr)


def code_hash() -> str:
    """SHA-256 of palitune's own source."""
    folder = Path(palitune.__file__).parent
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def fingerprint(path: Path, records: Sequence[Example]) -> dict[str, Any]:
    """Count and SHA-256 of a file's lines, and SHA-256 of all its pictures in order."""
    digests = (bytes.fromhex(trained_images.digest(record.image.path)) for record in records)
    pictures = hashlib.sha256(b"".join(digests)).hexdigest()
    return {"records": len(records), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "pictures": pictures}

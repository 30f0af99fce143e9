"""What a run depends on, written down, and a run made again from that."""

import hashlib
import platform
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import palitune
from palitune import workspace
from palitune.checkpoint import delta, trained_images
from palitune.config.learning import LearningSettings, PassSettings
from palitune.config.run_config import RunConfig, TrainingConfig
from palitune.config.settings import Setting, checked, settings_of
from palitune.data.example import Example
from palitune.errors import BadDataError, MissingInputError, UsageError
from palitune.infer.loading import Model
from palitune.method import DEFAULT, METHODS
from palitune.run import recipe
from palitune.run.folder import RunFolder, read_config

# Settings that exclude each other: what is given takes the place of the other, recorded one.
EITHER = (("epochs", "examples"), ("keep", "accumulate"), ("keep", "clip_global"))
MARKS = {"sha256": "its lines", "pictures": "its images"}  # hashes of a file, and what they are of
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
# Settings whose defaults follow from others: config.json has them where they were given.
OPEN = {one.name for group in (LearningSettings, PassSettings) for one in settings_of(group)}


class Asked(NamedTuple):
    """A run as it was asked for, with what it was recorded with or a recipe says in place of what was not given."""

    config: RunConfig
    changed: frozenset[str]  # settings that were given beside a recorded run
    recorded: Mapping[str, Any] | None  # the content of its config.json


def recorded_settings() -> dict[str, Setting]:
    """The settings that config.json has, by name."""
    return {one.name: one for one in settings_of(RunConfig) if one.details.recorded}


def completed(asked: RunConfig, resumed: Path | None = None) -> Asked:
    """The settings of a run: the defaults, then those of a recorded run, then a recipe's, then those that were given.

    Args:
      resumed: the configuration of the run that is resumed, which cannot change any more.

    Raises:
      MissingInputError, BadDataError: there is no such configuration or recipe, or it is something else.
      UsageError: something was given that going on cannot change.
    """
    given = (recipe.read(asked.recipe) if asked.recipe else {}) | asked.options()
    path = resumed or (Path(asked.source) if asked.source else None)
    if path is None:
        return Asked(RunConfig.of(given), frozenset(), None)
    if path.is_dir():
        path /= "config.json"
    recorded = read_config(path)
    options = _options(recorded, path)
    if resumed is not None:
        _require_same(given, options)
    gone = _excluded(given, options)
    if gone and not asked.quiet:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in gone)
        print(f"{listed} of the recorded run cannot go with what was typed: left out", file=sys.stderr)
    both = {name: value for name, value in options.items() if name not in gone} | given
    return Asked(RunConfig.of(both), frozenset(given), recorded)


def _options(recorded: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Recorded settings, held to the same limits as typed ones. Raises BadDataError."""
    known = recorded_settings()
    try:
        options = checked(known, {n: v for n, v in recorded["options"].items() if v is not None}, "learning's")
    except ValueError as error:
        raise BadDataError(str(error), where=str(path)) from None
    if unknown := [name for name in recorded["options"] if name not in known]:
        raise BadDataError(f"the option {unknown[0]} is none of learning's", where=str(path))
    if _is_derived(recorded):
        del options["features"]
    return {name: value for name, value in options.items() if name in OPEN or value != known[name].default}


def _is_derived(recorded: Mapping[str, Any]) -> bool:
    """Whether --no-features was not typed but followed from others, which runs once recorded as if it had been."""
    options = recorded["options"]
    if "resolved" in recorded or options.get("features", True):
        return False
    command = recorded.get("command")
    typed = isinstance(command, list) and any(str(part).startswith("--no-f") for part in command)
    method = METHODS.get(options.get("method") or DEFAULT)
    return not typed and (bool(options.get("augment")) or (method is not None and method.trains_image_encoder))


def _require_same(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises UsageError if something was given that a run which goes on has otherwise."""
    for name, one in recorded_settings().items():
        if name in given and given[name] != options.get(name, one.default):
            hint = "Leave it out, or start a run of another name"
            raise UsageError(f"{one.option} cannot change while a run goes on", hint=hint)


def _excluded(given: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Recorded settings that cannot go with what was given, by name."""
    known = recorded_settings()
    method = given.get("method", options.get("method", known["method"].default))
    gone = [
        name for name in options
        if name not in given and known[name].details.methods and method not in known[name].details.methods
    ]  # fmt: skip
    gone += [one for pair in EITHER for one, other in (pair, pair[::-1])
             if one in options and one not in given and other in given]  # fmt: skip
    return list(dict.fromkeys(gone))


def options_of(config: RunConfig) -> dict[str, object]:
    """The "options" of config.json: every setting by name; None where it follows from others."""
    return {
        name: getattr(config, name) if name in config.given or (name not in OPEN and one.default != ()) else None
        for name, one in recorded_settings().items()
    }


def require_run(folder: RunFolder, name: str) -> None:
    """Raises MissingInputError if there is no run to resume."""
    if not folder.config.is_file():
        hint = "Start it without --resume"
        raise MissingInputError(f"there is no run {name} to resume", where=str(folder.path), hint=hint)


def facts(
    asked: Asked,
    model_name: str,
    model: Model,
    config: TrainingConfig,
    sets: Mapping[Path, Sequence[Example]],
    command: Sequence[str],
) -> dict[str, Any]:
    """The content of a run's `config.json`. It is compared with what was recorded, if the run is made again.

    Raises:
      BadDataError: data or base are others than recorded.
    """
    found = {
        "palitune": palitune.__version__,
        "code": code_hash(),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}},
        "command": list(command),
        "options": options_of(asked.config) | {"model": model_name},
        "config": config.as_json(),
        "data": {name: {"file": str(path), **fingerprint(path, records)} for name, (path, records) in _named(sets)},
        "base": delta.describe(model.checkpoint, workspace.name_of(model.path)),
    }
    if asked.recorded is not None:
        _compare(asked.recorded, found, asked.changed)
    return found


def _named(sets: Mapping[Path, Sequence[Example]]) -> Iterable[tuple[str, tuple[Path, Sequence[Example]]]]:
    """Sets by their files' names, or by their paths where two have the same name."""
    names = [path.name for path in sets]
    return zip(names if len(set(names)) == len(names) else map(str, sets), sets.items(), strict=True)


def _compare(recorded: Mapping[str, Any], found: Mapping[str, Any], changed: Collection[str]) -> None:
    if "data" not in changed:
        for name, known in recorded["data"].items():
            now = found["data"].get(name, {})
            for key, what in MARKS.items():
                if known.get(key) != now.get(key):
                    hint = "Put back what it was, or start another run"
                    raise BadDataError(f"{what} have changed since the run", where=str(known.get("file")), hint=hint)
    if "model" not in changed and recorded["base"].get("hash") != found["base"]["hash"]:
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
    """Count and SHA-256 of a file's lines, and SHA-256 of all its images in order."""
    digests = (bytes.fromhex(trained_images.digest(image.path)) for one in records for image in one.images)
    images = hashlib.sha256(b"".join(digests)).hexdigest()
    return {"records": len(records), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "pictures": images}

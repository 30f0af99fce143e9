"""Recipes: Python files whose `get_config()` returns a run's settings as ml_collections has them, as in big_vision.

A recipe is the user's own program and runs as such (docs/security.md).
"""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palitune.config.run_config import RunConfig
from palitune.config.settings import checked, settings_of
from palitune.errors import BadDataError, MissingInputError, PalituneError

if TYPE_CHECKING:
    import ml_collections

SUFFIX = ".py"


def read(recipe: str) -> dict[str, object]:
    """The settings of `FILE.py[:NAME=VALUE,...]`; what is behind the colon is get_config's argument, a text.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it has no get_config, which fails, or returns something else than settings of a run.
    """
    name, colon, argument = recipe.partition(f"{SUFFIX}:")
    path = Path(f"{name}{SUFFIX}" if colon else recipe)
    if not path.is_file():
        hint = "A recipe is a Python file: playground/configs/ has some"
        raise MissingInputError("there is no such recipe", where=str(path), hint=hint)
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        if not callable(get_config):
            raise BadDataError("the recipe has no get_config()", where=str(path))
        found = get_config(argument) if colon else get_config()
    except PalituneError:
        raise
    except Exception as error:
        what = f"the recipe fails: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise BadDataError(what, where=str(path), hint="--debug shows where") from error
    if not isinstance(found, Mapping) and not hasattr(found, "to_dict"):
        what = f"get_config() returns {type(found).__name__}, not an ml_collections.ConfigDict"
        raise BadDataError(what, where=str(path))
    options: Mapping[str, object] = found if isinstance(found, Mapping) else found.to_dict()
    known = {one.name: one for one in settings_of(RunConfig) if one.details.recorded}
    try:
        return checked(known, {name: value for name, value in options.items() if value is not None}, "learning's")
    except ValueError as error:
        raise BadDataError(str(error), where=str(path)) from None


def parse_arg(argument: str | None, **defaults: int | float | str | bool) -> "ml_collections.ConfigDict":
    """What a recipe's `get_config(arg)` was given, `name=value,...`, each value in the type of its default.

    Raises:
      BadDataError: a name that has no default, or a value that is not of its type.
    """
    import ml_collections

    values = dict(defaults)
    for part in filter(None, (argument or "").split(",")):
        name, equals, text = part.partition("=")
        if name not in defaults:
            raise BadDataError(f"the recipe takes {', '.join(defaults)}, and not {name}")
        kind = type(defaults[name])
        try:
            values[name] = (text or "true").lower() in ("true", "1") if kind is bool else kind(text)
        except ValueError:
            missing = "" if equals else ": a value is missing"
            raise BadDataError(f"{name} of the recipe cannot be {text!r}{missing}") from None
    return ml_collections.ConfigDict(values)

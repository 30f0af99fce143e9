"""A `ModelSpec` as JSON, for the manifest of a checkpoint whose shapes do not tell which model it is."""

import dataclasses
import types
import typing
from collections.abc import Mapping

from palitune.checkpoint.json_settings import LARGEST
from palitune.errors import ConfigurationError
from palitune.models import families, spec_limits
from palitune.models.parameter_shapes import Shaped
from palitune.models.spec import ModelSpec
from palitune.models.spec_limits import DEEPEST

LONGEST = 200  # characters of a text
WIDEST = 1e12  # of a number


def of_model(spec: ModelSpec, arrays: Mapping[str, Shaped]) -> dict[str, object] | None:
    """The spec as JSON; None where the arrays' shapes alone tell what is computed."""
    try:
        told = families.read(arrays)
    except ConfigurationError:
        return as_json(spec)
    # What it is called, and in which dtype it was published, changes nothing.
    named = {name: getattr(told, name) for name in ("stored_dtype", "tokenizer", "big_vision")}
    return None if dataclasses.replace(spec, **named) == told else as_json(spec)


def as_json(spec: ModelSpec) -> dict[str, object]:
    """The spec as objects, lists and values."""
    return {field.name: _plain(getattr(spec, field.name)) for field in dataclasses.fields(spec)}


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        named = getattr(value, "_asdict", None)
        return named() if named else [_plain(one) for one in value]
    return value


def from_json(content: object) -> ModelSpec:
    """The spec that `as_json` was given. Raises ValueError, in words for a person, for anything else."""
    found = _read(ModelSpec, content, "model")
    assert isinstance(found, ModelSpec)
    if what := spec_limits.problem(found):
        raise ValueError(what)
    return found


def _read(kind: object, value: object, name: str) -> object:
    """A value of a type as annotations write it: a class with fields, a tuple, a union with None, or a plain one."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return None if value is None else _read(arguments[0], value, name)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not 1 <= len(value) <= DEEPEST:
            raise ValueError(f"{name} is not a list")
        return tuple(_read(arguments[0], one, name) for one in value)
    if isinstance(kind, type) and hasattr(kind, "__annotations__"):
        return _read_fields(kind, value, name)
    return _read_plain(kind, value, name)


def _read_fields(kind: type, value: object, name: str) -> object:
    hints = typing.get_type_hints(kind)
    if not isinstance(value, dict) or not value.keys() <= hints.keys():
        raise ValueError(f"{name} has no fields, or others than are known")
    try:
        return kind(**{key: _read(hints[key], one, f"{name}.{key}") for key, one in value.items()})
    except TypeError:
        raise ValueError(f"{name} lacks a field") from None


def _read_plain(kind: object, value: object, name: str) -> object:
    right = False
    if kind is int:
        right = type(value) is int and 0 <= value <= LARGEST
    elif kind is float:
        right = type(value) in (int, float) and 0 < typing.cast(float, value) <= WIDEST
    elif kind is bool:
        right = type(value) is bool
    elif kind is str:
        right = isinstance(value, str) and len(value) <= LONGEST
    if not right:
        raise ValueError(f"{name} is not what it should be")
    return float(typing.cast(float, value)) if kind is float else value

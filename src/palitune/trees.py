"""Trees of parameters, and paths in them such as `llm/layers/attn/q_einsum/w`.

Models take nested dictionaries; files, rules and comparisons take flat dictionaries from path to leaf.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from palitune import path_patterns
from palitune.errors import ConfigurationError

T = TypeVar("T")


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, Any]:
    """Returns nested dictionaries as a flat one; a path is the keys joined by `/`, in sorted order."""
    flat: dict[str, object] = {}
    for key in sorted(tree):
        path, value = f"{prefix}{key}", tree[key]
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{path}/"))
        else:
            flat[path] = value
    return flat


def unflatten(flat: Mapping[str, object]) -> dict[str, Any]:
    """Returns the nested dictionaries that `flatten` would make this flat one of."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


class Rules(Generic[T]):
    """An ordered list of (regular expression, value): the first expression that matches the whole path decides.

    A path that no rule covers is an error, so that a renamed parameter cannot silently get a default.
    """

    def __init__(self, rules: Iterable[tuple[str, T]]) -> None:
        self.rules = [(path_patterns.compiled(pattern), value) for pattern, value in rules]

    def __call__(self, path: str) -> T:
        """Returns the value for a path. Raises ConfigurationError if no rule covers it."""
        for pattern, value in self.rules:
            if pattern.matches(path):
                return value
        listed = ", ".join(pattern.text for pattern, _ in self.rules)
        raise ConfigurationError("no rule covers this parameter", where=path, hint=f"The rules are: {listed}")


def split(flat: Mapping[str, T], chosen: Rules[bool]) -> tuple[dict[str, T], dict[str, T]]:
    """Returns the leaves whose rule says true, and the others."""
    yes = {path: leaf for path, leaf in flat.items() if chosen(path)}
    return yes, {path: leaf for path, leaf in flat.items() if path not in yes}


class HasShape(Protocol):
    """An array of any library, or a `Shape`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""


class Shape(NamedTuple):
    """The shape of an array that has not been loaded."""

    shape: tuple[int, ...]


def differences(expected: Mapping[str, HasShape], found: Mapping[str, HasShape]) -> list[str]:
    """Returns one line for each path that is missing, unexpected, or has another shape than expected."""
    lines = [f"{path} is missing" for path in expected if path not in found]
    lines += [f"{path} is not a parameter of this model" for path in found if path not in expected]
    lines += [
        f"{path} has shape {tuple(found[path].shape)}, the model has {tuple(expected[path].shape)}"
        for path in expected
        if path in found and tuple(found[path].shape) != tuple(expected[path].shape)
    ]
    return lines

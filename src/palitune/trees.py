"""Trees of parameters as paths: `llm/layers/attn/q_einsum/w`.

A nested dict is what the models take; a flat dict from path to leaf is what files, rules and comparisons take.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from palitune import path_patterns
from palitune.errors import ConfigurationError

T = TypeVar("T")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts to a flat one, keys joined by `/`, in sorted order."""
    flat: dict[str, Any] = {}
    for key in sorted(tree):
        path = f"{prefix}{key}"
        if isinstance(tree[key], Mapping):
            flat.update(flatten(tree[key], f"{path}/"))
        else:
            flat[path] = tree[key]
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


class Rules(Generic[T]):
    """An ordered list of (regular expression, value): the first expression that matches a whole path decides.

    A path that no rule covers is an error, so that a renamed parameter cannot slip into a default.
    """

    def __init__(self, rules: Iterable[tuple[str, T]]) -> None:
        self.rules = [(path_patterns.compiled(pattern), value) for pattern, value in rules]

    def __call__(self, path: str) -> T:
        for pattern, value in self.rules:
            if pattern.matches(path):
                return value
        listed = ", ".join(pattern.text for pattern, _ in self.rules)
        raise ConfigurationError("no rule covers this parameter", where=path, hint=f"The rules are: {listed}")


def split(flat: Mapping[str, T], chosen: Rules[bool]) -> tuple[dict[str, T], dict[str, T]]:
    """The leaves whose rule says true, and the others."""
    yes = {path: leaf for path, leaf in flat.items() if chosen(path)}
    return yes, {path: leaf for path, leaf in flat.items() if path not in yes}


class Shape(NamedTuple):
    """A leaf's shape, for comparisons that load nothing."""

    shape: tuple[int, ...]


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """One line for each path that is missing, unexpected or of another shape. Leaves need a `shape`."""
    lines = [f"{path} is missing" for path in expected if path not in found]
    lines += [f"{path} is not a parameter of this model" for path in found if path not in expected]
    lines += [
        f"{path} has shape {tuple(found[path].shape)}, the model has {tuple(expected[path].shape)}"
        for path in expected
        if path in found and tuple(found[path].shape) != tuple(expected[path].shape)
    ]
    return lines

"""Paths, rules over them, and comparisons."""

import numpy as np
import pytest

from palitune import trees
from palitune.errors import ConfigurationError
from palitune.method import METHODS


def test_flatten_and_back() -> None:
    tree = {"llm": {"layers": {"w": 1}, "norm": 2}, "img": {"b": 3}}
    flat = trees.flatten(tree)
    assert flat == {"img/b": 3, "llm/layers/w": 1, "llm/norm": 2}
    assert trees.unflatten(flat) == tree


def test_the_first_rule_that_matches_decides() -> None:
    rules = trees.Rules([(r"llm/attn/.*", "a"), (r"llm/.*", "b")])
    assert (rules("llm/attn/w"), rules("llm/mlp/w")) == ("a", "b")
    with pytest.raises(ConfigurationError, match=r"img/w: no rule covers this parameter.*llm/attn"):
        rules("img/w")
    with pytest.raises(ConfigurationError):
        rules("my/llm/attn/w")


def test_trainable_parameters() -> None:
    paths = ["llm/layers/attn/q_einsum/w", "llm/layers/mlp/linear", "img/head/kernel"]
    assert [METHODS["attention"].trainable(path) for path in paths] == [True, False, False]
    assert all(METHODS["full"].trainable(path) for path in paths)


def test_differences_name_every_path() -> None:
    expected = {"a": np.zeros(2), "b": np.zeros(3), "c": np.zeros(4)}
    found = {"a": np.zeros(2), "b": np.zeros((3, 1)), "d": np.zeros(4)}
    assert trees.differences(expected, found) == [
        "c is missing",
        "d is not a parameter of this model",
        "b has shape (3, 1), the model has (3,)",
    ]
    assert trees.differences(expected, expected) == []

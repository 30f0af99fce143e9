"""Adapters: nothing at step 0, the same merged as beside, and only where they can be."""

import re

import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden
from test_layerwise import ADAPTED, parameters

from palitune import trees
from palitune.config import run_config
from palitune.errors import ConfigurationError
from palitune.method import METHODS
from palitune.models import lora
from palitune.models.multimodal import Text


def logits(golden: Golden, params: dict) -> np.ndarray:
    v = golden.values
    arguments = (v["image"], Text(v["text"][:, :-1], v["mask_ar"][:, :-1]))
    return np.asarray(compiled.forward(golden.sizes, trees.unflatten(params), *arguments))


def test_new_adapters_change_nothing(golden: Golden) -> None:
    adapters = lora.init(golden.params, ADAPTED, 4, 8.0, jax.random.key(0))
    assert np.array_equal(logits(golden, {**golden.params, **adapters}), logits(golden, golden.params))
    for path, leaf in adapters.items():
        assert bool(leaf.any()) != path.endswith(lora.B)


def test_merged_equals_beside(golden: Golden) -> None:
    params = parameters(golden, "lora")
    merged = {
        path: lora.merged(path, leaf, *(params[path + part] for part in (lora.A, lora.B, lora.ALPHA)))
        if path in lora.adapted(params)
        else leaf
        for path, leaf in golden.params.items()
    }
    beside = logits(golden, params)
    assert np.abs(beside - logits(golden, golden.params)).max() > 1e-2
    np.testing.assert_allclose(logits(golden, merged), beside, rtol=0, atol=1e-4)


def test_the_equations_factor() -> None:
    parts = lora.factors("BSD,2KDH->2BSKH")
    assert parts == ("2Dr", "2rKH", "BSD,2Dr->2BSr", "2BSr,2rKH->2BSKH", "2Dr,2rKH->2KDH")
    for equation in lora.EQUATIONS.values():
        parts = lora.factors(equation)
        sizes = dict(zip("BTSDNKHF23r", (2, 3, 3, 4, 2, 2, 3, 5, 2, 3, 2), strict=True))
        x = equation.split(",")[0]
        rng = np.random.default_rng(0)
        x, a, b = (rng.normal(size=[sizes[axis] for axis in axes]) for axes in (x, parts.a, parts.b))
        whole = np.einsum(letters(equation), x, np.einsum(letters(parts.product), a, b))
        beside = np.einsum(letters(parts.second), np.einsum(letters(parts.first), x, a), b)
        np.testing.assert_allclose(beside, whole, rtol=1e-10)


def letters(equation: str) -> str:
    """NumPy takes no digits for axes."""
    return re.sub("2|3", "z", equation)


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_rules_choose_the_targets(golden: Golden) -> None:
    only = lora.init(golden.params, r"llm/layers/attn/q_einsum/w", 2, 4.0, jax.random.key(0))
    assert lora.adapted(only) == ["llm/layers/attn/q_einsum/w"]
    assert only["llm/layers/attn/q_einsum/w_lora_a"].shape[-1] == 2
    trained = [path for path in {**golden.params, **only} if METHODS["lora"].trainable(path)]
    assert trained == ["llm/layers/attn/q_einsum/w_lora_a", "llm/layers/attn/q_einsum/w_lora_b"]
    with pytest.raises(ConfigurationError, match="img/head/bias: this parameter cannot have a LoRA adapter"):
        lora.init(golden.params, r"img/head/bias", 2, 4.0, jax.random.key(0))
    with pytest.raises(ConfigurationError, match="no parameter has this path"):
        lora.init(golden.params, r"llm/layers/attention", 2, 4.0, jax.random.key(0))


def test_the_default_targets_are_all_projections(golden: Golden) -> None:
    settings = run_config.training(method="lora")
    adapters = lora.init(golden.params, settings.lora_targets, 1, 1.0, jax.random.key(0))
    assert set(lora.adapted(adapters)) == {path for path in golden.params if lora.can_adapt(path)}


def test_variance_of_the_first_factor() -> None:
    weights = {"llm/layers/attn/attn_vec_einsum/w": jnp.zeros((1, 8, 32, 16))}
    made = lora.init(weights, ".*", 64, 1.0, jax.random.key(0))["llm/layers/attn/attn_vec_einsum/w_lora_a"]
    assert float(made.var()) == pytest.approx(1 / (8 * 32), rel=0.05)

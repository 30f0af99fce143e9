"""Shapes and dtypes at the boundaries are checked while the tests run: a wrong one is refused, and named."""

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from palitune.infer import scoring
from palitune.models import attention, families, multimodal, positions, spec
from palitune.train import objective


def test_two_masks_of_different_lengths() -> None:
    with pytest.raises(TypeCheckError, match="blocks"):
        attention.attention_mask(jnp.ones((1, 3), bool), jnp.zeros((1, 4), jnp.int32))


def test_a_mask_of_floats() -> None:
    with pytest.raises(TypeCheckError, match="real"):
        attention.attention_mask(jnp.ones((1, 3)), jnp.zeros((1, 3), jnp.int32))


def test_targets_of_another_number() -> None:
    with pytest.raises(TypeCheckError, match="targets"):
        objective.token_losses(jnp.ones((2, 4)), jnp.ones((8, 4)), jnp.zeros(3, jnp.int32))


def test_a_hidden_state_of_another_width() -> None:
    with pytest.raises(TypeCheckError, match="table"):
        objective.token_losses(jnp.ones((2, 4)), jnp.ones((8, 5)), jnp.zeros(2, jnp.int32))


def test_a_prompt_of_another_length_than_its_mask() -> None:
    tree = scoring.label_tree([[5], [6]], eos=1)
    text = multimodal.Text(jnp.ones((1, 6), jnp.int32), jnp.ones((1, 7), jnp.int32))
    with pytest.raises(TypeCheckError, match="mask_ar"):
        scoring.log_likelihoods(families.TINY, {}, jnp.ones((1, 4, 8)), text, tree)


def test_layers_of_two_kinds_take_turns() -> None:
    """Local layers see a window, and each kind has its own rotary base."""
    kinds = (spec.LayerKind(rope_base=100.0, window=2), spec.LayerKind())
    llm = spec.GemmaSpec(16, 4, 32, 2, 1, 8, 32, kinds=kinds, pattern=(0, 1, 1))
    places = jnp.arange(4)[None]
    causal = jnp.tril(jnp.ones((1, 4, 4), bool))
    local, whole = positions.contexts(llm, places, causal)
    assert (whole.mask == causal).all()
    assert local.mask[0, 3].tolist() == [False, False, True, True]
    assert not jnp.array_equal(local.angles[0], whole.angles[0])
    for layer, expected in enumerate((local, whole, whole, local)):
        found = positions.context_of(llm, [local, whole], layer)
        assert jnp.array_equal(found.mask, expected.mask)
        assert jnp.array_equal(found.angles[0], expected.angles[0])

"""The layer-by-layer step equals the ordinary one, on every golden model and for every method."""

from typing import Any

import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden
from test_models import batch

from palitune import trees
from palitune.errors import ConfigurationError
from palitune.method import METHODS
from palitune.models import lora
from palitune.train import optimizers
from palitune.train.step import init_state, make_step
from palitune.train.step_options import Options, check

TOLERANCE = 1e-5
ADAPTED = r"llm/layers/(attn/.*/w|mlp/(gating_einsum|linear))"


def parameters(golden: Golden, method: str) -> dict[str, Any]:
    if method != "lora":
        return dict(golden.params)
    adapters = lora.init(golden.params, ADAPTED, 4, 8.0, jax.random.key(0))
    # A second factor of zeros would leave the first without a gradient.
    moved = {
        path: jax.random.normal(jax.random.key(1), leaf.shape) * 0.1 if path.endswith(lora.B) else leaf
        for path, leaf in adapters.items()
    }
    return {**golden.params, **moved}


Taken = tuple[list[float], dict[str, np.ndarray]]
known: dict[str, Taken] = {}  # what tests compare several ways with: most of their time is compiling


def take_steps(golden: Golden, method: str, options: Options, rate: float = 0.03, **others: Any) -> Taken:
    """`newly_taken`, computed once for all tests where only these arguments are given."""
    if others:
        return newly_taken(golden, method, options, rate, **others)
    key = f"{golden.sizes} {method} {options} {rate}"
    if key not in known:
        known[key] = newly_taken(golden, method, options, rate)
    return known[key]


def newly_taken(
    golden: Golden,
    method: str,
    options: Options,
    rate: float = 0.03,
    *,
    count: int = 2,
    transform: Any = None,
    dtype: Any = jnp.float32,
    made: Any = None,
) -> Taken:
    """Losses and parameters after some steps."""
    transform = transform or optimizers.sgd(lambda step: 1.0)
    chosen, frozen = trees.split(parameters(golden, method), METHODS[method].trainable)
    trainable: Any = {path: jnp.array(leaf, dtype) for path, leaf in chosen.items()}
    state = init_state(transform, trainable, options, rate)
    step = make_step(golden.sizes, transform, jnp.float32, options)
    losses = []
    for _ in range(count):
        trainable, state, outcome = step(trainable, state, frozen, made or batch(golden))
        losses.append(float(outcome.loss))
    return losses, {path: np.asarray(leaf, np.float32) for path, leaf in {**trainable, **frozen}.items()}


def assert_equal(one: Any, other: Any, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(one[0], other[0], rtol=0, atol=tolerance)
    assert set(one[1]) == set(other[1])
    for path in one[1]:
        np.testing.assert_allclose(one[1][path], other[1][path], rtol=0, atol=tolerance, err_msg=path)


def test_full_equals_the_ordinary_step(golden: Golden) -> None:
    rate = 0.003  # at ten times this the models themselves turn rounding errors into 1e-3: test_models
    ordinary = take_steps(golden, "full", Options(layerwise=False), rate=rate)
    assert_equal(take_steps(golden, "full", Options(), rate=rate), ordinary)
    # The same for every key of a query, a key's bias has no effect.
    still = [path for path in golden.params if np.abs(ordinary[1][path] - golden.params[path]).max() < 1e-9]
    assert all(path.endswith("/key/bias") for path in still)


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap", "gemma7b_mha"], indirect=True)
@pytest.mark.parametrize("method", ["attention", "lora"])
def test_the_other_methods_equal_the_ordinary_step(golden: Golden, method: str) -> None:
    ordinary = take_steps(golden, method, Options(layerwise=False))
    assert_equal(take_steps(golden, method, Options()), ordinary)
    assert ordinary[0][1] < ordinary[0][0]


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
@pytest.mark.parametrize("options", [Options(kept_layers=1), Options(chunks=3), Options(chunks=7, layerwise=False)])
def test_ways_of_working_change_nothing(golden: Golden, options: Options) -> None:
    rate = 0.003
    plain = take_steps(golden, "full", Options(layerwise=False), rate=rate)
    assert_equal(take_steps(golden, "full", options, rate=rate), plain)


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_other_rules_equal_the_ordinary_step(golden: Golden, name: str) -> None:
    from palitune.config import run_config

    rules: Any = {"weight_decay": ((r"llm/.*", 0.1),), "learning_rate_scale": ((r"img/.*", 0.5),)}
    settings = run_config.training(method="full", optimizer=name, clip_tensor=0.5, **rules)
    transform = optimizers.make(settings, lambda step: 1.0)
    ordinary = take_steps(golden, "full", Options(layerwise=False), transform=transform, rate=1e-3)
    layerwise = take_steps(golden, "full", Options(), transform=transform, rate=1e-3)
    # Both divide by the gradient's own size, so where a gradient is nothing but rounding a whole step may differ.
    assert_equal(layerwise, ordinary, 2.5e-3)
    different = sum(int((np.abs(layerwise[1][path] - ordinary[1][path]) > TOLERANCE).sum()) for path in golden.params)
    assert different < 0.005 * sum(leaf.size for leaf in golden.params.values())


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_image_tokens_stand_for_pictures(golden: Golden) -> None:
    pictures = batch(golden)
    tokens = compiled.encode_images(golden.sizes.img, trees.unflatten(golden.params)["img"], pictures.image)
    seen = take_steps(golden, "attention", Options())
    assert_equal(take_steps(golden, "attention", Options(), made=pictures._replace(image=tokens)), seen)
    half = pictures._replace(image=np.asarray(tokens, np.float16))
    assert_equal(take_steps(golden, "attention", Options(), made=half), seen, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_bfloat16_weights_move_on_average_as_float32_ones(golden: Golden) -> None:
    """A step far below half a unit in the last place: rounding to nearest would lose all of it."""
    path, rate, transform = "llm/embedder/input_embedding", 1e-4, optimizers.sgd(lambda step: 1.0)
    wanted = take_steps(golden, "full", Options(), count=1, rate=rate)[1][path] - golden.params[path]
    step = make_step(golden.sizes, transform)
    drifts = []
    for number in range(32):
        weights: Any = {name: jnp.array(leaf, jnp.bfloat16) for name, leaf in golden.params.items()}
        before = np.asarray(weights[path], np.float32)
        # The number of the step decides how it is rounded.
        state = init_state(transform, weights, Options(), rate) | {"count": jnp.int32(number)}
        after, _, _ = step(weights, state, {}, batch(golden))
        drifts.append(np.asarray(after[path], np.float32) - before)
    drift = np.mean(drifts, axis=0)
    assert np.corrcoef(drift.ravel(), wanted.ravel())[0, 1] > 0.5
    assert (drift * wanted).sum() == pytest.approx((wanted**2).sum(), rel=0.25)


def test_full_refuses_what_needs_all_gradients() -> None:
    for options, name in ((Options(accumulate=2), "--accumulate"), (Options(clip_global=1.0), "--clip-global")):
        with pytest.raises(ConfigurationError, match=f"full cannot take {name}.*never holds the gradients"):
            check(options, METHODS["full"])
        check(options, METHODS["lora"])


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
@pytest.mark.parametrize("layerwise", [True, False])
def test_nothing_moves_where_a_number_is_none(golden: Golden, layerwise: bool) -> None:
    made = batch(golden)
    options = Options(layerwise=layerwise, ema=0.5)
    transform = optimizers.make(_adamw(), lambda step: 1.0)
    broken = made._replace(image=np.full_like(made.image, np.nan))
    losses, params = take_steps(golden, "full", options, made=broken, transform=transform)
    assert not np.isfinite(losses).any()
    for path in params:
        np.testing.assert_array_equal(params[path], golden.params[path], err_msg=path)


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_a_gradient_without_a_number_is_told(golden: Golden) -> None:
    """The weight of one example overflows in the gradient, after a loss that is a number."""
    params = dict(golden.params)
    path = "llm/layers/attn/attn_vec_einsum/w"
    transform = optimizers.sgd(lambda step: 1.0)
    chosen, frozen = trees.split(params, METHODS["attention"].trainable)
    made = batch(golden)
    huge = made._replace(weights=np.where(made.weights > 0, np.float32(3e37), 0).astype(np.float32))
    step = make_step(golden.sizes, transform)
    for layerwise_batch, wanted in ((made, True), (huge, False)):
        trainable = {name: jnp.array(leaf) for name, leaf in chosen.items()}
        state = init_state(transform, trainable, Options())
        after, _, outcome = step(trainable, state, frozen, layerwise_batch)
        assert bool(outcome.finite) == wanted
        assert np.isfinite(np.asarray(after[path])).all()


def _adamw() -> Any:
    from palitune.config import run_config

    return run_config.training(method="full", optimizer="adamw")


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
def test_dropout_is_of_the_adapters_alone_and_repeatable(golden: Golden) -> None:
    plain = take_steps(golden, "lora", Options())
    dropped = take_steps(golden, "lora", Options(lora_dropout=0.5))
    assert dropped[0] == newly_taken(golden, "lora", Options(lora_dropout=0.5))[0]
    assert dropped[0][0] != plain[0][0]
    # The frozen weights see everything: without adapters' outputs there is nothing to drop.
    assert (
        take_steps(golden, "attention", Options(lora_dropout=0.5))[0] == take_steps(golden, "attention", Options())[0]
    )


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
def test_a_layer_computed_again_drops_the_same(golden: Golden) -> None:
    """Kept projections stand for those computed again only if both saw the same numbers dropped."""
    kept = take_steps(golden, "lora", Options(lora_dropout=0.3, kept_layers=1))
    assert_equal(take_steps(golden, "lora", Options(lora_dropout=0.3)), kept)


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_the_accuracy_is_that_of_the_golden_logits(golden: Golden) -> None:
    made = batch(golden)
    transform = optimizers.sgd(lambda step: 1.0)
    chosen, frozen = trees.split(golden.params, METHODS["attention"].trainable)
    logits = golden.values["logits"]
    likeliest = np.take_along_axis(logits.argmax(-1), made.positions, axis=1)
    wanted = ((likeliest == made.targets) * made.weights).sum() / made.weights.sum()
    for options in (Options(), Options(chunks=3), Options(layerwise=False)):
        trainable = {name: jnp.array(leaf) for name, leaf in chosen.items()}
        step = make_step(golden.sizes, transform, jnp.float32, options)
        _, _, outcome = step(trainable, init_state(transform, trainable, options), frozen, made)
        assert float(outcome.accuracy) == pytest.approx(wanted)

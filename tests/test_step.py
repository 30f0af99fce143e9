"""What a step promises beside its numbers: accumulation, averages, one program for each shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import Golden
from test_layerwise import assert_equal, take_steps
from test_models import batch

from palitune import trees
from palitune.data import batches, encode
from palitune.data.example import Image
from palitune.method import METHODS
from palitune.train import optimizers
from palitune.train.objective import token_losses
from palitune.train.step import init_state, make_step
from palitune.train.step_options import Options

ONE = pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)


@ONE
def test_accumulating_equals_a_larger_batch(golden: Golden) -> None:
    whole = batch(golden)
    count = len(whole.text)
    assert count > 1
    ordinary = take_steps(golden, "attention", Options())
    parts = batches.split(whole, count)
    assert parts.text.shape[:2] == (count, 1)
    assert_equal(take_steps(golden, "attention", Options(accumulate=count), made=parts), ordinary)


@ONE
def test_global_clipping_limits_the_update(golden: Golden) -> None:
    for limit in (0.01, 0.1):
        moved = take_steps(golden, "attention", Options(clip_global=limit), count=1, rate=1.0)[1]
        norm = np.sqrt(sum(((moved[path] - golden.params[path]) ** 2).sum() for path in moved))
        assert norm == pytest.approx(limit, rel=1e-3)


@ONE
def test_tensor_clipping_limits_each_layer(golden: Golden) -> None:
    transform = optimizers.optax.chain(optimizers.clip_each(0.01), optimizers.sgd(lambda step: 1.0))
    for options in (Options(), Options(layerwise=False)):
        moved = take_steps(golden, "attention", options, count=1, rate=1.0, transform=transform)[1]
        for path in (path for path in moved if path.startswith("llm/layers/attn/")):
            for layer in moved[path] - golden.params[path]:
                assert np.linalg.norm(layer) == pytest.approx(0.01, rel=1e-3)


@ONE
def test_the_moving_average_is_one(golden: Golden) -> None:
    transform = optimizers.sgd(lambda step: 1.0)
    options = Options(ema=0.9)
    chosen, frozen = trees.split(golden.params, METHODS["attention"].trainable)
    trainable = {path: jnp.array(leaf) for path, leaf in chosen.items()}
    average = {path: np.array(leaf) for path, leaf in chosen.items()}
    state = init_state(transform, trainable, options, 0.03)
    step = make_step(golden.sizes, transform, jnp.float32, options)
    for _ in range(3):
        trainable, state, _ = step(trainable, state, frozen, batch(golden))
        average = {path: 0.9 * leaf + 0.1 * np.asarray(trainable[path]) for path, leaf in average.items()}
    for path, leaf in average.items():
        np.testing.assert_allclose(state["ema"][path], leaf, atol=1e-6)


@ONE
def test_one_compilation_a_bucket(golden: Golden) -> None:
    transform = optimizers.sgd(lambda step: 1.0)
    chosen, frozen = trees.split(golden.params, METHODS["attention"].trainable)
    step = make_step(golden.sizes, transform)
    pixels = np.zeros((2, golden.sizes.img.image_size, golden.sizes.img.image_size, 3), np.float32)
    compiled = []
    for length in (3, 5, 8, 9, 13, 4):
        texts = [encode.prefix([7] * (length - 1), (Image("a.png"),)).answered([7, 1])] * 2
        trainable = {path: jnp.array(leaf) for path, leaf in chosen.items()}
        step(trainable, init_state(transform, trainable, Options()), frozen, batches.training(pixels, texts))
        compiled.append(len(step.programs))
    assert compiled == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunks", [1, 2, 3, 10])
def test_losses_in_chunks(chunks: int, smoothing: float) -> None:
    hidden, table = jax.random.normal(jax.random.key(0), (5, 8)), jax.random.normal(jax.random.key(1), (31, 8))
    targets = jnp.array([0, 30, 7, 7, 15]).at[2].set(jnp.argmax(hidden[2] @ table.T))

    def direct(hidden: jax.Array, table: jax.Array) -> jax.Array:
        smooth = optax.smooth_labels(jax.nn.one_hot(targets, 31), smoothing)
        return optax.softmax_cross_entropy(hidden @ table.T, smooth)

    found, pull, right = jax.vjp(
        lambda h, t: token_losses(h, t, targets, chunks, smoothing), hidden, table, has_aux=True
    )
    expected, pull_direct = jax.vjp(direct, hidden, table)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(right, jnp.argmax(hidden @ table.T, -1) == targets)
    assert right[2] == 1
    weights = jnp.array([1.0, 0.5, 0.0, 2.0, -1.0])
    for mine, theirs in zip(pull(weights), pull_direct(weights), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_stochastic_rounding_is_unbiased_and_keeps_what_is_exact() -> None:
    x = jnp.full((200_000,), 1 + 2**-10)  # an eighth of the way from 1 to the next bfloat16
    rounded = np.asarray(optimizers.round_stochastically(x, jax.random.key(0)), np.float32)
    assert set(rounded.tolist()) == {1.0, 1 + 2**-7}
    assert (rounded > 1).mean() == pytest.approx(1 / 8, abs=0.005)
    exact = jnp.array([0.0, -0.0, 1.5, -3.0, jnp.inf, -jnp.inf, 2.0**-126])
    kept = np.asarray(optimizers.round_stochastically(exact, jax.random.key(1)), np.float32)
    np.testing.assert_array_equal(kept, exact)
    assert np.isnan(np.asarray(optimizers.round_stochastically(jnp.array([jnp.nan]), jax.random.key(2)), np.float32))

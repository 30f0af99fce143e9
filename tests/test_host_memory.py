"""The optimizer's state in the host's memory: the same steps, and nothing of it stays on the device."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden
from test_layerwise import assert_equal, newly_taken
from test_models import batch

from palitune import host_memory
from palitune.config import run_config
from palitune.config.learning import LearningSettings
from palitune.errors import ConfigurationError, UsageError
from palitune.infer.loading import set_allocator
from palitune.train import optimizers
from palitune.train.step import Step, init_state, make_step
from palitune.train.step_options import Options

PALIGEMMA2 = pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
AWAY = Options(offload=True, elementwise=True)
PIECE = 1000  # numbers, so that a table is more than one piece
made: list[Step] = []  # one program for several tests


def adamw(**settings: Any) -> Any:
    config = run_config.training(method="full", optimizer="adamw", weight_decay=((".*", 0.1),), **settings)
    return optimizers.make(config, lambda step: 1.0)


def step_of(golden: Golden) -> Step:
    if not made:
        made.append(make_step(golden.sizes, adamw(), options=AWAY))
    return made[0]


@PALIGEMMA2
def test_the_steps_are_the_same_and_moments_stay_in_the_hosts_memory(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_memory, "PIECE", PIECE)
    losses, here = newly_taken(golden, "full", Options(), 1e-4, count=3, transform=adamw())
    trainable: Any = {path: jnp.array(leaf) for path, leaf in golden.params.items()}
    state = init_state(adamw(), trainable, AWAY, 1e-4)
    moments = sum(leaf.size for leaf in trainable.values() if leaf.ndim > 1) * 2 * 4
    found = []
    for _ in range(3):
        assert host_memory.size_of(state) == moments
        trainable, state, outcome = step_of(golden)(trainable, state, {}, batch(golden))
        found.append(float(outcome.loss))
    assert host_memory.size_of(state) == moments
    # The same for every key of a query, a key's bias has no gradient but rounding errors, which Adam makes whole steps.
    here = {path: leaf for path, leaf in here.items() if not path.endswith("/key/bias")}
    assert_equal((found, {path: np.asarray(trainable[path]) for path in here}), (losses, here))


@PALIGEMMA2
def test_a_step_that_is_not_finite_changes_nothing(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "PIECE", PIECE)
    path = "llm/final_norm/scale"
    broken = {**golden.params, path: np.full_like(golden.params[path], np.nan)}
    trainable: Any = {path: jnp.array(leaf) for path, leaf in broken.items()}
    state = init_state(adamw(), trainable, AWAY, 1e-4)
    after, state, outcome = step_of(golden)(trainable, state, {}, batch(golden))
    assert not outcome.finite
    for path, leaf in broken.items():
        np.testing.assert_array_equal(np.asarray(after[path]), leaf)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(state["optimizer"]))


@PALIGEMMA2
def test_so_are_those_of_another_method_and_of_clipped_gradients(golden: Golden) -> None:
    rule = adamw(clip_tensor=0.01)
    away, here = (
        newly_taken(golden, "attention", options, 1e-4, transform=rule)
        for options in (Options(offload=True), Options())
    )
    assert_equal(away, here)


def test_pieces_of_weights_of_16_bits_are_rounded_without_a_trend() -> None:
    """The noise of a piece is not that of the piece before."""
    shape, path = (64, 8), "llm/embedder/input_embedding"
    weights = {path: jnp.ones(shape, jnp.bfloat16)}
    rule = optimizers.sgd(lambda step: 2.0**-10)  # an eighth of a unit in the last place
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_memory, "PIECE", 64)
        moved, _, _ = optimizers.update_in_pieces(
            rule,
            {path: -jnp.ones(shape)},
            rule.init(weights),
            weights,
            1.0,
            jax.random.key(0),
            jnp.array(True),
        )
    up = np.asarray(moved[path], np.float32) > 1
    assert 0.05 < up.mean() < 0.25
    assert len({piece.tobytes() for piece in up.reshape(8, 8, 8)}) > 4


@pytest.mark.parametrize(
    "settings",
    [{"method": "full"}, {"method": "full", "optimizer": "adafactor"}, {"method": "lora", "accumulate": 2}],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--offload optimizer"):
        run_config.require_effect(LearningSettings(offload="optimizer", **settings))


@pytest.mark.parametrize(("gigabytes", "limit"), [(None, None), (63, None), (200, "200")])
def test_more_than_usual_may_be_pinned(
    gigabytes: int | None, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(host_memory, "free", lambda: None if gigabytes is None else gigabytes << 30)
    set_allocator("default")
    assert os.environ.get("XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB") == limit


def test_too_little_memory_of_the_host_is_said_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "free", lambda: 10**9)
    host_memory.require(10**9)
    with pytest.raises(ConfigurationError, match=r"needs 2\.0 GB of the host's memory, where 1\.0 are free"):
        host_memory.require(2 * 10**9)

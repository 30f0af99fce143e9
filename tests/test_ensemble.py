"""Several models that answer as one: scores, answers that are written, and how far each is from the members' own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden

from palitune import trees
from palitune.infer import decoding, scoring
from palitune.infer.decoding import greedy
from palitune.models import ensemble, lora, multimodal
from palitune.models.multimodal import Text
from palitune.run import combination

COUNT = 3


@pytest.fixture(scope="module")
def members(golden: Golden) -> list[dict[str, np.ndarray]]:
    """What three models have of their own: the attention, each changed a little."""
    rng = np.random.default_rng(0)
    paths = [path for path in golden.params if "/attn/" in path and path.startswith("llm/")]
    found = []
    for _ in range(COUNT):
        noise = {path: rng.normal(size=golden.params[path].shape).astype(np.float32) for path in paths}
        found.append({path: golden.params[path] * (1 + 0.3 * noise[path]) for path in paths})
    return found


def nested(golden: Golden, own: dict[str, np.ndarray]) -> dict[str, object]:
    return trees.unflatten({path: jnp.asarray(leaf) for path, leaf in {**golden.params, **own}.items()})


def question(golden: Golden) -> tuple[jax.Array, Text]:
    size = golden.sizes.img.image_size
    image = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (2, size, size, 3)), jnp.float32)
    tokens = jnp.asarray([[2, 5, 7, 9], [2, 6, 8, 0]], jnp.int32)
    return image, Text(tokens, jnp.zeros_like(tokens), jnp.asarray([[1, 1, 1, 1], [1, 1, 1, 0]]))


def test_scores_are_the_mean_of_the_members_probabilities(golden: Golden, members: list[dict[str, np.ndarray]]) -> None:
    image, prompt = question(golden)
    tree = scoring.label_tree([[11], [12, 13], [14]], 1)

    @jax.jit
    def scores(params: dict[str, object]) -> jax.Array:
        def of_one(params: dict[str, object]) -> jax.Array:
            zimg = multimodal.image_tokens(golden.sizes, params, image)
            return scoring.log_likelihoods(golden.sizes, params, zimg, prompt, tree, relative=True)

        return ensemble.averaged(params, of_one)

    together = np.asarray(jax.nn.softmax(scores(nested(golden, ensemble.stacked(members)))))
    each = [np.asarray(jax.nn.softmax(scores(nested(golden, one)))) for one in members]
    assert np.abs(together - np.mean(each, axis=0)).max() < 1e-5
    assert np.abs(each[0] - each[1]).max() > 1e-3  # they are different models


def test_members_write_together(golden: Golden, members: list[dict[str, np.ndarray]]) -> None:
    """Token by token the likeliest by the mean of the members' probabilities, each computed without a cache."""
    image, prompt = question(golden)
    prompt = Text(prompt.tokens[:1], prompt.mask_ar[:1])
    params = nested(golden, ensemble.stacked(members))
    tokens, logp = greedy(golden.sizes, params, image[:1], prompt, 3, -1, dtype=jnp.float32)
    text = prompt
    for number in range(3):
        each = [multimodal.forward(golden.sizes, nested(golden, one), image[:1], text)[0, -1] for one in members]
        mean = np.mean([np.asarray(jax.nn.softmax(logits)) for logits in each], axis=0)
        assert int(tokens[0, number]) == int(mean.argmax())
        assert float(logp[0, number]) == pytest.approx(float(np.log(mean.max())), abs=1e-4)
        grown = jnp.concatenate([text.tokens, tokens[:, number : number + 1]], axis=1)
        text = Text(grown, jnp.concatenate([text.mask_ar, jnp.ones((1, 1), jnp.int32)], axis=1))


def test_an_ensemble_of_the_same_model_is_that_model(golden: Golden, members: list[dict[str, np.ndarray]]) -> None:
    image, prompt = question(golden)
    one = nested(golden, members[0])
    same = nested(golden, ensemble.stacked([members[0]] * 2))
    first, second = (
        decoding.greedy(golden.sizes, params, image, prompt, 4, -1, dtype=jnp.float32) for params in (one, same)
    )
    assert np.array_equal(first[0], second[0])
    assert np.abs(np.asarray(first[1] - second[1])).max() < 1e-4


def test_the_mean_of_adapters_adds_the_mean_of_what_they_add() -> None:
    rng = np.random.default_rng(2)
    for name in lora.EQUATIONS:
        path, equation = lora.LAYERS + name, lora.EQUATIONS[name]
        axes = dict(zip("BTSNKHDF23", (1, 1, 1, 4, 2, 3, 8, 6, 2, 3), strict=True))
        shape = (2, *(axes[axis] for axis in equation.split("->")[0].split(",")[1]))
        weight, adapters = rng.normal(size=shape), []
        for rank, alpha in ((2, 4.0), (3, 1.0)):
            sizes = lora.shapes(path, shape, rank)
            a, b = (rng.normal(size=sizes[path + part]).astype(np.float32) for part in (lora.A, lora.B))
            adapters.append((a, b, np.full(2, alpha, np.float32)))
        mean = np.mean([lora.merged(path, weight, *one) for one in adapters], axis=0)
        assert np.abs(np.asarray(lora.merged(path, weight, *lora.mean(path, adapters))) - mean).max() < 1e-5


def test_a_soup_is_the_mean_and_only_of_what_fits() -> None:
    one = {"llm/x": np.array([1.0, 3.0], np.float16)}
    other, odd = {"llm/x": np.array([2.0, 5.0], np.float16)}, {"llm/x": np.zeros(3, np.float16)}
    found = combination.combine("soup", [0, 1, 2], {0: one, 1: other, 2: odd}, lambda weights: 0.0)
    assert found.trials == (0, 1)
    assert found.weights["llm/x"].tolist() == [1.5, 4.0]
    assert found.weights["llm/x"].dtype == np.float16


def test_a_greedy_soup_takes_what_makes_it_no_worse() -> None:
    learned = {number: {"w": np.array([value], np.float32)} for number, value in enumerate((1.0, -5.0, 3.0))}
    found = combination.combine("greedy-soup", [0, 1, 2], learned, lambda weights: -abs(float(weights["w"][0]) - 2))
    assert found.trials == (0, 2)
    assert found.weights["w"].tolist() == [2.0]


def test_members_have_the_same_parameters() -> None:
    with pytest.raises(ValueError, match="same parameters"):
        ensemble.stacked([{"a": np.zeros(2)}, {"a": np.zeros(3)}])
    with pytest.raises(ValueError, match="same number of members"):
        ensemble.size({"members/a": np.zeros((2, 1)), "members/b": np.zeros((3, 1))})
    assert ensemble.size({"a": np.zeros(2)}) == 1

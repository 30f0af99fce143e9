"""Several texts in a row, and several questions about one beginning: the same numbers as each on its own."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune import trees
from palitune.data import batches, encode
from palitune.data.batches import Batch
from palitune.data.encode import Encoded
from palitune.models import multimodal
from palitune.models.families import TINY3
from palitune.models.spec import ModelSpec
from palitune.train import objective

LLM = dataclasses.replace(TINY3.llm, depth=2, pattern=(0, 1))  # a layer of each kind
SPEC = dataclasses.replace(TINY3, img=None, llm=LLM)
NONE = np.zeros((0, SPEC.llm.width), np.float16)


def text(rng: np.random.Generator, length: int, answer: int) -> Encoded:
    return encode.causal(rng.integers(4, 500, length).tolist()).answered(rng.integers(4, 500, answer).tolist())


def gradient(spec: ModelSpec, params: dict[str, jax.Array], batch: Batch) -> tuple[float, float, dict[str, np.ndarray]]:
    def of(params: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        found = objective.loss(spec, trees.unflatten(params), batch)
        return found.value, found.accuracy

    (value, accuracy), found = jax.jit(jax.value_and_grad(of, has_aux=True))(params)
    return float(value), float(accuracy), jax.device_get(found)


@pytest.fixture(scope="module")
def params() -> dict[str, jax.Array]:
    return trees.flatten(multimodal.init(SPEC, jax.random.key(0)))


def images(count: int) -> np.ndarray:
    return np.zeros((count, *NONE.shape), np.float16)


def states_of(params: dict[str, jax.Array]) -> Callable[[Batch], jax.Array]:
    def of(batch: Batch) -> jax.Array:
        none = batch.image.astype(np.float32)
        return multimodal.hidden_states(SPEC, trees.unflatten(params), none, objective.text_of(batch))

    return jax.jit(of)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    for path, leaf in first.items():
        np.testing.assert_allclose(second[path], leaf, rtol=1e-5, atol=1e-5 * np.abs(leaf).max(), err_msg=path)


def test_packed_is_unpacked(params: dict[str, jax.Array]) -> None:
    rng = np.random.default_rng(0)
    texts = [text(rng, *rng.integers((3, 1), (50, 9)).tolist()) for _ in range(9)]
    found = batches.packings([list(range(9))], texts)
    assert found is not None
    (packing,) = found
    assert sorted(place for row in packing.rows for place in row) == list(range(9))
    assert len(packing.rows) < 9
    importance = rng.uniform(0.5, 2, 9).tolist()
    packed = gradient(SPEC, params, batches.packed(NONE, texts, packing, importance))
    alone = gradient(SPEC, params, batches.training(images(9), texts, importance=importance))
    assert packed[0] == pytest.approx(alone[0], rel=1e-5)
    assert packed[1] == pytest.approx(alone[1], abs=1e-6)
    same(alone[2], packed[2])


def test_a_text_sees_no_other_in_its_row(params: dict[str, jax.Array]) -> None:
    rng = np.random.default_rng(1)
    first, second, other = (text(rng, 20, 4) for _ in range(3))
    packing = batches.Packing([[0, 1]], 64, 8)
    states = jax.jit(
        lambda batch: multimodal.hidden_states(
            SPEC, trees.unflatten(params), batch.image.astype(np.float32), objective.text_of(batch)
        )
    )
    one, two = (np.asarray(states(batches.packed(NONE, [begin, second], packing))) for begin in (first, other))
    length = len(first.tokens) - 1
    assert np.abs(one[0, :length] - two[0, :length]).max() > 0.1
    np.testing.assert_array_equal(one[0, length : 2 * length], two[0, length : 2 * length])


def test_questions_about_one_text_are_those_asked_one_by_one(params: dict[str, jax.Array]) -> None:
    rng = np.random.default_rng(2)
    beginning = encode.causal(rng.integers(4, 500, 30).tolist())
    questions = [text(rng, length, answer) for length, answer in ((5, 2), (9, 3), (3, 2))]
    together = encode.branched(beginning, questions)
    assert [answer.tolist() for answer in together.answers] == [[35, 36], [46, 47, 48], [52, 53]]
    alone = [
        encode.causal([*beginning.tokens, *one.tokens])._replace(
            loss_weights=np.concatenate([beginning.loss_weights, one.loss_weights])
        )
        for one in questions
    ]
    batch = batches.training(images(1), [together])
    states = jax.jit(
        lambda batch: multimodal.hidden_states(
            SPEC, trees.unflatten(params), batch.image.astype(np.float32), objective.text_of(batch)
        )
    )
    shared = np.asarray(states(batch))[0]
    start = 30
    for one in alone:
        whole = np.asarray(states(batches.training(images(1), [one])))[0]
        np.testing.assert_allclose(shared[:30], whole[:30], atol=1e-5, rtol=1e-5)
        length = len(one.tokens) - 30
        # The last token of a question is an input here; alone, it is none.
        np.testing.assert_allclose(
            shared[start : start + length - 1], whole[30 : 30 + length - 1], atol=2e-5, rtol=1e-5
        )
        start += length


def test_questions_are_packed(params: dict[str, jax.Array]) -> None:
    rng = np.random.default_rng(3)
    texts = [
        encode.branched(
            encode.causal(rng.integers(4, 500, 12).tolist()), [text(rng, 4, 2) for _ in range(rng.integers(1, 4))]
        )
        for _ in range(5)
    ]
    found = batches.packings([[0, 1, 2, 3, 4]], texts)
    assert found is not None
    packed = gradient(SPEC, params, batches.packed(NONE, texts, found[0]))
    alone = gradient(SPEC, params, batches.training(images(5), texts))
    assert packed[0] == pytest.approx(alone[0], rel=1e-5)
    same(alone[2], packed[2])


def test_accumulation_divides_packed_rows(params: dict[str, jax.Array]) -> None:
    rng = np.random.default_rng(4)
    texts = [text(rng, *rng.integers((3, 1), (30, 5)).tolist()) for _ in range(8)]
    found = batches.packings([list(range(8))], texts, 2)
    assert found is not None
    whole = batches.packed(NONE, texts, found[0])
    assert len(whole.text) % 2 == 0
    parts = batches.split(whole, 2)
    values = [gradient(SPEC, params, Batch(*(None if one is None else one[i] for one in parts)))[0] for i in range(2)]
    assert np.mean(values) == pytest.approx(gradient(SPEC, params, whole)[0], rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 100), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 3))
def test_every_text_has_a_place(lengths: list[list[int]], parts: int) -> None:
    rng = np.random.default_rng(0)
    texts = [text(rng, length, 2) for batch in lengths for length in batch]
    order = [list(range(6 * i, 6 * i + 6)) for i in range(len(lengths))]
    found = batches.packings(order, texts, parts)
    longest = max(len(one.tokens) - 1 for one in texts)
    if found is None:
        return
    for batch, packing in zip(order, found, strict=True):
        assert sorted(place for row in packing.rows for place in row) == list(range(6))
        assert len(packing.rows) % parts == 0
        assert all(sum(len(texts[batch[i]].tokens) - 1 for i in row) <= packing.width for row in packing.rows)
        assert len(packing.rows) * packing.width < 6 * batches.bucket(longest)
        assert packing == packing._replace(width=found[0].width, answer_length=found[0].answer_length)

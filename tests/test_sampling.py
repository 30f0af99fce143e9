"""How tokens are drawn, against NumPy, and that an answer comes piece by piece."""

from typing import NamedTuple

import conftest
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.data import encode
from palitune.data.encode import Encoded
from palitune.data.example import Image
from palitune.errors import BadDataError
from palitune.infer import sampling
from palitune.infer.sampling import Sampling
from palitune.infer.writing import TokenWriter, texts_of

SIZE = 12
SEEN = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE)
SCORES = st.lists(st.integers(-60, 60), min_size=SIZE, max_size=SIZE).map(lambda row: np.array(row, np.float32) / 8)


likelier, penalized, next_token = map(jax.jit, (sampling.likelier, sampling.penalized, sampling.next_token))


def reference(logits: np.ndarray, top_k: int, top_p: float) -> set[int]:
    """The tokens that are kept, one at a time, the likeliest first."""
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    order = order[: top_k or len(order)]
    shares = np.exp(logits[order].astype(np.float64) - logits.max())
    shares /= shares.sum()
    kept, total = set(), 0.0
    for token, share in zip(order, shares, strict=True):
        if kept and total >= top_p:
            break
        kept.add(token)
        total += share
    return kept


@settings(max_examples=conftest.CASES, deadline=None)
@given(logits=SCORES, top_k=st.integers(0, SIZE + 1), top_p=st.sampled_from([0.011, 0.253, 0.507, 0.913, 1.0]))
def test_what_is_kept_is_what_numpy_keeps(logits: np.ndarray, top_k: int, top_p: float) -> None:
    found = np.asarray(likelier(jnp.asarray(logits)[None], top_k, top_p))[0]
    kept = set(np.flatnonzero(np.isfinite(found)).tolist())
    expected = reference(logits, top_k, top_p)
    if kept != expected:  # where sums of float32 and float64 are on two sides of the limit
        assert expected != reference(logits, top_k, top_p - 1e-6) or expected != reference(logits, top_k, top_p + 1e-6)
    assert found[sorted(kept)].tolist() == logits[sorted(kept)].tolist()
    assert int(np.argmax(logits)) in kept


@settings(max_examples=conftest.CASES, deadline=None)
@given(logits=SCORES, seen=SEEN, penalty=st.sampled_from([0.5, 1.0, 2.0]))
def test_repetition(logits: np.ndarray, seen: list[bool], penalty: float) -> None:
    found = np.asarray(penalized(jnp.asarray(logits)[None], jnp.asarray(seen)[None], penalty))[0]
    expected = [
        (value * penalty if value < 0 else value / penalty) if was else value
        for value, was in zip(logits.tolist(), seen, strict=True)
    ]
    assert found.tolist() == expected


def drawn(logits: np.ndarray, how: Sampling, count: int) -> np.ndarray:
    """How often each token is drawn."""
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (count, len(logits)))
    tokens = next_token(rows, jnp.zeros(rows.shape, bool), jax.random.key(0), how)
    return np.bincount(np.asarray(tokens), minlength=len(logits)) / count


@pytest.mark.parametrize(
    ("how", "logits"),
    [
        (Sampling(1.0), [0.0, 1.0, 2.0, -1.0]),
        (Sampling(2.0), [0.0, 1.0, 2.0, -1.0]),
        (Sampling(0.5, top_k=3), [0.0, 1.0, 2.0, -1.0]),
        (Sampling(1.0, top_p=0.8), [0.0, 1.0, 2.0, -1.0]),
        (Sampling(3.0, top_p=0.7, top_k=3), [0.0, 1.0, 2.0, -1.0]),
    ],
)
def test_frequencies_are_the_probabilities(how: Sampling, logits: list[float]) -> None:
    scaled = np.array(logits) / float(how.temperature)
    kept = sorted(reference(scaled, int(how.top_k), float(how.top_p)))
    expected = np.zeros(len(logits))
    expected[kept] = np.exp(scaled[kept]) / np.exp(scaled[kept]).sum()
    count = 40_000
    found = drawn(np.array(logits), how, count)
    assert found[expected == 0].sum() == 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=5 * np.sqrt(0.25 / count))  # five standard errors


def test_without_a_temperature_the_likeliest_token_comes() -> None:
    logits = jnp.array([[0.0, 3.0, 3.0, 1.0], [5.0, 0.0, 0.0, 0.0]])
    unseen = jnp.zeros(logits.shape, bool)
    assert next_token(logits, unseen, jax.random.key(0), Sampling()).tolist() == [1, 0]
    penalized = next_token(logits, unseen.at[1, 0].set(True), jax.random.key(0), Sampling(repetition_penalty=1e6))
    assert penalized.tolist()[0] == 1


class Spoken(NamedTuple):
    """A golden model that writes, with its prompts."""

    writer: TokenWriter
    params: dict[str, jax.Array]
    prompts: list[Encoded]
    golden: Golden

    def tokens(self, row: int, most: int, how: Sampling, seed: int = 0) -> list[int]:
        image = self.golden.values["image"][row]
        return list(self.writer.tokens(self.params, image, self.prompts[row], most, how, seed))


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    golden = conftest.golden_model("paligemma2_gqa_softcap")
    v = golden.values
    rows = zip(v["prefix_text"], v["prefix_mask_input"], strict=True)
    prompts = [encode.prefix(row[real > 0].tolist(), (Image("a.png"),)) for row, real in rows]
    flat = {path: jnp.asarray(leaf) for path, leaf in golden.params.items()}
    return Spoken(TokenWriter(golden.sizes, jnp.float32, golden.sizes.llm.vocab_size, ()), flat, prompts, golden)


def test_greedy_answers_are_those_of_decoding(spoken: Spoken) -> None:
    """Token by token as in one program, of prompts that are padded."""
    for row, expected in enumerate(spoken.golden.values["greedy_tokens"].tolist()):
        spoken.writer.ends = frozenset()
        assert spoken.tokens(row, len(expected), Sampling()) == expected
        spoken.writer.ends = frozenset({expected[2], -1})
        assert spoken.tokens(row, len(expected), Sampling()) == expected[: expected.index(expected[2])]


def test_a_seed_draws_the_same(spoken: Spoken) -> None:
    spoken.writer.ends = frozenset()
    how = Sampling(2.0, 0.99, 100, 1.1)
    assert spoken.tokens(0, 6, how, 7) == spoken.tokens(0, 6, how, 7)
    assert len({tuple(spoken.tokens(0, 6, how, seed)) for seed in range(4)}) > 1


def test_scores_that_are_not_finite_are_no_answer(spoken: Spoken) -> None:
    broken = {path: jnp.full_like(leaf, jnp.nan) for path, leaf in spoken.params.items()}
    with pytest.raises(BadDataError, match="a score is not finite"):
        spoken._replace(params=broken).tokens(0, 6, Sampling())


class Bytes:
    """A vocabulary of bytes, as a library decodes them: what is no character is U+FFFD."""

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


@given(text=st.text(max_size=20))
def test_no_character_is_split(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    pieces = list(texts_of(Bytes(), iter(text.encode())))  # type: ignore[arg-type]
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
        assert len(pieces) == len(text)


@given(raw=st.binary(max_size=24))
def test_bytes_that_are_no_text_come_as_what_decoding_makes(raw: bytes) -> None:
    assert "".join(texts_of(Bytes(), iter(raw))) == raw.decode("utf-8", "replace")  # type: ignore[arg-type]

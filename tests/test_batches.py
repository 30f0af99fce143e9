"""Tokens and batches: what is attended to, what is learned, in which order."""

from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from palitune.data import batches
from palitune.data.encode import prefix_suffix
from palitune.data.tokens import Text, Tokenizer
from palitune.errors import ConfigurationError, MissingInputError

TINY = Path(str(files("palitune") / "tiny" / "tokenizer.model"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(TINY)


@pytest.fixture(scope="module")
def model() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(TINY))


def test_prompt_and_answer(tokenizer: Tokenizer, model: SentencePieceProcessor) -> None:
    text = tokenizer.example("is there a star?", "yes")
    prompt = [model.bos_id(), *model.encode("is there a star?"), *model.encode("\n")]
    assert text.ids == [*prompt, *model.encode("yes"), model.eos_id()]
    assert text.suffix_start == len(prompt)
    assert tokenizer.prompt("is there a star?") == Text(prompt, len(prompt))
    assert tokenizer.answer(text.ids[text.suffix_start :]) == "yes"
    assert tokenizer.answer([]) == ""


def test_any_text_survives(tokenizer: Tokenizer, model: SentencePieceProcessor) -> None:
    for text in ("広告", "100 % naturel ✓", "two  blanks", "tab\tand\nnewline"):
        assert tokenizer.answer(model.encode(text)) == text


def test_unusable_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no tokenizer here"):
        Tokenizer(tmp_path / "a.model")
    (tmp_path / "a.model").write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="not a SentencePiece model"):
        Tokenizer(tmp_path / "a.model")


texts = st.lists(
    st.tuples(
        st.lists(st.integers(4, 99), min_size=1, max_size=40), st.lists(st.integers(4, 99), min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=4,
)


@given(texts)
def test_training_batches(pairs: list[tuple[list[int], list[int]]]) -> None:
    examples = [prefix_suffix(Text(p + a, len(p))) for p, a in pairs]
    batch = batches.training(np.zeros((len(pairs), 2, 2, 3), np.float32), examples)
    assert batch.text.shape[1] % batches.BUCKET == 0
    for row, (prompt, answer) in enumerate(pairs):
        real = len(prompt) + len(answer) - 1
        assert batch.text[row, :real].tolist() == (prompt + answer)[:-1]
        assert batch.mask_input[row].tolist() == [1] * real + [0] * (batch.text.shape[1] - real)
        assert batch.mask_ar[row, :real].tolist() == [0] * len(prompt) + [1] * (len(answer) - 1)
        learned = batch.weights[row] == 1
        assert batch.targets[row, learned].tolist() == answer
        # The position before a token predicts it: the last of the prompt predicts the first of the answer.
        positions = batch.positions[row, learned].tolist()
        assert positions == list(range(len(prompt) - 1, real))
        assert not batch.targets[row, ~learned].any()


@given(texts)
def test_prompts(pairs: list[tuple[list[int], list[int]]]) -> None:
    made = batches.prompts(np.zeros((len(pairs), 2, 2, 3), np.float32), [Text(p + a, len(p)) for p, a in pairs])
    for row, (prompt, _) in enumerate(pairs):
        assert made.text[row, : len(prompt)].tolist() == prompt
        assert made.mask_input[row].sum() == len(prompt)


def test_one_shape_for_all_batches_of_a_run() -> None:
    short, long = Text([1, 2, 3], 2), Text([1, 2, 3, 4, 5], 2)
    image = np.zeros((1, 2, 2, 3), np.float32)
    shapes = {batches.training(image, [prefix_suffix(text)], 3).targets.shape for text in (short, long)}
    assert shapes == {(1, 3)}


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 9))
def test_every_record_comes_once_before_any_comes_twice(count: int, examples: int, seed: int) -> None:
    order = list(batches.order(count, examples, np.random.default_rng(seed)))
    assert len(order) == examples
    for start in range(0, examples, count):
        epoch = Counter(order[start : start + count])
        assert set(epoch.values()) <= {1}
    assert order == list(batches.order(count, examples, np.random.default_rng(seed)))

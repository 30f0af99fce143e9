"""Tokens and batches: what is attended to, what is learned, in which order."""

from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from palitune.data import batches, encode, templates
from palitune.data.example import Example
from palitune.data.templates import PaliGemma
from palitune.data.vocabulary import Vocabulary
from palitune.errors import ConfigurationError, MissingInputError

TINY = Path(str(files("palitune") / "tiny" / "tokenizer.model"))


@pytest.fixture(scope="module")
def template() -> PaliGemma:
    return PaliGemma(Vocabulary.open(TINY))


@pytest.fixture(scope="module")
def model() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(TINY))


def test_prompt_and_answer(template: PaliGemma, model: SentencePieceProcessor) -> None:
    asked = Example.of("a.png", "is there a star?", "yes")
    text = templates.encoded(template, asked, "")
    prompt = [model.bos_id(), *model.encode("is there a star?"), *model.encode("\n")]
    assert text.tokens.tolist() == [*prompt, *model.encode("yes"), model.eos_id()]
    assert text.prompt_length == len(prompt)
    assert template.prompt(asked, "").tokens.tolist() == prompt
    assert templates.written(template, text.tokens[text.prompt_length :].tolist()) == "yes"
    assert templates.written(template, []) == ""


def test_any_text_survives(template: PaliGemma, model: SentencePieceProcessor) -> None:
    for text in ("広告", "100 % naturel ✓", "two  blanks", "tab\tand\nnewline"):
        assert templates.written(template, model.encode(text)) == text


def test_unusable_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="tokenizer"):
        Vocabulary.open(tmp_path / "a.model")
    (tmp_path / "a.model").write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="not a SentencePiece model"):
        Vocabulary.open(tmp_path / "a.model")


texts = st.lists(
    st.tuples(
        st.lists(st.integers(4, 99), min_size=1, max_size=40), st.lists(st.integers(4, 99), min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=4,
)


@given(texts)
def test_training_batches(pairs: list[tuple[list[int], list[int]]]) -> None:
    examples = [encode.prefix(p).answered(a) for p, a in pairs]
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
    made = batches.prompts(
        np.zeros((len(pairs), 2, 2, 3), np.float32), [encode.prefix(p).answered(a) for p, a in pairs]
    )
    for row, (prompt, _) in enumerate(pairs):
        assert made.text[row, : len(prompt)].tolist() == prompt
        assert made.mask_input[row].sum() == len(prompt)


def test_one_shape_for_all_batches_of_a_run() -> None:
    short, long = encode.prefix([1, 2]).answered([3]), encode.prefix([1, 2]).answered([3, 4, 5])
    image = np.zeros((1, 2, 2, 3), np.float32)
    shapes = {batches.training(image, [text], 3).targets.shape for text in (short, long)}
    assert shapes == {(1, 3)}


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 9))
def test_every_record_comes_once_before_any_comes_twice(count: int, examples: int, seed: int) -> None:
    order = list(batches.order(count, examples, np.random.default_rng(seed)))
    assert len(order) == examples
    for start in range(0, examples, count):
        epoch = Counter(order[start : start + count])
        assert set(epoch.values()) <= {1}
    assert order == list(batches.order(count, examples, np.random.default_rng(seed)))

"""Tokenizers that are none, or another model's, are told from right ones when they are opened; prompts are bounded."""

import io
from pathlib import Path
from types import SimpleNamespace as Bunch
from typing import Any

import numpy as np
import pytest
import sentencepiece
from conftest import REPOSITORY, Run

from palitune.data import batches, encode, templates
from palitune.data.batches import Prompts
from palitune.data.example import Example
from palitune.data.templates import PaliGemma
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError, ConfigurationError, UsageError
from palitune.infer import prompt_batches, scoring
from palitune.models import families
from palitune.train import plan, step_memory

TINY = REPOSITORY / "src/palitune/tiny/tokenizer.model"


def trained(path: Path, **changes: Any) -> Path:
    """A tokenizer like the tiny model's, but for the changes."""
    model = io.BytesIO()
    settings = {
        "vocab_size": 300,
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "user_defined_symbols": ["\n"],
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "num_threads": 1,
        "minloglevel": 2,
    }
    lines = ["is there a cross? yes", "is it allowed? no", "a round red sticker"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **{**settings, **changes}
    )
    path.write_bytes(model.getvalue())
    return path


def test_a_sound_tokenizer(tmp_path: Path) -> None:
    template = PaliGemma(Vocabulary.open(trained(tmp_path / "a.model")))
    tokens = templates.encoded(template, Example.of("a.png", "is it?", "no"), "").tokens
    assert (tokens[0], tokens[-1]) == (2, 1)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"bos_id": -1}, "<bos>"),
        ({"eos_id": -1}, "<eos>"),
        ({"byte_fallback": False, "user_defined_symbols": [], "vocab_size": 40}, "the newline"),
        ({"normalization_rule_name": "nmt_nfkc", "user_defined_symbols": [], "vocab_size": 290}, "the newline"),
    ],
)
def test_a_token_that_every_example_has(changes: dict[str, Any], missing: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no token for {missing}"):
        PaliGemma(Vocabulary.open(trained(tmp_path / "a.model", **changes)))


def test_the_published_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "PUBLISHED_VOCABULARY", 300)
    with pytest.raises(ConfigurationError, match="no token for <loc0000>, <seg000>"):
        PaliGemma(Vocabulary.open(trained(tmp_path / "a.model")))
    symbols = ["\n", *templates.PUBLISHED_PIECES]
    PaliGemma(Vocabulary.open(trained(tmp_path / "b.model", user_defined_symbols=symbols)))


def test_one_of_another_size_is_found_at_the_start(workspace: Path, run: Run, tmp_path: Path) -> None:
    smaller = trained(tmp_path / "a.model")
    for command in (["learn", "-d", "set1"], ["validate", "dataset/set1/valid.jsonl"]):
        done = run("palitune", *command, "-m", "tiny", "--tokenizer", str(smaller), cwd=workspace)
        assert (done.returncode, done.stdout) == (78, "")
        assert "a tokenizer with 300 pieces for a model with a vocabulary of 512" in done.stderr


def test_tokens_that_are_none_are_no_text() -> None:
    template = PaliGemma(Vocabulary.open(TINY))
    yes = template.answer("yes")
    assert templates.written(template, [-1, *yes, 512, 10**9]) == "yes"
    template.vocabulary.pieces = Bunch(decode=lambda ids: b"\xff".decode(), size=512)
    assert templates.written(template, [5, 6]) == "\N{REPLACEMENT CHARACTER}" * 2


def test_long_prompts_are_refused() -> None:
    template = PaliGemma(Vocabulary.open(TINY))
    asked = [Example.of("a.png", "\N{CJK UNIFIED IDEOGRAPH-5E83}" * n, "yes", where="data:3") for n in (340, 2000)]
    assert len(template.prompt(asked[0], "").tokens) == 1022
    with pytest.raises(
        BadDataError, match=r"^data:3: a prompt of 6,002 tokens \(2,000 characters\); 1,024 are allowed"
    ):
        templates.encoded(template, asked[1], "")


def test_a_long_prompt_goes_alone() -> None:
    """Answers come in order; no batch takes more of attention's square than one of short prompts."""
    lengths = [10, 20, 1024, 12, 30, 64, 65, 128, 900, 8, 8, 8]
    shapes: list[tuple[int, int]] = []

    def answered(prompts: Prompts) -> list[int]:
        shapes.append(prompts.text.shape)
        return [int(row.sum()) for row in prompts.mask_input]

    asked = [(np.zeros((4, 4), np.float16), encode.prefix([5] * length)) for length in lengths]
    assert list(prompt_batches.in_batches(answered, asked, 8, patches=256)) == lengths
    assert max(count * (256 + width) ** 2 for count, width in shapes) <= max(8 * 320**2, 1280**2)
    assert [count for count, width in shapes if width == 1024] == [1]
    flat = [place for chosen, _ in batches.groups(lengths, 8, 256) for place in chosen]
    assert flat == list(range(len(lengths)))
    assert [batches.bucket(length) for length in (1, 8, 9, 64, 65, 129)] == [8, 8, 16, 64, 128, 192]


def test_many_labels() -> None:
    many = [[a, b, c] for a in range(10) for b in range(10) for c in range(4, 10)]
    tree = scoring.label_tree(many, 1)
    assert len(tree.branches.tokens) == 110
    with pytest.raises(UsageError, match=r"labels of 2,775 tokens together; 2,048 are allowed"):
        scoring.label_tree(
            [[*label, 5] for label in [[a, b, c] for a in range(25) for b in range(10) for c in range(10)]], 1
        )
    with pytest.raises(UsageError, match=r"5,000 labels; 1,000 are allowed"):
        scoring.Scorer(families.TINY, PaliGemma(Vocabulary.open(TINY)), ["x"] * 5000, np.float32)


@pytest.mark.parametrize(
    "arguments", [["--prompt-length", "100000"], ["--answer-length", "1025"], ["--batches", "1,9999999"]]
)
def test_plan_is_asked_about_what_can_be(arguments: list[str], tmp_path: Path, run: Run) -> None:
    done = run("palitune", "plan", "--estimate", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "is more than" in done.stderr


def test_a_batch_that_does_not_fit_is_not_answered_with_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the estimate says that all would fit, and XLA that it does not."""
    sizes = Bunch(batch_size=64, method="attention", ema=0.0)
    work: Any = Bunch(config=sizes, text_length=20)
    monkeypatch.setattr(plan, "largest_batch", lambda work, limit: plan.LARGEST_BATCH)
    monkeypatch.setattr(plan, "with_batch", lambda work, size: Bunch(config=Bunch(batch_size=size)))
    monkeypatch.setattr(
        step_memory, "estimate", lambda work, keep: step_memory.Memory(100, 0, work.config.batch_size, True)
    )
    assert plan.smaller_batch(work, 100 + 64 * 50, 1100) == 19  # 50 of each example, and 3 % are left alone
    assert "Use --batch-size 19 " in str(plan.refusal(work, 100 + 64 * 50, 1100))
    sizes.batch_size = 2
    assert plan.smaller_batch(work, 5_000, 1100) == 0
    work.text_length = 900
    assert "The longest prompt has 900 tokens: ask in fewer words. Use --method lora" in str(
        plan.refusal(work, 5_000, 1100)
    )

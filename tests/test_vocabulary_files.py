"""A tokenizer's pieces are the same from a SentencePiece model and a tokenizer.json, and no text has special ones."""

import io
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from palitune.data.demo import pretraining_tasks
from palitune.data.tokens import Tokenizer
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError, ConfigurationError

TINY = REPOSITORY / "src/palitune/tiny/tokenizer.model"
ROLES = ("<pad>", "<eos>", "<bos>", "<unk>")  # in the order of their ids
TURNS = ("<mask>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>")
SPECIAL = (*ROLES[:3], *TURNS, "<image_soft_token>")
# Pieces that are user-defined in Gemma's model and text: of newlines, of blanks, of HTML; and PaliGemma's.
OF_TEXT = (
    *("\n" * count for count in range(1, 8)),
    *("\u2581" * count for count in range(2, 8)),
    *("<h1>", "<s>", "</s>", "<loc0000>", "<seg000>", "<unused0>"),
)
LINES = ("is there a cross? yes", "start of turn <start> a < b > c", "\u5e83\u544a\u306b\u8d64\u3044\u4e38\u304c", "no")


def sentence_piece(**changes: Any) -> bytes:
    """A SentencePiece model of the kind that Gemma has."""
    model = io.BytesIO()
    settings = {"vocab_size": 345, "model_type": "bpe", "byte_fallback": True, "num_threads": 1, "minloglevel": 2}
    settings |= {"normalization_rule_name": "identity", "add_dummy_prefix": False, "remove_extra_whitespaces": False}
    settings |= {name: id for id, name in enumerate(("pad_id", "eos_id", "bos_id", "unk_id"))}
    settings |= {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
    settings |= {"user_defined_symbols": [*TURNS, *OF_TEXT]}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20), model_writer=model, **{**settings, **changes}
    )
    return model.getvalue()


def tokenizer_json(
    model: bytes, added: Iterable[str] = ("<image_soft_token>",), **changes: Any
) -> tokenizers.Tokenizer:
    """The same pieces for the tokenizers library, as transformers makes them of Gemma's."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    rank = {piece.piece: (-piece.score, id) for id, piece in enumerate(proto.pieces) if piece.type in (1, 4)}
    cuts = [(rank[name], name[:at], name[at:]) for name in rank for at in range(1, len(name))]
    merges = [(left, right) for _, left, right in sorted(cuts) if left in ids and right in ids]
    settings = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    made = tokenizers.Tokenizer(models.BPE(ids, merges, **{**settings, **changes}))
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    known = [name for name in (*ROLES, *TURNS) if name in ids]
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in (*known, *added)])
    made.add_tokens([AddedToken(name, normalized=False) for name in OF_TEXT if name in ids])
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as it is downloaded: both files, and the one that names the added piece."""
    path = tmp_path_factory.mktemp("gemma")
    (path / "tokenizer.model").write_bytes(sentence_piece())
    tokenizer_json((path / "tokenizer.model").read_bytes()).save(str(path / "tokenizer.json"))
    (path / "added_tokens.json").write_text(json.dumps({"<image_soft_token>": 345}))
    return path


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Vocabulary, Vocabulary]:
    return Vocabulary.open(folder / "tokenizer.model"), Vocabulary.open(folder / "tokenizer.json")


def test_a_folder_is_its_sentence_piece_model_first(folder: Path, tmp_path: Path) -> None:
    assert Vocabulary.open(folder).path == folder / "tokenizer.model"
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert Vocabulary.open(tmp_path).path == tmp_path / "tokenizer.json"


def test_special_pieces_of_either(both: tuple[Vocabulary, Vocabulary]) -> None:
    for found in both:
        assert (found.size, found.bos, found.eos, found.special("<pad>"), found.unknown) == (346, 2, 1, 0, 3)
        assert [found.special(name) for name in TURNS] == [4, 5, 6, 7, 8]
        assert found.special("<image_soft_token>") == 345
        assert found.special_ids == {0, 1, 2, 4, 5, 6, 7, 8, 345}
        assert found.has("<loc0000>")
        assert not found.has("<start_of_audio>")
        with pytest.raises(ConfigurationError, match="this tokenizer has no piece <start_of_audio>"):
            found.special("<start_of_audio>")


def test_published_texts_are_text(both: tuple[Vocabulary, Vocabulary]) -> None:
    """What is user-defined and text remains one piece."""
    for found in both:
        for name in OF_TEXT:
            text = name.replace("\u2581", " ")
            assert [found.piece(id) for id in found.encode(text)] == [name]


PARTS = ("<", ">", "start_of_turn>", "<start_of_", "turn>", " ", "  ", "\u3000", "\r\n", "\0", "A", "<unk>")
words = st.sampled_from((*SPECIAL, *OF_TEXT[:7], *OF_TEXT[-6:], *PARTS, *LINES, "\U0001f642"))
# A typed U+2581 is a blank to both libraries, and comes back as one.
texts = st.lists(words | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))).map("".join)


@given(texts)
def test_any_text_is_itself_and_has_no_special_piece(both: tuple[Vocabulary, Vocabulary], text: str) -> None:
    for found in both:
        ids = found.encode(text)
        assert found.decode(ids) == text
        assert found.special_ids.isdisjoint(ids)
        assert all(id < 345 for id in ids)


def few_runs(text: str) -> bool:
    """SentencePiece takes the longest run of blanks first, and the other library joins runs in pairs."""
    return not re.search(r" {8}|\n{8}", text)


@given(texts.filter(few_runs))
def test_both_kinds_of_file_give_the_same_ids(both: tuple[Vocabulary, Vocabulary], text: str) -> None:
    first, second = (found.encode(text) for found in both)
    assert first == second
    assert both[0].decode(first) == both[1].decode(first)


@given(st.lists(st.integers(-5, 400), max_size=30))
def test_ids_of_any_kind_become_text(both: tuple[Vocabulary, Vocabulary], ids: list[int]) -> None:
    for found in both:
        assert isinstance(found.decode(ids), str)
        of_text = [id for id in ids if 0 <= id < 345 and id not in found.special_ids]
        assert found.decode(ids) == found.decode(of_text)


def test_what_is_not_special_is_as_the_library_has_it(both: tuple[Vocabulary, Vocabulary], folder: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("is there a cross?", "\u5e83\u544a  \n\n \U0001f642", "<h1>a</s> <loc0000>", "<bos>", "<unk>"):
        assert both[0].encode(text) == theirs.encode(text)
    for text in ("is there a cross?", "\u5e83\u544a  \n\n \U0001f642", "<h1>a</s> <loc0000>"):
        assert both[1].encode(text) == library.encode(text, add_special_tokens=False).ids
    assert 5 in theirs.encode("a<start_of_turn>b")
    assert 5 in library.encode("a<start_of_turn>b").ids


def test_a_lone_surrogate_is_no_text(both: tuple[Vocabulary, Vocabulary]) -> None:
    for found in both:
        with pytest.raises(BadDataError, match="cannot take the text"):
            found.encode("a\ud800")


def test_the_tiny_models_tokenizer_is_as_it_was() -> None:
    theirs, ours = sentencepiece.SentencePieceProcessor(model_file=str(TINY)), Tokenizer(TINY)
    rng, asked = random.Random(0), list(pretraining_tasks.ORDINARY_TEXT)
    asked += ["".join(rng.choices(asked[0] + "\u5e83\u544a\n </s><s>", k=30)) for _ in range(300)]
    for text in asked:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.answer(ours.encode(text)) == text
    assert (ours.vocabulary.bos, ours.eos, ours.vocab_size) == (2, 1, 512)


def test_the_tiny_models_tokenizer_as_a_json(tmp_path: Path) -> None:
    made = tokenizer_json(TINY.read_bytes(), added=())
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ("<s>", "</s>")])
    made.add_tokens([AddedToken("\n", normalized=False)])
    made.save(str(tmp_path / "tokenizer.json"))
    first, second = Tokenizer(TINY), Tokenizer(tmp_path)
    for question, answer in (("is there a star?", "yes"), ("\u5e83\u544a  \n \U0001f642?", "<bos> no")):
        assert first.example(question, answer) == second.example(question, answer)
        assert second.answer(second.example(question, answer).ids[1:]) == f"{question}\n{answer}"

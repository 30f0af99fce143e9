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

from palitune.data import model_vocabulary, pieces, templates, tokenizer_files, vocabulary
from palitune.data.demo import pretraining_tasks
from palitune.data.example import Example
from palitune.data.templates import PaliGemma
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError, ConfigurationError, MissingInputError

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
    theirs, ours = sentencepiece.SentencePieceProcessor(model_file=str(TINY)), PaliGemma(Vocabulary.open(TINY))
    rng, asked = random.Random(0), list(pretraining_tasks.ORDINARY_TEXT)
    asked += ["".join(rng.choices(asked[0] + "\u5e83\u544a\n </s><s>", k=30)) for _ in range(300)]
    for text in asked:
        assert ours.answer(text) == theirs.encode(text)
        assert templates.written(ours, ours.answer(text)) == text
    assert (ours.vocabulary.bos, ours.end, ours.vocabulary.size) == (2, 1, 512)


def test_the_tiny_models_tokenizer_as_a_json(tmp_path: Path) -> None:
    made = tokenizer_json(TINY.read_bytes(), added=())
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ("<s>", "</s>")])
    made.add_tokens([AddedToken("\n", normalized=False)])
    made.save(str(tmp_path / "tokenizer.json"))
    first, second = PaliGemma(Vocabulary.open(TINY)), PaliGemma(Vocabulary.open(tmp_path))
    for question, answer in (("is there a star?", "yes"), ("\u5e83\u544a  \n \U0001f642?", "<bos> no")):
        asked = Example.of("a.png", question, answer)
        ids = [templates.encoded(one, asked, "").tokens.tolist() for one in (first, second)]
        assert ids[0] == ids[1]
        assert templates.written(second, ids[1][1:]) == f"{question}\n{answer}"


class Sized:
    """Pieces of which only the number matters."""

    unknown, special = 3, frozenset({"<image>", "<image_soft_token>"})

    def __init__(self, size: int, last: str = "") -> None:
        self.size, self.last = size, last

    def encode(self, text: str) -> list[int]:
        return [3]

    def decode(self, ids: list[int]) -> str:
        return ""

    def id(self, piece: str) -> int | None:
        return self.size - 1 if piece == self.last else None

    def name(self, id: int) -> str:
        return ""

    def highest(self, but: frozenset[int]) -> int:
        return max(id for id in range(self.size - 2, self.size) if id not in but)


def sized(pieces: int, last: str = "") -> Vocabulary:
    return Vocabulary(Path("a.model"), Sized(pieces, last), tokenizer_files.companions(Path("no-such-folder")))


@pytest.mark.parametrize(
    ("pieces", "last", "rows"),
    [
        (256_000, "", 256_000),  # Gemma 1 and 2
        (257_152, "", 257_152),  # PaliGemma of big_vision
        (257_153, "<image>", 257_152),  # its weights with the tokenizer of transformers
        (257_152, "", 257_216),  # and the other way round
        (257_153, "<image>", 257_216),
        (262_144, "", 262_208),  # Gemma 3 4B with its SentencePiece model
        (262_145, "<image_soft_token>", 262_208),
        (262_145, "<image_soft_token>", 262_144),  # Gemma 3 1B and 270M
        (512, "", 576),
    ],
)
def test_published_sizes_are_usual(pieces: int, last: str, rows: int) -> None:
    assert vocabulary.rows_note(sized(pieces, last), rows) is None


@pytest.mark.parametrize(
    ("pieces", "last", "rows"),
    [
        (256_000, "", 257_152),  # Gemma's for PaliGemma
        (257_152, "", 256_000),
        (257_152, "", 262_208),
        (262_144, "", 257_216),
        (262_145, "", 262_144),  # a piece without a row that is text
        (300, "", 512),
        (512, "", 577),
    ],
)
def test_another_models_tokenizer(pieces: int, last: str, rows: int) -> None:
    message = f"a tokenizer with {pieces:,} pieces for a model with a vocabulary of {rows:,}"
    with pytest.raises(ConfigurationError, match=message):
        vocabulary.rows_note(sized(pieces, last), rows)


def test_an_unusual_number_of_rows_is_noted() -> None:
    found = vocabulary.rows_note(sized(262_145, "<image_soft_token>"), 262_912)
    assert found == "a.model has 262,145 pieces for a vocabulary of 262,912; the others are never used"
    with pytest.raises(ConfigurationError, match="262,145 pieces"):
        vocabulary.rows_note(sized(262_145, "<image_soft_token>"), 263_170)


def test_rows_of_real_files(both: tuple[Vocabulary, Vocabulary]) -> None:
    for found in both:
        assert [vocabulary.rows_note(found, rows) for rows in (345, 346, 410)] == [None] * 3
        for rows in (344, 411):
            with pytest.raises(ConfigurationError, match=f"346 pieces for a model with a vocabulary of {rows}"):
                vocabulary.rows_note(found, rows)


def in_folder(folder: Path, path: Path, *names: str, **others: object) -> Path:
    """A copy of some of a folder's files, and JSON files by their names without the ending."""
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_bytes((folder / name).read_bytes())
    for name, content in others.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def test_added_pieces_that_are_text_need_the_file_that_has_them(folder: Path, tmp_path: Path) -> None:
    decoder = {"345": {"content": "<image_soft_token>", "special": True}, "346": {"content": "red sticker"}}
    path = in_folder(folder, tmp_path, "tokenizer.model", tokenizer_config={"added_tokens_decoder": decoder})
    with pytest.raises(ConfigurationError, match="pieces that it has not, or has elsewhere: red sticker"):
        Vocabulary.open(path)
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.add_tokens([AddedToken("red sticker", normalized=False)])
    made.save(str(path / "tokenizer.json"))
    found = Vocabulary.open(path)
    assert found.path.name == "tokenizer.json"
    assert found.encode("red sticker") == [346]
    with pytest.raises(ConfigurationError, match="red sticker"):
        Vocabulary.open(path / "tokenizer.model")


def added_later(folder: Path, path: Path, *tokens: tuple[int, str, bool]) -> Path:
    """A copy of both files in which `tokenizer.json` alone has more added tokens, as transformers 5 writes them."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    known = json.loads((folder / "tokenizer.json").read_bytes())["added_tokens"]
    more = [{"id": id, "content": name, "special": special, **flags} for id, name, special in tokens]
    in_folder(folder, path, "tokenizer.model", "added_tokens.json")
    return changed(folder, path / "tokenizer.json", "added_tokens", known + more).parent


@pytest.mark.parametrize("name", ["appropriate?", "\u5e83\u544a\uff01", "\n" * 9, "a\u3000b"])
def test_text_that_was_added_to_the_json_alone_makes_the_model_stale(name: str, folder: Path, tmp_path: Path) -> None:
    path = added_later(folder, tmp_path, (346, name, False))
    library = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    for found in (Vocabulary.open(path), model_vocabulary.of_model(path / "model.safetensors", 347)):
        assert found.path == path / "tokenizer.json"
        assert found.encode(f"a {name} b") == library.encode(f"a {name} b", add_special_tokens=False).ids
        assert 346 in found.encode(f"a {name} b")
    # Whoever names a file means it.
    named = model_vocabulary.of_model(path / "model.safetensors", 347, str(path / "tokenizer.model"))
    assert named.path == path / "tokenizer.model"
    assert named.decode(named.encode(name)) == name


def test_special_pieces_of_the_json_alone_make_nothing_stale(folder: Path, tmp_path: Path) -> None:
    path = added_later(folder, tmp_path, (346, "<point>", True), (347, "<2mass>", False), (348, "[multimodal]", True))
    assert Vocabulary.open(path).path == path / "tokenizer.model"
    assert Vocabulary.open(in_folder(folder, tmp_path, "tokenizer.json")).path == path / "tokenizer.model"


def test_a_special_piece_elsewhere_makes_the_model_stale(folder: Path, tmp_path: Path) -> None:
    found = json.loads((folder / "tokenizer.json").read_bytes())
    moved = {"<start_of_turn>": 6, "<end_of_turn>": 5}
    found["model"]["vocab"] |= moved
    for token in found["added_tokens"]:
        token["id"] = moved.get(token["content"], token["id"])
    path = in_folder(folder, tmp_path, "tokenizer.model", "added_tokens.json", tokenizer=found)
    opened = Vocabulary.open(path)
    assert opened.path == path / "tokenizer.json"
    assert opened.special("<start_of_turn>") == 6


def test_a_special_piece_may_be_named_beside_the_model_alone(folder: Path, tmp_path: Path) -> None:
    decoder = {"5": {"content": "<start_of_turn>", "special": True}, "345": {"content": "<audio>", "special": True}}
    path = in_folder(folder, tmp_path, "tokenizer.model", tokenizer_config={"added_tokens_decoder": decoder})
    found = Vocabulary.open(path)
    assert (found.special("<audio>"), found.size) == (345, 346)
    assert found.decode([345, *found.encode("<audio>")]) == "<audio>"


def test_what_begins_and_ends_a_text_by_another_name(tmp_path: Path) -> None:
    model = sentence_piece(pad_piece="[PAD]", eos_piece="[END]", bos_piece="[START]", vocab_size=330)
    (tmp_path / "tokenizer.model").write_bytes(model)
    found = Vocabulary.open(tmp_path)
    assert (found.bos, found.eos, found.special("<pad>"), found.special("[END]")) == (2, 1, 0, 1)
    tokenizer_json(model).save(str(tmp_path / "tokenizer.json"))
    other = Vocabulary.open(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigurationError, match="no piece <bos>"):
        other.bos  # noqa: B018
    names = {"bos_token": {"content": "[START]"}, "eos_token": "[END]", "pad_token": None, "unk_token": 7}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    other = Vocabulary.open(tmp_path / "tokenizer.json")
    assert (other.bos, other.eos, other.has("<pad>")) == (2, 1, False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("added_tokens", b"[]", "added_tokens.json: not a JSON object"),
        ("added_tokens", b"{", "not a JSON object"),
        ("tokenizer_config", b"[" * 100_000, "not a JSON object"),
        ("tokenizer_config", b'{"a": "' + b" " * (8 << 20) + b'"}', "more than 8,388,608 bytes"),
        ("added_tokens", b'{"<a>": -1}', "'-1' is not the id of a piece"),
        ("added_tokens", b'{"<a>": true}', "'True' is not the id"),
        ("added_tokens", b'{"<a>": 1e400}', "'inf' is not the id"),
        ("added_tokens", b'{"<a>": 99999999999999}', "is not the id"),
        ("added_tokens", b'{"<start_of_turn>": 9}', "has elsewhere: <start_of_turn>"),
        ("added_tokens", b'{"is": 345}', "has elsewhere: is"),
        ("special_tokens_map", b"\xff", "not a JSON object"),
        ("tokenizer", b'{"added_tokens": [', "tokenizer.json: not a tokenizer.json"),
        ("tokenizer", b'{"added_tokens": {}}', "tokenizer.json: not a tokenizer.json"),
        ("tokenizer", b'{"added_tokens":' + b"[" * 100_000, "tokenizer.json: not a tokenizer.json"),
        ("tokenizer", b'{"added_tokens": [{"id": -1, "content": "a"}]}', "'-1' is not the id of a piece"),
        ("tokenizer", b'{"added_tokens": [{"id": 999, "content": "abc"}]}', "not a tokenizer.json of the tokenizers"),
    ],
)
def test_broken_files_beside_it(name: str, content: bytes, message: str, folder: Path, tmp_path: Path) -> None:
    path = in_folder(folder, tmp_path, "tokenizer.model")
    (path / f"{name}.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(message)) as found:
        Vocabulary.open(path)
    assert "\n" not in str(found.value)


def test_odd_names_beside_it_are_no_pieces(folder: Path, tmp_path: Path) -> None:
    odd = {"additional_special_tokens": ["\ud800", 5, None, {"content": ["a"]}], "bos_token": "\ud800", "x_token": []}
    path = in_folder(folder, tmp_path, "tokenizer.model", special_tokens_map=odd)
    assert Vocabulary.open(path).bos == 2


def test_files_that_are_no_tokenizers(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no tokenizer here: neither"):
        Vocabulary.open(tmp_path)
    with pytest.raises(MissingInputError, match="no such tokenizer"):
        Vocabulary.open(tmp_path / "a.model")
    for name, content, message in (
        ("a.model", b"", "not a SentencePiece model"),
        ("b.model", b"nonsense", "not a SentencePiece model"),
        ("c.json", (folder / "tokenizer.model").read_bytes(), "not a tokenizer.json"),
        ("d", b'{"a": 1}', "not a tokenizer.json"),
        ("e.json", b"[" * 100_000, "not a tokenizer.json"),
        ("f.json", b'{"model": {"vocab": {}}}', "not a tokenizer.json"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=message):
            Vocabulary.open(tmp_path / name)
    with (tmp_path / "g.model").open("wb") as file:
        file.truncate(tokenizer_files.LARGEST + 1)
    with pytest.raises(ConfigurationError, match="it has more than 67,108,864 bytes"):
        Vocabulary.open(tmp_path / "g.model")


def changed(folder: Path, path: Path, where: str, value: object) -> Path:
    """The `tokenizer.json` with another value at a path of names."""
    found = json.loads((folder / "tokenizer.json").read_bytes())
    *parents, last = where.split(".")
    place = found
    for name in parents:
        place = place[name]
    place[last] = value
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (
            "pre_tokenizer",
            {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"},
            "a regular expression",
        ),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}, "changes text by NFKC"),
        ("decoder", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "changes text by Precompiled"),
        ("model.type", "Unigram", "of the kind Unigram, and BPE is what palitune reads"),
        ("model.continuing_subword_prefix", "#" * 40, "marks the beginning or the end of words"),
        ("model.end_of_word_suffix", "</w>", "marks the beginning or the end of words"),
        ("model.merges", [["\u2581" * 7, "\u2581" * 7]], "merges pieces into one that it has not"),
        ("model.merges", [[1, 2]], "not a tokenizer.json"),
        ("model.merges", 5, "not a tokenizer.json"),
        ("model.vocab.a", -1, "not a tokenizer.json"),
        ("model.vocab", [["a", 0.5]], "not a tokenizer.json"),
        ("model", [], "not a tokenizer.json"),
        ("added_tokens", [{"id": 2**32 - 1, "content": "<x>"}], "not a tokenizer.json"),
    ],
)
def test_what_is_not_read_of_a_json(
    where: str, value: object, message: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match=message) as found:
        Vocabulary.open(changed(folder, tmp_path / "a.json", where, value))
    assert "\n" not in str(found.value)
    assert capfd.readouterr() == ("", "")


def test_an_id_far_away(folder: Path, tmp_path: Path) -> None:
    vocab = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    with pytest.raises(ConfigurationError, match="4,294,967,295 is the highest id"):
        Vocabulary.open(changed(folder, tmp_path / "a.json", "model.vocab", {**vocab, "far": 2**32 - 1}))


def test_a_panic_of_the_library_is_one_line(folder: Path, tmp_path: Path) -> None:
    text = changed(folder, tmp_path / "a.json", "model.merges", [["\u2581" * 7, "\u2581" * 7]]).read_text()
    with pytest.raises(ConfigurationError, match=r"a\.json: refused"), pieces.refused("refused", tmp_path / "a.json"):
        tokenizers.Tokenizer.from_str(text)
    for kind in (KeyboardInterrupt, SystemExit):
        with pytest.raises(kind), pieces.refused("refused", tmp_path):
            raise kind


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("model.dropout", 0.9),
        ("truncation", {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
        ("padding", {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
         | {"pad_type_id": 0, "pad_token": "<pad>"}),
    ],
)  # fmt: skip
def test_a_json_cannot_shorten_or_pad_or_throw_dice(
    where: str, value: object, both: tuple[Vocabulary, Vocabulary], folder: Path, tmp_path: Path
) -> None:
    found = Vocabulary.open(changed(folder, tmp_path / "a.json", where, value))
    for _ in range(5):
        assert found.encode("is there a cross? yes") == both[0].encode("is there a cross? yes")


def test_a_text_that_becomes_a_special_piece_when_it_is_normalised(tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    path.write_bytes(sentence_piece(normalization_rule_name="nfkc", vocab_size=330))
    wide = "\uff1cstart_of_turn\uff1e"
    assert sentencepiece.SentencePieceProcessor(model_file=str(path)).encode(wide) == [5]
    found = Vocabulary.open(path)
    assert found.special_ids.isdisjoint(found.encode(f"a{wide}b"))
    assert found.decode(found.encode(f"a{wide}b")) == "a<start_of_turn>b"


def test_one_that_cannot_write_a_special_name_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(sentence_piece(add_dummy_prefix=True, vocab_size=330))
    with pytest.raises(ConfigurationError, match="cannot write as text what is typed like its special pieces: <"):
        Vocabulary.open(tmp_path / "a.model")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file cut off, with other bytes, with some missing, or with some twice."""
    found, place = bytearray(content), rng.randrange(len(content))
    match rng.randrange(4):
        case 0:
            del found[place:]
        case 1:
            for _ in range(rng.choice([1, 3, 30])):
                found[rng.randrange(len(found))] = rng.randrange(256)
        case 2:
            del found[place : place + rng.randrange(1, 200)]
        case 3:
            found[place:place] = found[place : place + rng.randrange(1, 300)]
    return bytes(found)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_damaged_files(name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each is one line, or a tokenizer that keeps to the rules."""
    rng, content, opened, lines = random.Random(1), (folder / name).read_bytes(), 0, []
    for _ in range(400):
        (tmp_path / name).write_bytes(damaged(content, rng))
        try:
            found = Vocabulary.open(tmp_path)
            ids = found.encode("is there <start_of_turn>\n\u5e83\u544a?")
        except (ConfigurationError, BadDataError) as error:
            lines.append(str(error))
            continue
        opened += 1
        assert found.special_ids.isdisjoint(ids)
        assert isinstance(found.decode(list(range(400))), str)
    assert opened
    assert lines
    assert not any("\n" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_beside_the_weights(folder: Path, tmp_path: Path) -> None:
    known = model_vocabulary.find(tmp_path / "a.npz", 512)
    assert known is not None
    assert known.read_bytes() == TINY.read_bytes()
    assert model_vocabulary.find(tmp_path / "model.safetensors", 512) == known
    beside = in_folder(folder, tmp_path / "gemma", "tokenizer.json") / "tokenizer.json"
    for name in ("", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        assert model_vocabulary.find(beside.parent / name, 512) == beside.parent
        assert model_vocabulary.of_model(beside.parent / name, 345).path == beside
    assert model_vocabulary.find(beside.parent / "trained.npz", 512) == known
    assert model_vocabulary.find(beside.parent, 512, str(folder)) == folder
    assert model_vocabulary.find(tmp_path / "a.npz", 77) is None
    assert model_vocabulary.find(tmp_path / "a.npz", 576) == known
    padded = model_vocabulary.find(tmp_path / "a.npz", 257_216)
    assert padded is not None
    assert padded.name == "paligemma_tokenizer.model"


def test_a_models_tokenizer_is_held_to_its_rows(folder: Path, tmp_path: Path) -> None:
    assert model_vocabulary.of_model(folder, 345).path == folder / "tokenizer.model"
    with pytest.raises(ConfigurationError, match="346 pieces for a model with a vocabulary of 512"):
        model_vocabulary.of_model(folder, 512)
    with pytest.raises(ConfigurationError, match="palitune knows no tokenizer for a vocabulary of 77"):
        model_vocabulary.of_model(tmp_path / "a.npz", 77)
    with pytest.raises(MissingInputError, match="the model's tokenizer is not there"):
        model_vocabulary.of_model(folder, 345, str(tmp_path / "none"))
    with pytest.raises(MissingInputError, match="no tokenizer here"):
        model_vocabulary.of_model(folder, 345, str(tmp_path))


def test_unusual_rows_are_noted_unless_quiet(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vocabulary, "PADDING", 2)
    model_vocabulary.of_model(folder, 349, quiet=True)
    assert capsys.readouterr() == ("", "")
    model_vocabulary.of_model(folder, 349)
    assert capsys.readouterr().err.startswith(
        f"note: {folder / 'tokenizer.model'} has 346 pieces for a vocabulary of 349"
    )
